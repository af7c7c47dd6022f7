"""The errors that a user can mend."""


class ComoError(ValueError):
    """Says what is wrong and what to do; the command line prints it as one sentence and exits with code 2."""


class BagError(ComoError):
    """One bag cannot be written or read; the others of its folder still can."""

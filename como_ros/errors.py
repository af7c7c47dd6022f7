"""The one error that a user can mend."""


class ComoError(ValueError):
    """Says what is wrong and what to do; the command line prints it as one sentence and exits with code 2."""

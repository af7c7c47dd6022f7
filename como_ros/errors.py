"""The errors that a user can mend."""


class ComoError(ValueError):
    """Says what is wrong and what to do; the command line prints it as one sentence and exits with code 2."""


def require_between(what: str, value: float, low: float, high: float) -> None:
    """A number that lies elsewhere, or is none, is refused."""
    if not low <= value <= high:
        raise ComoError(f"{what} must lie in {low:g} to {high:g}, got {value}")


class BagError(ComoError):
    """One bag cannot be written or read; the others of its folder still can."""

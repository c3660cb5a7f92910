"""The one exception that means: the input is at fault, not the program."""


class SailsimError(ValueError):
    """Bad input. The message is one sentence that names the field, the value and what is allowed.

    The commands print it and exit with status 2; library users may catch it as a ``ValueError``.
    """


class ImpossibleMachineError(SailsimError):
    """Values that are allowed one by one, of a machine that there cannot be with all of them.

    A study lists its points and goes on with the others.
    """


class ArgumentTypeError(SailsimError, TypeError):
    """An argument of a function that is of another type than it takes; also Python's `TypeError`."""


def one_line(text: str) -> str:
    """A text of anybody's as one line: what moves the cursor, or has no place on a terminal, becomes "?"."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def escaped(text: str) -> str:
    """A text of some lines, with what moves the cursor or has no place on a terminal as Python writes it."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)

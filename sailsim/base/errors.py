"""The one exception that means: the input is at fault, not the program."""


class SailsimError(ValueError):
    """Bad input. The message is one sentence that names the field, the value and what is allowed.

    The commands print it and exit with status 2; library users may catch it as a ``ValueError``.
    """


def one_line(text: str) -> str:
    """A text of anybody's as one line: what moves the cursor, or has no place on a terminal, becomes "?"."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))

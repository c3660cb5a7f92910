"""Advice in messages: similar names, and commands that work from a clone as from a wheel."""

import difflib
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from sailsim.base.errors import SailsimError

PROGRAM = "sailsim"


def program() -> str:
    """Command as the user called it: ``sailsim``, or its path where PATH finds another or none."""
    called = Path(sys.argv[0])
    found = shutil.which(PROGRAM)
    if called.name != PROGRAM or (found is not None and Path(found).resolve() == called.resolve()):
        return PROGRAM
    return shlex.quote(sys.argv[0])


def install_command(extra: str) -> str:
    """Command that installs the packages of one of sailsim's extras for the running Python."""
    listed: list[str] = []
    with suppress(PackageNotFoundError):  # sources on the path, without an installation
        listed = requires(PROGRAM) or []
    split = (each.replace('"', "'").partition(";") for each in listed)
    needed = [package.strip() for package, _, when in split if f"extra == '{extra}'" in when]
    return shlex.join([sys.executable, "-m", "pip", "install", *needed])


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three known names similar to ``name``: equal in the last dotted part, then in spelling."""
    known = list(known)
    last = name.rpartition(".")[2]
    found = [each for each in known if last in (each, each.rpartition(".")[2])]
    found += difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return list(dict.fromkeys(found))[:3] or known[:3]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Similar known names as a question in brackets, such as " (did you mean x?)", or an empty text."""
    near = difflib.get_close_matches(name, known, n=2)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


@contextmanager
def require_extra(extra: str, what: str) -> Iterator[None]:
    """Context for imports of an extra's packages. Raises SailsimError with the command that installs them."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == PROGRAM:
            raise
        raise SailsimError(
            f"{error.name.partition('.')[0]} is not installed, which {what} needs: {install_command(extra)}."
        ) from None

"""What a message advises: names like one that is not there, and commands that work where they are read,
from a clone as from a wheel."""

import difflib
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from sailsim.base.errors import SailsimError

PROGRAM = "sailsim"


def program() -> str:
    """The command as the user called it: ``sailsim``, or ``.venv/bin/sailsim`` where the path has another."""
    called = Path(sys.argv[0])
    found = shutil.which(PROGRAM)
    if called.name != PROGRAM or (found is not None and Path(found).resolve() == called.resolve()):
        return PROGRAM
    return shlex.quote(sys.argv[0])


def installing(extra: str) -> str:
    """The command that installs the packages of one of sailsim's extras beside it, by its own Python."""
    try:
        listed = requires(PROGRAM) or []
    except PackageNotFoundError:  # sources on the path, without an installation
        listed = []
    named = (one.replace('"', "'").partition(";") for one in listed)
    needed = [package.strip() for package, _, when in named if f"extra == '{extra}'" in when]
    return shlex.join([sys.executable, "-m", "pip", "install", *needed])


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three names that are like another: those with its last part, then those spelt like it."""
    known = list(known)
    last = name.rpartition(".")[2]
    found = [each for each in known if last in (each, each.rpartition(".")[2])]
    found += difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return list(dict.fromkeys(found))[:3] or known[:3]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What a name may have been meant to be, in brackets; empty where nothing is spelt like it."""
    near = difflib.get_close_matches(name, known, n=2)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Imports of packages of an extra. Raises SailsimError, with how to install them, where one is not."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == PROGRAM:
            raise
        raise SailsimError(
            f"{error.name.partition('.')[0]} is not installed, which {what} needs: {installing(extra)}."
        ) from None

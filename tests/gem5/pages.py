"""Commands of pages that need gem5, and what the pages print below them.

A block is indented by four spaces. A line that begins with `$ ` is a command, with its continuations (`\\` at
the end); those up to the next are what the page shows of its output. What differs from one gem5 binary to the
next is not compared: the numbers in the names of runs' folders.
"""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIRST = re.compile(r"^    \$ ((?:.*\\\n)*.*)\n((?:    (?!\$ ).*\n)*)", re.MULTILINE)
RUN = re.compile(r"\b(run|replay)-[0-9a-f]{12}\b")
ABSOLUTE = re.compile(r"\S*/(?=out/)")
"""`sailsim` prints some folders whole; pages show them from where the command is given."""


@dataclass(frozen=True)
class Command:
    """One command of a page and the lines that the page shows below it."""

    words: str
    shown: tuple[str, ...]


def commands(page: str) -> list[Command]:
    """All commands of a page in `docs`, in its order."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    return [
        Command(re.sub(r"\\\n *", "", words), tuple(line[4:].strip() for line in lines.splitlines()))
        for words, lines in FIRST.findall(text)
    ]


def the_command(page: str, part: str) -> Command:
    """The one command of a page that has a part."""
    (found,) = [each for each in commands(page) if part in each.words]
    return found


def place_for(folder: Path, gem5: Path) -> dict[str, str]:
    """Make a folder a place in which pages' commands can be given; returns their environment.

    It has what a checkout has, `out`, and the two programs that pages name.
    """
    for name in ("build", "gem5-configs", "sim_ext", "workloads"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "out").mkdir()
    programs = folder / "programs"
    programs.mkdir()
    main = f"{shlex.quote(sys.executable)} -c 'from sailsim.cli import main; main()'"
    for name, words in (("gem5.opt", shlex.quote(str(gem5))), ("sailsim", main)):
        (programs / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (programs / name).chmod(0o755)
    return os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}


def assert_as_shown(command: Command, place: Path, environment: dict[str, str]) -> None:
    """A command ends well and prints the lines of its page, in their order; `...` stands for anything.

    A run's folder in the command has another number here: it is the one that there is.
    """
    words = RUN.sub(r"\1-*", command.words)
    done = subprocess.run(
        ["bash", "-c", words], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    if "cannot import name" in done.stderr:
        pytest.skip("this gem5 was built without parts that its own standard library imports")
    assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    printed = iter(done.stdout.splitlines())
    for line in command.shown:
        parts = [re.escape(part) for part in RUN.sub(r"\1-#", line).split("...")]
        wanted = re.compile(".*".join(parts))
        found = any(wanted.fullmatch(ABSOLUTE.sub("", RUN.sub(r"\1-#", each)).strip()) for each in printed)
        assert found, f"docs show\n{line}\nbelow\n{words}\nwhich prints\n{done.stdout[-3000:]}"

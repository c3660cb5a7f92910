"""Pages whose commands are run: every `$ sailsim ...` of a console block, with its output below it.

A block that begins with three backquotes, `toml` and a name is that file. Commands may end in `| head -N` and
`| grep WORD`. `python tests/transcripts.py PAGE` writes what the commands print now into a page of `PAGES`.
"""

import re
import shlex
import sys
import tempfile
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

from click.testing import CliRunner

from sailsim.cli import main
from sailsim.workloads import default_gguf

from .workloads.conftest import write_shaped_gguf

ROOT = Path(__file__).parents[1]
COLUMNS = "100"
"""Of the terminal that a transcript is seen on."""

BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


def renewed(text: str) -> str:
    """The page with the output that its commands have in the current folder, which gets its files."""

    def block(found: re.Match[str]) -> str:
        language, name, content = found.groups()
        if name is not None:
            Path(name).write_text(content, "utf-8")
        elif language == "console":
            content = COMMAND.sub(lambda each: f"$ {each[1]}\n{output(each[1])}", content)
        return f"```{language}{f' {name}' if name else ''}\n{content}```"

    return BLOCK.sub(block, text)


def output(command: str) -> str:
    """What a command prints; its lines have no blanks at their ends."""
    program, *filters = command.split(" | ")
    words = shlex.split(program)
    assert words[0] == "sailsim", command
    result = CliRunner().invoke(main, words[1:], env={"COLUMNS": COLUMNS})
    text = result.stdout + ("" if result.exit_code == 0 else result.stderr)
    lines = [line.rstrip() for line in text.splitlines()]
    for each in filters:
        tool, word = each.split(maxsplit=1)
        lines = (
            lines[: int(word.removeprefix("-"))]
            if tool == "head"
            else [line for line in lines if word.strip('"') in line]
        )
    return "".join(f"{line}\n" for line in lines)


def no_files(folder: Path) -> None:
    """A page that brings its own files."""


def shaped_files(folder: Path) -> None:
    """Three models of one shape in three formats, and the real file of SmolLM2 as `smollm2.gguf`."""
    for name in ("q8_0", "q2_k", "mxfp4"):
        write_shaped_gguf(folder / f"{name}.gguf", name)
    (folder / "smollm2.gguf").symlink_to(default_gguf())


PAGES: dict[str, Callable[[Path], None]] = {
    "docs/widths.md": shaped_files,
    "docs/extending.md": no_files,
    "docs/studies.md": no_files,
}
"""Each page, and what makes the files that it does not show."""


def write(name: str) -> None:
    """Renew a page in place."""
    page = ROOT / name
    text = page.read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        PAGES[name](Path(folder))
        page.write_text(renewed(text), "utf-8")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        write(argument)

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

from .workloads import decoder_files as gguf_files
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
    # What goes into a filter is not wrapped, as no terminal has it.
    result = CliRunner().invoke(main, words[1:], env={"COLUMNS": None if filters else COLUMNS})
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
    """Two models of one shape in two formats."""
    for name in ("q8_0", "q2_k"):
        write_shaped_gguf(folder / f"{name}.gguf", name)


def model_files(folder: Path) -> None:
    """A file of experts as gpt-oss has them, one of mixed types and an unusual architecture, one of a state
    space: four blocks each, weights of 0."""
    d, vocab = 2880, 32000
    gguf_files.write_gguf(
        folder / "moe.gguf",
        "gpt-oss",
        gguf_files.blocks(
            4, gguf_files.attention(d, 64, 8, 64), {"attn_sinks.weight": (64,)}, gguf_files.experts(d, d, 32)
        )
        | gguf_files.ends(d, vocab),
        gguf_files.facts(64, 8, attention__key_length=64, attention__sliding_window=128, expert_used_count=4),
        kind="q8_0",
        kinds={"_exps.weight": "mxfp4", "ffn_gate_inp.weight": "f32", "token_embd.weight": "bf16"},
    )
    d, vocab = 2048, 32000
    norms = {"attn_q_norm": (128,), "attn_k_norm": (128,)}
    plain = gguf_files.blocks(
        4, gguf_files.attention(d, 16, 4, 128), norms, gguf_files.dense(d, 6144)
    ) | gguf_files.ends(d, vocab)
    facts = gguf_files.facts(16, 4, attention__key_length=128)
    kinds = {"ffn_down.weight": "q6_k", "attn_v.weight": "f16", "blk.2.attn_q.weight": "iq2_xs"}
    gguf_files.write_gguf(folder / "mixed.gguf", "newest", plain, facts, "q4_k", kinds)
    other = plain | {"blk.3.ssm_in.weight": (d, 4096)}
    gguf_files.write_gguf(folder / "hybrid.gguf", "jamba", other, facts, "q4_k")


PAGES: dict[str, Callable[[Path], None]] = {
    "README.md": no_files,
    "docs/quality.md": shaped_files,
    "docs/systems.md": no_files,
    "docs/models.md": model_files,
    "docs/studies.md": no_files,
    "docs/serving.md": no_files,
}
"""Each page, and what makes the files that it does not show."""


def assert_as_printed(page: str, folder: Path) -> None:
    """A page has what its commands print now, run in a folder, which keeps what they make."""
    with chdir(folder):
        PAGES[page](folder)
        text = (ROOT / page).read_text("utf-8")
        assert renewed(text) == text, f"python -m tests.transcripts {page} writes it anew"


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

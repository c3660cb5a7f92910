"""What no command takes: one sentence, exit status 2, nothing on standard output, nothing written."""

import math
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sailsim.base.errors import SailsimError, one_line
from sailsim.sim.point import Point
from sailsim.sim.study.plan import parse_plan

from ..small_disk import small_disk_of
from ..workloads.conftest import model_text
from .commands import refused, sailsim

SMALL = ["--model", "smollm2-135m"]
FILES = {
    "m.toml": model_text(),
    "s.toml": 'extends = "sail-n1"\nname = "mine"\n',
    "rows.toml": 'extends = "sail-n1"\npim.rows = 3\n',
    "p.toml": "axes.wbits = [2, 4]\n",
    "empty.toml": "# nothing\n",
    "table.toml": 'extends = "sail-n1"\nname = "x"\n[accelerator]\nbackend = {}\n',
    "bare.toml": '[[runner]]\nname = "x"\n',
    "none.toml": 'extends = "aim-n1"\nname = "x"\n[accelerator]\nbackend = "none"\n',
    "half.toml": 'extends = "sail-n1"\nname = "x"\n[accelerator]\nbackend = "dram_pim"\n',
    "none.csv": "a,b\n1,2\n",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text)


REFUSED = [  # others of the same kinds: tests/sim/test_point.py, test_prefill.py, test_plan.py, test_vary.py
    ("--nosuch", "No such option"),
    ("nosuch", "No such command 'nosuch'"),
    ("rnu", "No such command 'rnu' (did you mean run?); allowed is one of run, serve"),
    (
        "results compare sail-n2 sail-n1",
        "'sail-n2' is no study, machine or model (did you mean sail-v2 or sail-n1?)",
    ),
    ("run --target -1", "target is -1; allowed is a number of tokens a second above 0"),
    (
        "run --system graviton4 --attention units --kv-bits 8",
        "sail-v2 has some, and `sailsim run` takes it as",
    ),
    ("run --wbits x", "'--wbits': 'x' is not a valid integer"),
    ("run extra", "unexpected extra argument (extra)"),
    # Numbers, names and choices of a point.
    ("run --model llama-9", "model is 'llama-9' (did you mean llama-"),
    ("run --system sail-n9", "sail-n1"),
    ("run --wbits 9", "wbits is 9; allowed is"),
    ("run --nbw best", "best"),
    ("run --nbw 6 --substrate bit_serial", "rows"),
    ("run --convert nowhere", "memory"),
    ("run --substrate bit_serial --convert unit", "convert is unit: allowed with sums in the array"),
    ("run --cost --substrate bit_parallel --convert unit", "convert is unit: allowed with sums in the array"),
    ("run --prompt 8", "prompt is 8 with phase decode"),
    ("run --against bare.toml", "title is missing"),
    ("run --against none.toml", "backend is 'none'; allowed are"),
    ("run --against half.toml", "is missing"),
    ("run --prices none.csv", "instance is missing"),
    (
        "run --system aim-n1",
        "not lut-gemv; allowed is to compare it with another one, as in `--against aim-n1`",
    ),
    *(
        (f"{command} --system {system}", f"system {system} has no enabled [pim] section")
        for command in ("trace --model smollm2-135m --out t",)
        for system in ("aim-n1", "graviton2")
    ),
    ("run --system table.toml", "backend is {}; allowed are"),
    (f"run --system {'x' * 5000}", f"system is '{'x' * 59} ... "),
    # Axes of a sweep.
    ("sweep --plan empty.toml --out o", "plan file empty.toml is empty; allowed are"),
    ("sweep --model smollm2-135m", "out is not given; allowed is a folder, or --dry-run."),
    ("sweep --out o --wbits 2:9", "1..8"),
    ("sweep --out o --plan paper --wbits 4", "--wbits"),
    ("sweep --out o --plan paper --set wbits=2", "--set"),
    ("sweep --out o --set llc.slices", "set is 'llc.slices'"),
    ("sweep --out o --set llc.slices=0", "llc.slices is 0"),
    ("sweep --out o --set llc.slices=16,many", "llc.slices is 'many'"),
    ("sweep --out o --set pim.dfm_split=n,q", "pim.dfm_split is 'q'"),
    ("sweep --out o --set wbits=2 --wbits 4", "wbits is given twice"),
    ("sweep --out o --set prt=maybe", "prt is 'maybe'"),
    ("sweep --out o --jobs 1025", "jobs is '1025'; allowed is a number of processes, or the address"),
    # What is listed, traced and captured.
    ("list nosuch", "'nosuch' is not one of 'system', 'substrate', 'model', 'format', 'runner', 'price'"),
    ("show system rows.toml", "rows.toml"),
    ("show system sail-n1:pim.speed=2 --as toml", "pim.speed is not a value of system sail-n1"),
    ("show system graviton2 --as unit", "graviton2 has no enabled [pim] section"),
    ("show system sail-n1 --as unit --json", "--as is unit with --json; allowed is one of the two"),
    ("show model llama-2-7b --as unit", "--as is unit with a model; allowed is it with a system"),
    ("show substrate magic", "allowed are bit_parallel, bit_serial, row_dfm"),
    ("show price aws/none", "instance is 'aws/none'"),
    ("activations --prompt a", "--prompt is given without --out"),
    ("activations here.safetensors --out c", "PATH is here.safetensors with --out"),
    # Claims.
    ("claims check nothing", "step is 'nothing'; allowed are answer,"),
    ("claims reproduce --samples 100", "power of two"),
    ("claims reproduce --samples 0", "samples"),
    (
        "claims reproduce --paper sale",
        "claims is 'sale' (did you mean sail?); allowed are cent, localut, sail, t-sar or the path",
    ),
    ("claims joint --samples 65", "multiple of 32"),
    ("explore --out o --search nobody", "allowed are next or the path of a .toml file"),
    ("explore --out o --area 0", "area is 0.0; allowed is a number above 0."),
    ("explore --out o --power nan", "power is nan"),
    ("explore --out o --seed -1", "seed"),
    ("report . --paper nobody", "nobody"),
    # The empty text is neither the default nor the current folder.
    ("report . --prices ''", "'' is empty; allowed is a path"),
    ("run --against ''", "'' is empty; allowed is a path"),
    ("replay ''", "'' is empty; allowed is a path"),
    ("trace --model smollm2-135m --out ''", "'' is empty; allowed is a path"),
    ("sweep --out ''", "--out"),
    ("run --model ''", "''"),
    ("run --weights ''", "''"),
    ("sweep --out o --set weights=", "''"),
    ("sweep --dry-run --weights 4,,8", "weights is ''"),
    ("quality --weights ''", "''"),
    ("gem5 machine --check --gem5 ''", "''"),
    # No file is both read and written.
    ("trace --model m.toml --out m.toml", "names too; allowed is a file of its own"),
    ("image m.toml --out m.toml", "names too; allowed is a file of its own"),
    ("sweep --plan p.toml --out o --log-json p.toml", "names too; allowed is a file of its own"),
    ("sweep --system sail-n1,s.toml --out o --log-json s.toml", "names too; allowed is a file of its own"),
    (
        "trace --model m.toml --system s.toml:nbw=2 --out s.toml",
        "names too; allowed is a file of its own",
    ),
    # A study that is refused makes no log.
    ("sweep --wbits 99 --out o --log-json log.jsonl", "wbits"),
    ("sweep --jobs 0 --out o --log-json log.jsonl", "jobs"),
    ("sweep --out o --log-json none/log.jsonl", "log-json"),
    # A whole number that no float holds, behind a name; test_any_value.py has it as a value.
    *(
        (words.replace("HUGE", "9" * 400), "Error: ")
        for words in (
            "run --set pim.clock=HUGE",
            "run --system sail-n1:llc.slices=HUGE",
            "run --substrate row_dfm:add=HUGE",
            "sweep --out o --set wbits=HUGE",
            "show system sail-n1:memory.latency=HUGE --as toml",
        )
    ),
]


@pytest.mark.parametrize(("command", "words"), REFUSED, ids=[each[0][:60] for each in REFUSED])
def test_a_refusal_is_one_sentence_and_writes_nothing(command: str, words: str) -> None:
    assert words in refused(*shlex.split(command))


NUMBERS = ("wbits", "abits", "nbw", "group_size", "prompt", "batch", "threads", "context", "kv_bits", "seed")


@pytest.mark.parametrize("name", NUMBERS)
def test_minus_one_is_a_number_and_none_that_is_allowed(name: str) -> None:
    option = f"--{name.replace('_', '-')}"
    assert "-1" in refused("run", *SMALL, option, "-1")
    assert "-1" in refused("run", *SMALL, "--phase", "prefill", option, "-1")
    for command in (["sweep", "--out", "out"], ["sweep", "--dry-run"]):
        assert "-1" in refused(*command, *SMALL, option, "-1")
        assert f"{name} is '-1'" in refused(*command, "--set", f"{name}=-1")
    for made in (
        lambda: Point(**{name: -1}),
        lambda: Point(**{"phase": "prefill", name: -1}),
        lambda: parse_plan(f"[axes]\n{name} = -1\n", "p").points,
    ):
        with pytest.raises(SailsimError, match=f"{name} is -1"):
            made()


@pytest.fixture
def product() -> list[object]:
    """A gemv command without its output; the product takes 80 KB."""
    np.save("w.npy", np.ones((8, 100), int))
    np.save("x.npy", np.ones((100, 8), int))
    return ["gemv", "--weights", "w.npy", "--activations", "x.npy", "--wbits", 2, "--abits", 2]


def test_a_product_is_not_written_over_what_it_is_of_or_where_no_file_can_be(product: list[object]) -> None:
    Path("link.npy").symlink_to("w.npy")
    Path("x").mkdir()
    for other in ("w.npy", "link.npy", "x/../w.npy"):
        said = f"--out is {other}, which --weights names too; allowed is a file of its own"
        assert said in refused(*product, "--out", other)
    for other in ("x", "no/y.npy", "w.npy/y.npy"):
        assert f"{other}: " in refused(*product, "--out", other)
    for _ in range(2):
        assert sailsim(*product, "--out", "y.npy").exit_code == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    (tmp_path / "disk").mkdir()
    with small_disk_of("64k", tmp_path / "disk") as disk:
        yield disk


@pytest.mark.root
def test_a_full_disk_is_named_and_what_was_there_is_left(
    product: list[object], small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sailsim.base.progress.QUIET_SECONDS", math.inf)  # however slow the machine is
    old = small_disk / "old"
    old.write_bytes(b"old")
    for command in (product, ["trace", *SMALL, "--layers", "0:1"]):
        assert f"{old}: " in refused(*command, "--out", old)
        assert list(small_disk.iterdir()) == [old]


@pytest.mark.parametrize(
    ("words", "closed", "status"),
    [(["list", "model"], "stdout", 141), (["run", *SMALL], "stdout", 141), (["nosuch"], "stderr", 2)],
)
def test_a_closed_pipe_is_silent(words: list[str], closed: str, status: int) -> None:
    """As of `sailsim results show | head`: status 141, as of a program that SIGPIPE ends."""
    read, write = os.pipe()
    os.close(read)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, closed: write}
    done = subprocess.run([sys.executable, "-m", "sailsim", *words], **pipes)  # type: ignore[call-overload]
    os.close(write)
    assert (done.returncode, done.stdout or b"", done.stderr or b"") == (status, b"", b"")


def test_a_closed_output_is_no_fault() -> None:
    words = f"{shlex.quote(sys.executable)} -m sailsim run --model smollm2-135m >&-"
    done = subprocess.run(["sh", "-c", words], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


ESCAPES = "\x1b[31mred\x07\x1b]0;t\x07[/bold] :bug:"
"""What would colour, ring, name the window, and what a library would read as markup of its own."""


def test_names_of_files_move_no_cursor_and_are_no_markup() -> None:
    Path("m.toml").write_text(model_text(ESCAPES, ESCAPES))
    text = f'extends = "sail-n1"\nname = {model_text(ESCAPES).splitlines()[0][7:]}\n'
    Path("s.toml").write_text(f"{text}title = {text.splitlines()[1][7:]}\n")
    out = f"o{ESCAPES}".replace("/", "")
    for words in (
        ["show", "model", "m.toml"],
        ["show", "system", "s.toml"],
        ["run", "--model", "m.toml", "--system", "s.toml", "--wide", "--against", "s.toml"],
        ["run", "--cost", "--model", "m.toml", "--system", "s.toml", "--against", "s.toml"],
        ["sweep", "--dry-run", "--model", "m.toml", "--system", "s.toml"],
        ["sweep", "--model", "m.toml", "--system", "s.toml", "--out", out],
        ["results", "ls", "."],
        ["results", "show", out, "--wide"],
    ):
        told = sailsim(*words)
        assert told.exit_code == 0, told.output
        assert not {"\x1b", "\x07"} & set(told.output), words
    shown = sailsim("show", "model", "m.toml").output
    assert "\\x1b[31mred" in shown
    assert "[/bold] :bug:" in shown
    for word in ("[/bold]x", ":bug:x", "a\nb", "\x1b[31mx"):
        for command in (["run", "--system"], ["run", "--model"], ["run", "--weights"], ["show", "system"]):
            sentence = refused(*command, f"{word}/n.toml")
            assert one_line(f"{word}/n.toml") in sentence or repr(f"{word}/n.toml") in sentence
            assert "\x1b" not in sentence

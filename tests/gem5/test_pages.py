"""Transcripts of pages that have gem5's numbers: their commands, given again, print what the pages show."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sailsim.sim.gem5.binary import Gem5

from .conftest import COMPILER
from .pages import ROOT, Command, assert_as_shown, commands, place_for, the_command

pytestmark = pytest.mark.gem5
PAGE = "gem5.md"
DECODE = "decode.md"


@pytest.fixture
def place(gem5: Gem5, kernels: Path, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Skips where programs or gem5 are others than the pages': their cycles are others too."""
    text = (ROOT / "docs" / PAGE).read_text("utf-8")
    named = re.search(r"gem5 v([\d.]+\d), with programs by GCC ([\d.]+\d)", text)
    assert named is not None
    if shutil.which(COMPILER) is None:
        pytest.skip(f"there is no {COMPILER}")
    found = subprocess.run([COMPILER, "-dumpfullversion"], capture_output=True, text=True, check=True)
    here = (gem5.version, found.stdout.strip())
    if here != named.groups():
        pytest.skip(f"gem5 and GCC are {here}, the pages' are {named.groups()}")
    return tmp_path, place_for(tmp_path, gem5.path)


def between(page: str, first: str, last: str) -> list[Command]:
    """The commands from the one that has `first` to the next that has `last`."""
    all_of_it = commands(page)
    start = next(i for i, each in enumerate(all_of_it) if first in each.words)
    end = next(i for i, each in enumerate(all_of_it) if i >= start and last in each.words)
    return all_of_it[start : end + 1]


@pytest.mark.parametrize(
    ("page", "first", "last"),
    [
        (PAGE, "qemu-aarch64 build/kernels/example_gemv", "grep outputs"),
        (PAGE, "g++ -std=c++17", "grep sum"),
        (PAGE, "example/checkpoint.S", "grep -E '^(before|after)$' out/rest"),
        (PAGE, "machine sail-n1", "--model o3 -- build/kernels/example_gemv"),
        pytest.param(PAGE, "--tensors 'blk.0.ffn_*'", "--memory hbm2", marks=pytest.mark.slow),
        (PAGE, "example/bare_metal.c", "bare_metal.py"),
        pytest.param(PAGE, "--simpoint-interval", "--restore", marks=pytest.mark.slow),
        (PAGE, "trace --model smollm2-135m", "--order step"),
        pytest.param(DECODE, "cat out/tiny.toml", "--out out/tiny", marks=pytest.mark.slow),
    ],
)
def test_commands_print_what_the_page_shows(place, page, first, last):
    if last in ("bare_metal.py", "--memory hbm2"):
        assert_as_shown(between(page, "machine sail-n1", "machine sail-n1")[0], *place)
    if page == DECODE:  # the file that the page prints by `cat` is the one that its next command reads
        shape = "\n".join(the_command(DECODE, "cat out/tiny.toml").shown)
        (place[0] / "out" / "tiny.toml").write_text(f"{shape}\n")
    for each in between(page, first, last):
        if "qemu-aarch64" in each.words and shutil.which("qemu-aarch64") is None:
            continue
        assert_as_shown(each, *place)

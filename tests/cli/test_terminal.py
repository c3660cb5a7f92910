"""What a terminal of 80 columns shows: no line is longer, and no number is cut."""

import re
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from sailsim.cli import main
from sailsim.cli._table import print_table, say
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.tile import Tile
from sailsim.lut_gemv.trace import write_trace

CUT_NUMBER = re.compile(r"(?<!\S)[-+<]?[\d.,]+…")
COMMAND = re.compile(r"^(    |Next: )(\S*/)?sailsim ")
"""A command to be copied stays whole."""

SMALL = "--model smollm2-135m"
COMMANDS = (
    "list model",
    "show model llama-2-7b",
    "show model mixtral-8x7b",
    "list format",
    "list",
    "show system sail-n1",
    "show system sail-n1 --sources",
    "show system v100 --sources",
    "list price",
    "list substrate",
    "show substrate row_dfm",
    "show substrate bit_serial --sources",
    "run --system graviton2 --weights q4_k_m --threads 48 --wide",
    "run --batch 64 --threads 64 --cost",
    "run --batch 64 --wide --notes",
    "run --phase prefill --prompt 512 --batch 8 --wide",
    "run --nbw auto --weights q4_k_m",
    "gemv --weights w.npy --activations x.npy --wbits 4 --abits 8",
    f"sweep {SMALL} --wbits 2:8 --batch 1,8,32 --dry-run",
    "sweep --preset machines --dry-run",
    f"sweep {SMALL} --wbits 4 --batch 1,8 --out other",
    "results ls study",
    "results ls study --wide",
    "results show study",
    "results show study --wide",
    "results show study --columns runner,tokens_per_s,step_s,dram_bytes,energy_j,low,high,memory_bytes",
    "results diff study study",
    "report study",
    "results gc study --dry-run",
    "activations",
    "claims check --list",
    "trace --model smollm2-135m --layers 0:1 --out two.trace",
    "replay one.trace",
    "image smollm2-135m --blocks 1 --out one.image",
)


def shown(words: list[str]) -> Result:
    return CliRunner().invoke(main, words, env={"COLUMNS": "80"})


def assert_fits(text: str) -> None:
    long = [line for line in text.splitlines() if len(line) > 80 and not COMMAND.match(line)]
    assert long == []
    assert CUT_NUMBER.findall(text) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("terminal")
    w, x = np.ones((64, 32), np.int8), np.ones((2, 64), np.int8)
    np.save(made / "w.npy", w)
    np.save(made / "x.npy", x)
    codes = np.ones((64, 32), np.uint8)
    write_trace(made / "one.trace", [Tile(x=x, codes=codes, code=WeightCode.twos(4), abits=8, nbw=4)])
    words = ["sweep", *SMALL.split(), "--wbits", "2,4", "--batch", "1,32", "--out", str(made / "study")]
    assert CliRunner().invoke(main, words).exit_code == 0
    return made


@pytest.mark.parametrize("command", COMMANDS)
def test_a_terminal_of_80_columns_shows_whole_numbers(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    result = shown(command.split())
    assert result.exit_code == 0, result.output
    assert result.stdout.strip()
    assert_fits(result.stdout)


def test_a_query_names_what_it_has_no_room_for_and_shows_it_when_asked(folder: Path) -> None:
    words = ["results", "query", str(folder / "study"), "SELECT * FROM runs"]
    narrow, wide = shown(words), shown([*words, "--wide"])
    for result in (narrow, wide):
        assert_fits(result.stdout)
    assert "Not shown: " in narrow.stdout
    assert "Not shown: " not in wide.stdout
    assert "bandwidth_share" not in narrow.stdout.partition("Not shown")[0]
    assert "bandwidth_share" in wide.stdout


def test_columns_without_room_stand_below_beside_the_first_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    names = ["runner", "first", "second", "third"]
    rows = [dict(zip(names, [name, 1, 12345678, 3.5], strict=True)) for name in ("sail", "cores")]
    result = CliRunner().invoke(click.command(lambda: print_table(rows, names)), env={"COLUMNS": "30"})
    assert result.output.splitlines() == [
        " runner  first    second",
        " ───────────────────────",
        " sail        1  12345678",
        " cores       1  12345678",
        "",
        " runner  third",
        " ─────────────",
        " sail      3.5",
        " cores     3.5",
    ]


def test_a_sentence_is_one_line_where_no_terminal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "- cores: " + " ".join(["assumed"] * 30)
    command = click.command(lambda: say(text))
    monkeypatch.delenv("COLUMNS", raising=False)
    assert CliRunner().invoke(command).output == f"{text}\n"
    lines = CliRunner().invoke(command, env={"COLUMNS": "40"}).output.splitlines()
    assert " ".join(line.strip() for line in lines) == text
    assert all(line.startswith("  ") for line in lines[1:])
    assert max(map(len, lines)) <= 40

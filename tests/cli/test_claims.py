"""`sailsim claims`: what its commands print, and one sentence for bad input."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("SALib")
pytest.importorskip("optuna")

from sailsim.cli import main

SMALL = ["--model", "smollm2-135m", "--batch", "1", "--context", "64", "--threads", "8", "--jobs", "1"]


def sailsim(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.slow
def test_explore_prints_a_front_that_runs(tmp_path: Path) -> None:
    found = json.loads(
        sailsim("claims", "explore", "--out", str(tmp_path), "--samples", "3", *SMALL, "--json").stdout
    )
    assert found["trials"] == 3
    assert {"pareto.png", "pareto.svg"} <= {path.name for path in tmp_path.iterdir()}
    best = found["pareto"][0]
    run = ["--model", "smollm2-135m", "--batch", "1", "--context", "64", "--threads", str(best["threads"])]
    answer = json.loads(
        sailsim("run", "--system", str(tmp_path / "front" / "point-01.toml"), *run, "--json").stdout
    )
    assert answer["runs"]["sail"]["tokens_per_s"] == pytest.approx(best["tokens_per_s"])
    text = sailsim("claims", "explore", "--out", str(tmp_path), "--samples", "3", *SMALL).output
    assert "point-01" in text
    assert "mm2" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["claims", "reproduce", "--samples", "100"], ("samples", "100", "power of two")),
        (["claims", "reproduce", "--samples", "0"], ("samples", "0")),
        (["claims", "reproduce", "--seed", "-1"], ("seed", "-1")),
        (["claims", "reproduce", "--jobs", "0"], ("jobs", "0")),
        (["claims", "reproduce", "--out", ""], ("empty",)),
        (["claims", "explore", "--out", "{}", "--samples", "0"], ("samples", "0")),
        (["claims", "explore", "--out", "{}", "--field", "pim.speed"], ("pim.speed", "pim.clock")),
        (["claims", "explore", "--out", "{}", "--field", "cpu.overlap"], ("cpu.overlap",)),
        (["claims", "explore", "--out", "{}", "--threads", "0"], ("threads", "0")),
        (["claims", "explore", "--out", "{}", "--threads", "65"], ("threads", "65", "64")),
        (["claims", "explore", "--out", "{}", "--system", "graviton2", "--samples", "1"], ("graviton2",)),
        (["claims", "explore", "--out", "{}", "--weights", "9"], ("wbits", "9", "1..8")),
        (
            ["claims", "reproduce", "--paper", "sale"],
            ("claims 'sale' is unknown; allowed are sail or the path",),
        ),
        (["claims", "joint", "--samples", "65"], ("samples", "65", "multiple of 32")),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, arguments: list[str], words: tuple[str, ...]) -> None:
    result = sailsim(*(a.format(tmp_path / "out") for a in arguments))
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert len(result.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in result.stderr

"""`sailsim reproduce` and `sailsim explore`: what they print, and one sentence for bad input."""

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
    found = json.loads(sailsim("explore", "--out", str(tmp_path), "--trials", "3", *SMALL, "--json").stdout)
    assert found["trials"] == 3
    assert {"pareto.png", "pareto.svg"} <= {path.name for path in tmp_path.iterdir()}
    best = found["pareto"][0]
    run = ["--model", "smollm2-135m", "--batch", "1", "--context", "64", "--threads", str(best["threads"])]
    answer = json.loads(
        sailsim("run", "--system", str(tmp_path / "front" / "point-01.toml"), *run, "--json").stdout
    )
    assert answer["runs"]["sail"]["tokens_per_s"] == pytest.approx(best["tokens_per_s"])
    text = sailsim("explore", "--out", str(tmp_path), "--trials", "3", *SMALL).output
    assert "point-01" in text
    assert "mm2" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reproduce", "--samples", "100"], ("samples", "100", "power of two")),
        (["reproduce", "--samples", "0"], ("samples", "0")),
        (["reproduce", "--seed", "-1"], ("seed", "-1")),
        (["reproduce", "--jobs", "0"], ("jobs", "0")),
        (["reproduce", "--out", ""], ("empty",)),
        (["explore", "--out", "{}", "--trials", "0"], ("trials", "0")),
        (["explore", "--out", "{}", "--field", "pim.speed"], ("pim.speed", "pim.clock")),
        (["explore", "--out", "{}", "--field", "cpu.overlap"], ("cpu.overlap",)),
        (["explore", "--out", "{}", "--sampler", "luck"], ("luck", "nsga2")),
        (["explore", "--out", "{}", "--threads", "0"], ("threads", "0")),
        (["explore", "--out", "{}", "--threads", "65"], ("threads", "65", "64")),
        (["explore", "--out", "{}", "--system", "graviton2", "--trials", "1"], ("graviton2",)),
        (["explore", "--out", "{}", "--wbits", "9"], ("wbits", "9", "1..8")),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, arguments: list[str], words: tuple[str, ...]) -> None:
    result = sailsim(*(a.format(tmp_path / "out") for a in arguments))
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert len(result.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in result.stderr

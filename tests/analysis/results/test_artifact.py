"""Claims with their commands: what is met, what is missed, and that the quick ones are met."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sailsim.analysis.results import artifact
from sailsim.analysis.results.artifact import Step, Value, digested, expected, judge, steps
from sailsim.cli import main

STEP = Step("s", "t", 0.1, ("run --json",), (Value("a", "x.0.y", 0.01), Value("b", "z", 0.0)))


def test_a_value_is_met_within_its_tolerance() -> None:
    known = {"values": {"a": 100.0, "b": 3.0}, "hash": digested({"a": 100.0, "b": 3.0})}
    met = judge(STEP, {"a": 100.9, "b": 3.0}, known)
    assert [one.met for one in met.outcomes] == [True, True]
    assert not met.same
    assert judge(STEP, {"a": 100.00001, "b": 3.0}, known).same
    missed = judge(STEP, {"a": 101.1, "b": 3.1}, known)
    assert [one.met for one in missed.outcomes] == [False, False]
    assert not any(one.met for one in judge(STEP, {}, known).outcomes)
    assert not any(one.met for one in judge(STEP, {"a": 1.0, "b": 1.0}, {}).outcomes)


def test_every_value_has_one_that_is_expected() -> None:
    known = expected()
    for step in steps():
        assert set(known[step.name]["values"]) == {value.what for value in step.values}
        assert known[step.name]["hash"] == digested(known[step.name]["values"])
    assert set(known) == {step.name for step in steps()}


def test_unknown_steps_are_one_sentence() -> None:
    result = CliRunner().invoke(main, ["artifact", "nothing"])
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: step is 'nothing'; allowed are answer,")


def test_the_list_runs_nothing() -> None:
    result = CliRunner().invoke(main, ["artifact", "--list"])
    assert result.output.count("    sailsim ") == sum(len(step.commands) for step in steps())


@pytest.mark.slow
def test_the_quick_steps_are_met(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["artifact", "answer", "arithmetic", "--out", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert all(one["met"] for one in found["outcomes"])
    assert len(found["outcomes"]) == 9


def test_a_command_that_fails_is_a_miss_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = Step("answer", "t", 0.1, ("run --batch 0 --json",), (Value("a", "x", 0.01),))
    monkeypatch.setattr(artifact, "steps", lambda: (bad,))
    result = CliRunner().invoke(main, ["artifact", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "MISSED" in result.output
    assert "batch is 0; allowed" in result.output

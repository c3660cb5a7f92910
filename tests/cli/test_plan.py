"""`sailsim plan check` and `show`: what a sweep will be, before it runs."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sailsim.cli import main
from sailsim.sim import load_plan, preset_names

PLAN = """
title = "A plan"
constraints = ["wbits <= abits"]
[fixed]
model = "smollm2-135m"
context = 64
[axes]
wbits = [2, 4, 8]
abits = [4, 8]
pim.unit_cache = [16, 32]
seed = 3
"""


def sailsim(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("plan.toml").write_text(PLAN)
    return "plan.toml"


def test_check_counts_predicts_and_stores_nothing(plan: str) -> None:
    result = sailsim("plan", "check", plan, "--out", "out", "--jobs", "2")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[:6] == [
        "plan.toml: 10 points of 12 combinations",
        "  wbits: 3 values, 2, 4, 8",
        "  abits: 2 values, 4, 8",
        "  pim.unit_cache: 2 values, 16, 32",
        "  seed: 1 value, 3",
        "  wbits <= abits: leaves out 2",
    ]
    assert "Note: seed has one value." in lines
    assert sum(line.startswith("Note: pim.unit_cache changes no number") for line in lines) == 1
    assert "out holds 0 of them." in lines
    assert "10 to run." in lines
    assert any("s by 2 processes" in line and "no time is stored" in line for line in lines)
    assert not Path("out").exists()


@pytest.mark.slow
def test_check_tells_a_program_the_same(plan: str) -> None:
    assert sailsim("sweep", "--plan", plan, "--out", "out").exit_code == 0
    found = json.loads(sailsim("plan", "check", plan, "--out", "out", "--json").stdout)
    told = {
        name: found[name]
        for name in ("points", "held", "to_run", "combinations", "left_out", "known", "idle")
    }
    assert told == {
        "points": 10, "held": 10, "to_run": 0, "combinations": 12, "known": 10, "idle": ["pim.unit_cache"],
        "left_out": {"wbits <= abits": 2},
    }  # fmt: skip
    assert found["seconds"] == 0
    assert found["schema"] >= 1
    text = sailsim("plan", "check", plan, "--out", "out").stdout
    assert text.endswith("out holds 10 of them.\n0 to run.\n")


def test_options_are_a_plan_too() -> None:
    options = ["--model", "smollm2-135m", "--axis", "llc.slices=48:80:16", "--axis", "pim.clock=1..2/3"]
    lines = sailsim("plan", "check", *options, "--beside", "aim-n1").stdout.splitlines()
    assert lines[0] == "The options: 9 points"
    assert "  pim.clock: 3 values, 1, 1.5, 2" in lines
    (stopped,) = [line for line in lines if line.startswith("The sweep would not begin: 3 points cannot be")]
    assert "llc.slices is 80" in stopped
    assert "6 to run." in lines


def test_a_constraint_among_the_options_leaves_out_what_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    grid = ("--model", "smollm2-135m", "--context", "64", "--kv-bits", "16,4", "--attention", "cores,units")
    refused = sailsim("sweep", *grid, "--out", "out")
    assert refused.exit_code == 2
    constraint = "not (kv_bits == 16 and attention == 'units')"
    assert f'A constraint leaves that out: --constraint "{constraint}".' in refused.stderr
    assert not Path("out").exists()
    checked = sailsim("plan", "check", *grid, "--constraint", constraint).stdout.splitlines()
    assert checked[0] == "The options: 3 points of 4 combinations"
    assert f"  {constraint}: leaves out 1" in checked
    ran = sailsim("sweep", *grid, "--constraint", constraint, "--out", "out")
    assert ran.exit_code == 0, ran.output
    assert f"{constraint}: leaves out 1 of 4 combinations." in ran.stdout.splitlines()
    assert json.loads(Path("out/manifest.json").read_text())["config"]["constraint"] == [constraint]
    told = json.loads(sailsim("sweep", *grid, "--constraint", constraint, "--out", "out", "--json").stdout)
    assert (told["points"], told["combinations"], told["left_out"]) == (3, 4, {constraint: 1})


def test_show_lists_what_each_point_is(plan: str) -> None:
    lines = sailsim("plan", "show", plan, "--rows", "2").stdout.splitlines()
    assert lines[0].split() == ["model", "context", "wbits", "abits", "pim.unit_cache", "seed"]
    assert lines[3].split() == ["smollm2-135m", "64", "2", "4", "32", "3"]
    assert lines[4] == "10 points; 2 are shown (--rows)."
    found = json.loads(sailsim("plan", "show", plan, "--json").stdout)["points"]
    assert found == list(load_plan(plan).drawn.combinations.values())


@pytest.mark.parametrize("name", preset_names())
def test_the_plans_that_ship_can_be_shown(name: str) -> None:
    result = sailsim("plan", "show", "--preset", name)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.toml"], ("missing.toml",)),
        (["plan.toml", "--wbits", "4"], ("--wbits", "--plan plan.toml", "--activations")),
        (["plan.toml", "--preset", "paper"], ("--preset", "plan.toml")),
        (["bad.toml"], ("bad.toml", "'axis'", "axes")),
        (["--axis", "nothing=1"], ("nothing", "nearest")),
        (["plan.toml", "--constraint", "wbits < 4"], ("--constraint", "--plan plan.toml", "--activations")),
        (["--wbits", "2,4", "--constraint", "wbits <"], ("constraint 'wbits <'", "comparisons")),
        (["--wbits", "2,4", "--constraint", "abits < 4"], ("abits, which is no field of the plan", "wbits")),
    ],
)
@pytest.mark.parametrize("command", ["check", "show"])
def test_a_bad_plan_is_one_sentence(
    plan: str, command: str, arguments: list[str], words: tuple[str, ...]
) -> None:
    Path("bad.toml").write_text("axis = 1")
    result = sailsim("plan", command, *arguments)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert all(word in result.stderr for word in words)


def test_activations_stand_beside_a_plan(plan: str) -> None:
    found = json.loads(sailsim("plan", "show", plan, "--activations", "a.npz", "--json").stdout)["points"]
    assert {each["activations"] for each in found} == {"a.npz"}

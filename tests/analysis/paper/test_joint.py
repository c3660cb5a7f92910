"""All claims at once: declared combinations, machines with known answers, resumed studies, and the page."""

import itertools
import json
import operator
import re
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from sailsim.analysis.paper import joint as together
from sailsim.analysis.paper.claim import Metric, load_paper
from sailsim.analysis.paper.claim_study import NearestSearch, study_in
from sailsim.analysis.paper.evaluator import Values, judged
from sailsim.analysis.paper.joint import (
    BLOCK,
    Combination,
    joint,
    load_combinations,
    sampled_values,
    sobol_rows,
)
from sailsim.analysis.paper.parameter_space import ParameterSpace, space
from sailsim.analysis.render.claims_page import write_joint
from sailsim.analysis.runs.compare import compare
from sailsim.base.atomic import read_records
from sailsim.cli import main
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.study.store import Store

from ...examples import examples
from ...refusals import refusal
from .test_reproduce import small as some_factors

PAPER = load_paper()
DECLARED = load_combinations("sail", PAPER)
FACTORS = ("pim.t_prt", "pim.clock", "pim.arrays", "cost.overhead", "area.cell_um2")


def small(paper: str = "sail", prior: str | None = None) -> ParameterSpace:
    return some_factors(paper, prior, FACTORS)


def some_values(machines: int, workloads: int, seed: int) -> dict[Metric, np.ndarray]:
    """Values of every metric, some missing; of area the same on every workload."""
    rng = np.random.default_rng(seed)
    values = {}
    for metric in PAPER.sampled:
        claim = PAPER.by_name(metric[0])
        each = claim.value * np.exp(rng.normal(0, 1, (machines, workloads)))
        each[rng.random(each.shape) < 0.2] = np.nan
        each[rng.random(each.shape) < 0.1] = 0.0
        once = claim.aggregation != "highest"
        values[metric] = np.broadcast_to(each[:, :1], each.shape) if once else each
    return values


@examples(30)
@given(seed=st.integers(0, 2**32 - 1), machines=st.integers(1, 4), workloads=st.integers(1, 3))
def test_the_nearest_of_all_is_that_of_every_combination_one_by_one(
    seed: int, machines: int, workloads: int
) -> None:
    values = some_values(machines, workloads, seed)
    one_by_one = np.min([DECLARED.distance(values, each) for each in DECLARED.all()], axis=0)
    np.testing.assert_array_equal(DECLARED.nearest(values), one_by_one)


def built(numbers: Mapping[str, float], primary: Combination) -> dict[Metric, np.ndarray]:
    """One machine on two workloads whose first readings are some numbers, the second workload worse."""
    values = {}
    for metric in PAPER.sampled:
        value = numbers[metric[0]] if metric in primary[1] else np.nan
        second = value if PAPER.by_name(metric[0]).better == "lower" else value / 2
        values[metric] = np.array([[value, second]])
    return values


def test_a_machine_built_to_have_the_numbers_is_found() -> None:
    primary = DECLARED.primary
    exact = {claim.name: claim.value for claim in PAPER.claim}
    assert DECLARED.nearest(built(exact, primary))[0] == pytest.approx(0, abs=1e-12)
    for name, factor in itertools.product(exact, (0.5, 3.0)):
        moved = exact | {name: exact[name] * factor}
        assert DECLARED.distance(built(moved, primary), primary)[0] == pytest.approx(abs(np.log(factor)))
    # Invented numbers are asked of the same machines.
    asked = {name: 2 * value for name, value in exact.items()}
    assert DECLARED.nearest(built(exact, primary), asked)[0] == pytest.approx(np.log(2))


@pytest.mark.parametrize("missing", [np.nan, 0.0])
def test_what_is_no_number_or_zero_is_infinitely_far(missing: float) -> None:
    values = built({claim.name: claim.value for claim in PAPER.claim} | {"prt": missing}, DECLARED.primary)
    assert DECLARED.nearest(values).tolist() == [np.inf]


EVERY = "claims = ['speedup', 'usd_cpu', 'usd_v100', 'prt', 'overhead']"
BAD = {
    "claims = ['speedup', 'usd_cpu', 'usd_v100']\nreadings = [['a', 'b', 'c']]": "claims of its groups are",
    f"{EVERY}\nreadings = [['a']]": "a row of 1",
    f"{EVERY}\nreadings = [['a', 'b', 'c', 'd', 'e']]": "a reading of speedup is 'a'",
    f"{EVERY}\nreadings = []": "readings of a group",
}


@pytest.mark.parametrize(("text", "words"), BAD.items())
def test_bad_combinations_are_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"where = ['highest']\n[[together]]\nreason = 'x'\n{text}\n", "utf-8")
    assert words in refusal(load_combinations, str(path), PAPER)


def test_machines_of_a_larger_draw_are_those_of_a_smaller_one_first() -> None:
    few, more, other = (sobol_rows(small(), n, seed) for n, seed in ((64, 3), (192, 3), (64, 4)))
    np.testing.assert_array_equal(few, more[:64])
    assert (few != other).all(axis=1).any()
    assert [few[0, 0], few[-1, -1]] == pytest.approx([0.08564916625618935, 0.766003642231226], abs=0)


@pytest.mark.slow
def test_a_draw_goes_on_where_it_was_and_does_not_depend_on_who_works(tmp_path: Path) -> None:
    space, rows = small(), sobol_rows(small(), 96, 0)

    def values(machines: int, jobs: int) -> Values:
        study = study_in(tmp_path / "a", "claims joint", {}, jobs, progress=False)
        of_all = sampled_values(space, "sail", rows[:machines], 0, study)
        assert len(Store(tmp_path / "a").keys()) == machines // BLOCK or jobs == 3
        return of_all

    first = values(64, 2)
    values(96, 1)
    again = values(64, 3)
    assert list(first) == list(PAPER.sampled)
    for at, row in enumerate(rows[:3]):
        for metric, alone in judged(space, space.draw(row)).items():
            np.testing.assert_array_equal(first[metric], again[metric])
            np.testing.assert_array_equal(first[metric][at], alone)


@pytest.mark.slow
def test_the_whole_of_it_twice_is_the_same_to_the_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "space", small)
    monkeypatch.setattr(together, "PSEUDO", 5)
    results = joint(tmp_path / "a", 64, progress=False)
    joint(tmp_path / "b", 64, progress=False)
    for name in ("joint.json", "nearest-all.toml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    monkeypatch.setattr("sailsim.analysis.render.claims_page.space", small)
    page = write_joint(results, tmp_path / "a").read_text("utf-8")
    assert (tmp_path / "a" / "figures" / "joint.png").is_file()
    assert all(claim.short in page for claim in PAPER.claim)
    assert json.loads(json.dumps(results)) == json.loads((tmp_path / "a" / "joint.json").read_text("utf-8"))
    # The file of the nearest machine is the machine that was found.
    machine = load_system(str(tmp_path / "a" / "nearest-all.toml"))
    for path, change in results["nearest"]["changes"].items():
        section, field = path.split(".")
        assert getattr(getattr(machine, section), field).value == change["value"]


def search(error: Callable[[Mapping[str, Any]], float], tolerance: float = 0.0) -> NearestSearch:
    return NearestSearch(small(), error, tolerance, rounds=6, improvement=0.99, shortlist=12)


def test_a_search_finds_what_is_between_levels_from_both_sides() -> None:
    """By bisection where the sign says on which side it is, by narrowing where it does not."""

    def off(changes: Mapping[str, Any]) -> float:
        return float(changes.get("pim.clock", 1.8)) / 1.37 - 1 + 0.5 * (changes.get("pim.arrays", 16) != 16)

    assert search(off, 0.02).run({})["pim.clock"] == pytest.approx(1.37, rel=0.02)
    assert search(lambda left: 1.0).without_idle({"pim.clock": 2.0}) == {}
    assert search(lambda changes: abs(off(changes))).run({"pim.arrays": 8}) == {
        "pim.clock": pytest.approx(1.37, rel=0.02)
    }


ROOT = Path(__file__).parents[3]

STORED = ROOT / "analysis" / "data" / "joint.jsonl"


@pytest.mark.slow
def test_the_committed_nearest_of_all_gives_its_numbers_by_its_file() -> None:
    """Each at its points, in the field of the answer that its metric names."""
    near = read_records(STORED)["nearest"]
    system = str(ROOT / "docs" / "systems" / near["file"])
    workloads = {workload.name: workload for workload in space().workloads}
    for row in (*near["reading"]["primary"]["rows"], *near["reading"]["best"]["rows"]):
        claim = next(each for each in PAPER.claim if each.name == row["claim"])
        metric = next(each for each in claim.metric if each.words == row["words"])
        if metric.metric == "area_share":
            told = CliRunner().invoke(main, ["show", "system", system]).stdout.splitlines()[-1]
            whole, arrays = (
                float(each)
                for each in re.findall(r"([\d.]+) % of LLC and cores, .* alone ([\d.]+) %", told)[0]
            )
            found = {"all of the unit": whole, "C-SRAM arrays": arrays}.get(metric.counted, whole - arrays)
        else:
            answers: list[Any] = [
                compare(workloads[row["at"]].point(system, near["group_size"], prt)) for prt in (True, False)
            ]
            if metric.field:
                found = reduce(operator.getitem, metric.field.split("."), answers[0])
            else:
                spent = [answer["runs"]["sail"]["counts"][metric.saved] for answer in answers]
                found = 100 * (1 - spent[0] / spent[1])
        assert found == pytest.approx(row["value"], rel=0.02), (
            f"{row['words']}: analysis/data/joint.jsonl is older than the models: run research/fits/claims.py"
        )

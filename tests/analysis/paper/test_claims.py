"""Claims are data: another paper is another file, through the same metrics, for stores and for samples."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import gmean

pytest.importorskip("SALib")

from sailsim.analysis.costs.area import area
from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.paper import claim_check as check
from sailsim.analysis.paper.claim import highest, load_paper
from sailsim.analysis.paper.claim_check import ClaimCheck, judge
from sailsim.analysis.paper.evaluator import judged
from sailsim.analysis.paper.parameter_space import space
from sailsim.analysis.paper.stored_claims import claims
from sailsim.analysis.runs.compare import POINT, compare, with_comparisons
from sailsim.analysis.studies.stored_runs import RunTable
from sailsim.base.errors import SailsimError
from sailsim.cli import main
from sailsim.sim.machine.system_files import load_system

FOLDER = Path(__file__).parent
TINY = str(FOLDER / "tiny_claims.toml")


def test_another_papers_claims_of_a_store(frame) -> None:
    table = claims(RunTable.of(frame, prices()), TINY)
    by_claim = {row["claim"]: row for row in table.to_dict("records")}
    assert len(table) == 4
    rows = with_comparisons(frame, prices())
    own = rows[(rows["runner"] == "l4") & (rows["system"] == "sail-n1")]
    assert by_claim["tokens per dollar over NVIDIA L4"]["here"] == pytest.approx(own["usd_ratio_whole"].max())
    arrays = by_claim["area of the arrays"]
    assert arrays["here"] == pytest.approx(100 * area(load_system("sail-n1")).share("C-SRAM arrays", "die"))
    assert arrays["verdict"] == "differs"
    assert by_claim["array reads saved"]["verdict"] == "reached"
    assert by_claim["models simulated"]["here"] == "SmolLM2 135M Instruct"


OTHER = """
source = "a paper about a GPU"
against = ["mine"]
[[claim]]
name = "faster"
title = "the GPU over the cores"
short = "GPU"
value = 2.0
unit = "x"
aggregation = "geomean"
confidence = "low"
source = "a test"
[[claim.metric]]
words = "tokens"
metric = "speedup"
subject = "mine"
runner = "cores"
primary = true
[[claim.metric]]
words = "products"
metric = "speedup"
part = "products"
subject = "mine"
runner = "cores"
"""


@pytest.mark.parametrize(("how", "over"), [("geomean", gmean), ("lowest", np.min), ("highest", np.max)])
def test_a_paper_about_another_runner_is_a_file(frame, tmp_path: Path, how: str, over) -> None:
    file = tmp_path / "other.toml"
    file.write_text(OTHER.replace('"geomean"', f'"{how}"'))
    tokens, products = claims(RunTable.of(frame, prices()), str(file)).to_dict("records")
    own = (
        frame[frame["system"] == "sail-n1"].drop_duplicates([*POINT, "runner"]).set_index([*POINT, "runner"])
    )
    sides = [own.xs(name, level="runner") for name in ("mine", "cores")]
    assert tokens["here"] == pytest.approx(
        over((sides[0]["tokens_per_s"] / sides[1]["tokens_per_s"]).dropna())
    )
    mine, cores = (
        side["phases"].map(lambda at: at["weights"] + at["kernels"] if at else np.nan) for side in sides
    )
    assert products["here"] == pytest.approx(over((cores / mine).dropna()))
    # Only SAIL is drawn, so a study has nothing of it.
    assert not load_paper(str(file)).sampled


def test_a_claim_about_a_runner_that_nobody_names_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text(OTHER.replace('["mine"]', '["yours"]'))
    with pytest.raises(SailsimError, match=r"subject is 'mine'; allowed is one of .*, yours"):
        load_paper(str(file))
    # Nor may unknowns be drawn for what only a store has.
    file.write_text(OTHER.replace("against", 'unknowns = "sail"\nagainst', 1))
    with pytest.raises(SailsimError, match=r"unknowns is 'sail', but the primary metric of claim faster"):
        load_paper(str(file))


def test_another_papers_claims_of_a_sample_are_those_of_a_run() -> None:
    """The same metric functions: a nominal machine's values are those of `sailsim run`."""
    tiny = space(TINY)
    assert list(tiny.hosts) == ["ampere"]
    sampled = judged(tiny, tiny.nominal)
    point = tiny.workloads[0].point("sail-n1", 128)
    on, off = compare(point)["runs"], compare(replace(point, prt=False))["runs"]
    expected = {
        # The nominal machine's cores run the fork here, and beside a GPU a run's do not.
        "usd_l4": on["sail-ampere"]["tokens_per_usd_whole"] / on["l4"]["tokens_per_usd_whole"],
        "reads": 100 * (1 - on["sail"]["counts"]["prt_misses"] / off["sail"]["counts"]["prt_misses"]),
        "arrays": 100 * area(load_system("sail-n1")).share("C-SRAM arrays", "die"),
    }
    for name, value in expected.items():
        assert sampled[name, 0][0] == pytest.approx(value, rel=1e-9), name


def test_reaching_is_as_high_or_as_low_and_the_highest_of_no_numbers_is_none() -> None:
    paper = load_paper(TINY)
    high = paper.by_name("usd_l4").model_copy(update={"value": 2.0})
    low = paper.by_name("arrays").model_copy(update={"value": 2.0})
    numbers = np.array([1.0, 2.0, 3.0, -np.inf])
    assert high.reaches(numbers).tolist() == [False, True, True, False]
    assert low.reaches(numbers).tolist() == [True, True, False, False]
    numbers = np.array([[1.0, np.nan, 3.0], [np.nan] * 3])
    assert np.array_equal(highest(numbers), [3.0, np.nan], equal_nan=True)


@pytest.mark.parametrize(
    ("was", "becomes", "words"),
    [
        ('runner = "l4"', 'runner = "l5"', r"runner is 'l5'; allowed is one of sail, sail-ampere"),
        ('runner = "l4"', "", "runner is missing; metric usd_ratio needs it"),
        ('counted = "C-SRAM arrays"', 'counted = "lids"', "counted is 'lids'"),
        ('saved = "array_reads"', 'saved = "array_reads"\nbase = "die"', "base is 'die'; allowed for metric"),
        ("primary = true", "", "0 primary metrics; allowed is one"),
        ('name = "reads"', 'name = "usd_l4"', "two claims have the name 'usd_l4'"),
        ("value = 0.4", "value = -1.0", "above 0"),
        ('unit = "x"', 'unit = "x"\ncolour = "red"', "colour is not a field of a claims file"),
        ('source = "a test"\nunknowns', "unknowns", "source is missing"),
        ("fixed = true", "", "0 entries with fixed = true; allowed is one"),
        ('ampere = "sail-n1"', "", "hosts is empty"),
        ('machines = ["graviton2"]', 'machines = ["toaster"]', "no price of toaster"),
        ('machines = ["graviton2"]', "machines = []", "rented.machines is empty"),
        ("[[workload]]", '[levels."pim.colour"]\nvalues = [1]\nreason = "x"\n[[workload]]', "pim.colour"),
    ],
)
def test_a_bad_file_of_claims_or_unknowns_is_one_sentence(
    tmp_path: Path, was: str, becomes: str, words: str
) -> None:
    texts = {name: (FOLDER / name).read_text("utf-8") for name in ("tiny_claims.toml", "tiny_unknowns.toml")}
    at = next(name for name, text in texts.items() if was in text)
    for name, text in texts.items():
        (tmp_path / name).write_text(text.replace(was, becomes, 1) if name == at else text)
    with pytest.raises(SailsimError, match=words) as refused:
        space(str(tmp_path / "tiny_claims.toml"))
    assert str(tmp_path / at) in str(refused.value) or at == "tiny_unknowns.toml"


# --- What this project claims ---

STEP = ClaimCheck(
    name="answer",
    title="t",
    minutes=0.1,
    commands=("run --batch 0 --json",),
    value=(
        {"what": "a", "path": "x.0.y", "expected": 100.0, "tolerance": 0.01},
        {"what": "b", "path": "z", "expected": 3.0, "tolerance": 0.0},
    ),
)


def test_a_value_is_met_within_its_tolerance() -> None:
    for a, b, met in ((100.9, 3.0, [True, True]), (101.1, 3.1, [False, False])):
        assert [one["met"] for one in judge(STEP, {"x": [{"y": a}], "z": b})] == met
    assert not any(one["met"] for one in judge(STEP, None, "it failed"))


def test_a_command_that_fails_is_a_miss_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "all_checks", lambda: (STEP,))
    result = CliRunner().invoke(main, ["claims", "check", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "MISSED" in result.output
    assert "batch is 0; allowed" in result.output


@pytest.mark.slow
def test_the_quick_steps_are_met(tmp_path: Path) -> None:
    words = ["claims", "check", "answer", "arithmetic", "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert [one["met"] for one in json.loads(result.stdout)["outcomes"]] == 9 * [True]

"""Claims are data: another paper is another file, through the same metrics, for stores and for samples."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

pytest.importorskip("SALib")

from sailsim.analysis.costs.area import area
from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.paper import check
from sailsim.analysis.paper.check import Step, judge, steps
from sailsim.analysis.paper.claims import CLAIMS, highest, load_paper
from sailsim.analysis.paper.evaluator import judged
from sailsim.analysis.paper.reproduce import reproduce
from sailsim.analysis.paper.stored_claims import StoredOutcomes, claims, table
from sailsim.analysis.paper.unknowns import space
from sailsim.analysis.render.claims_page import reproduction_page
from sailsim.analysis.results.compare import compare
from sailsim.analysis.results.joins import joined
from sailsim.analysis.results.results import Runs
from sailsim.base.errors import SailsimError
from sailsim.cli import main
from sailsim.sim.files import load_system

FOLDER = Path(__file__).parent
TINY = str(FOLDER / "tiny_claims.toml")
METRICS = {"speedup", "usd_ratio", "saving", "area_share"}


def test_every_paper_that_ships_uses_every_metric_and_says_where_its_numbers_are_from() -> None:
    for name in CLAIMS.names:
        paper = load_paper(name)
        assert {metric.metric for claim in paper.claim for metric in claim.metric} == METRICS
        for claim in paper.claim:
            assert claim.source
            assert claim.primary.find or claim.primary.how
            assert all(metric.find in ("", metric.field) for metric in claim.metric)


def test_another_papers_claims_of_a_store(swept, frame) -> None:
    table = claims(swept, paper=TINY)
    by_claim = {row["claim"]: row for row in table.to_dict("records")}
    assert len(table) == 4
    rows = joined(frame, prices())
    own = rows[(rows["runner"] == "l4") & (rows["system"] == "sail-n1")]
    assert by_claim["tokens per dollar over NVIDIA L4"]["here"] == pytest.approx(own["usd_ratio_whole"].max())
    arrays = by_claim["area of the arrays"]
    assert arrays["here"] == pytest.approx(100 * area(load_system("sail-n1")).share("C-SRAM arrays", "die"))
    assert arrays["verdict"] == "differs"
    assert by_claim["array reads saved"]["verdict"] == "reached"
    assert by_claim["models simulated"]["here"] == "SmolLM2 135M Instruct"


def test_what_nobody_measured_is_told_beside_the_highest_value(frame) -> None:
    told = ", kernel not measured"
    for notes, said in (["No measurement of w9 on this software."], True), (["Prices are old."], False):
        changed = frame.assign(notes=[notes] * len(frame))
        rows = table(Runs.of(changed, prices())).to_dict("records")
        speedups = [row for row in rows if row["claim"].startswith("speedup") and row["here"] is not None]
        assert speedups
        assert all((told in row["configuration"]) == said for row in speedups if row["here"] == row["here"])
        assert not any(told in row["configuration"] for row in rows if "PRT" in row["claim"])


def test_what_a_metric_asks_for_does_not_depend_on_those_before_it(frame) -> None:
    results = Runs.of(frame, prices())
    metrics = [metric for claim in load_paper().claim for metric in claim.metrics("store")]
    different = {(each.machines, each.threads, each.without, each.runner): each for each in metrics}
    assert 10 < len(different) < len(metrics)
    together = StoredOutcomes.of_runs(results)
    for metric in different.values():
        alone = StoredOutcomes(results, together.points).within(metric)
        pd.testing.assert_frame_equal(together.within(metric).points, alone.points)
        if metric.runner is not None:
            own = results.beside(alone.points, metric.runner)
            pd.testing.assert_frame_equal(together.within(metric).rows(metric.runner), own)


def test_another_papers_claims_of_a_sample_are_those_of_a_run() -> None:
    """The same metric functions: a nominal machine's values are those of `sailsim run`."""
    tiny = space(TINY)
    assert list(tiny.hosts) == ["ampere"]
    sampled = judged(tiny, tiny.nominal)
    point = tiny.workloads[0].point("sail-n1-fast-host", 128)
    on, off = compare(point)["runs"], compare(replace(point, prt=False))["runs"]
    expected = {
        "usd_l4": on["l4"]["usd_ratio_whole"],
        "reads": 100 * (1 - on["sail"]["counts"]["prt_misses"] / off["sail"]["counts"]["prt_misses"]),
        "arrays": 100 * area(load_system("sail-n1-fast-host")).share("C-SRAM arrays", "die"),
    }
    for name, value in expected.items():
        assert sampled[name, 0][0] == pytest.approx(value, rel=1e-9), name


@pytest.mark.slow
def test_another_papers_reproduction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = space(TINY).only(["pim.clock", "pim.prt_entries", "cost.overhead", "area.cell_um2", "scatter.l4"])
    monkeypatch.setattr("sailsim.analysis.paper.reproduce.space", lambda paper, prior: few)
    results = reproduce(tmp_path, 4, progress=False, paper=TINY)
    assert list(results["claims"]) == ["usd_l4", "reads", "arrays"]
    assert results["claims"]["arrays"]["decides"][0]["factor"] == "area.cell_um2"
    assert [row["name"].partition(":")[0] for row in results["breakdown"]] == [
        "nominal, fixed workload",
        "nearest, usd_l4",
    ]
    assert "Tokens/$ over L4" in reproduction_page(results)


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
        ('runner = "l4"', 'runner = "l5"', r"runner is 'l5'; allowed is one of sail, cores"),
        ('runner = "l4"', "", "runner is missing; metric usd_ratio needs it"),
        ('payment = "whole"', 'payment = "cash"', "payment"),
        ('counted = "C-SRAM arrays"', 'counted = "lids"', "counted is 'lids'"),
        ('saved = "array_reads"', 'saved = "array_reads"\nbase = "die"', "base is 'die'; allowed for metric"),
        ("primary = true", "", "0 primary metrics; allowed is one"),
        ('name = "reads"', 'name = "usd_l4"', "two claims have the name 'usd_l4'"),
        ("value = 0.4", "value = -1.0", "above 0"),
        ("value = 0.4", 'value = "much"', "value"),
        ('unit = "x"', 'unit = "x"\ncolour = "red"', "colour is not a field of a claims file"),
        ('source = "a test"\nunknowns', "unknowns", "source is missing"),
    ],
)
def test_a_bad_file_of_claims_is_one_sentence(tmp_path: Path, was: str, becomes: str, words: str) -> None:
    text = Path(TINY).read_text("utf-8")
    assert was in text
    path = tmp_path / "bad.toml"
    path.write_text(text.replace(was, becomes, 1))
    with pytest.raises(SailsimError, match=words) as refused:
        load_paper(str(path))
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("was", "becomes", "words"),
    [
        ("fixed = true", "", "0 entries with fixed = true; allowed is one"),
        ("wbits = 4", "wbits = 4.5", "wbits"),
        ("[hosts]", "[guests]", "guests is not a field"),
        ('ampere = "sail-n1-fast-host"', "", "hosts is empty"),
        ('machines = ["graviton2"]', 'machines = ["toaster"]', "no price of toaster"),
        ("[[workload]]", '[levels."pim.colour"]\nvalues = [1]\nreason = "x"\n[[workload]]', "pim.colour"),
    ],
)
def test_a_bad_file_of_unknowns_is_one_sentence(tmp_path: Path, was: str, becomes: str, words: str) -> None:
    text = (FOLDER / "tiny_unknowns.toml").read_text("utf-8")
    assert was in text
    (tmp_path / "tiny_unknowns.toml").write_text(text.replace(was, becomes, 1))
    (tmp_path / "tiny_claims.toml").write_bytes(Path(TINY).read_bytes())
    with pytest.raises(SailsimError, match=words):
        space(str(tmp_path / "tiny_claims.toml"))


def test_a_paper_without_unknowns_cannot_be_sampled(tmp_path: Path) -> None:
    path = tmp_path / "facts.toml"
    path.write_text(Path(TINY).read_text("utf-8").replace('unknowns = "tiny_unknowns.toml"\n', ""))
    with pytest.raises(SailsimError, match="unknowns is missing"):
        space(str(path))


def test_files_that_change_are_read_again(tmp_path: Path) -> None:
    """Within one process, as in a notebook."""
    claims, unknowns = tmp_path / "tiny_claims.toml", tmp_path / "tiny_unknowns.toml"
    claims.write_bytes(Path(TINY).read_bytes())
    text = (FOLDER / "tiny_unknowns.toml").read_text("utf-8")
    unknowns.write_text(text)
    space(str(claims))
    unknowns.write_text(text.replace('machines = ["graviton2"]', 'machines = ["toaster"]', 1))
    with pytest.raises(SailsimError, match="no price of toaster"):
        space(str(claims))
    unknowns.write_text(text)
    space(str(claims))
    claims.write_text("nonsense = 1\n")
    with pytest.raises(SailsimError, match="tiny_claims"):
        space(str(claims))


# --- What this project claims ---

STEP = Step(
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
        assert [one.met for one in judge(STEP, {"x": [{"y": a}], "z": b})] == met
    assert not any(one.met for one in judge(STEP, None, "it failed"))


def test_the_list_of_steps_runs_nothing_and_an_unknown_one_is_one_sentence() -> None:
    result = CliRunner().invoke(main, ["claims", "check", "--list"])
    assert result.output.count("    sailsim ") == sum(len(step.commands) for step in steps())
    result = CliRunner().invoke(main, ["claims", "check", "nothing"])
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: step is 'nothing'; allowed are answer,")


@pytest.mark.slow
def test_the_quick_steps_are_met(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["claims", "check", "answer", "arithmetic", "--out", str(tmp_path), "--json"]
    )
    assert result.exit_code == 0, result.output
    assert [one["met"] for one in json.loads(result.stdout)["outcomes"]] == 9 * [True]


def test_a_command_that_fails_is_a_miss_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "steps", lambda: (STEP,))
    result = CliRunner().invoke(main, ["claims", "check", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "MISSED" in result.output
    assert "batch is 0; allowed" in result.output

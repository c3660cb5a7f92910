"""The reproduction: equal inputs give equal rows, a killed run goes on, found machines give their numbers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("SALib")

from sailsim.analysis.paper.claim import load_paper
from sailsim.analysis.paper.claim_study import study_in
from sailsim.analysis.paper.parameter_space import ParameterSpace, space
from sailsim.analysis.paper.reproduce import SampledMetrics, reproduce, sample
from sailsim.analysis.render.claims_page import write_reproduction
from sailsim.analysis.runs.compare import compare
from sailsim.analysis.uncertainty.prior import Workload
from sailsim.base.atomic import read_records
from sailsim.sim.point import Point

ROOT = Path(__file__).parents[3]
PAPER = load_paper()
QUICK = {"model": "smollm2-135m", "context": 64, "reason": "quick"}
WORKLOADS = (
    Workload(name="small", wbits=4, batch=1, threads=8, fixed=True, decides=True, prt=True, **QUICK),
    Workload(name="small b2", wbits=2, batch=2, threads=16, **QUICK),
)
FACTORS = ("pim.t_prt", "pim.clock", "cpu.llama.cpp.kernel_rate_q4_k_m", "cost.overhead", "area.cell_um2")


def small(
    paper: str = "sail", prior: str | None = None, factors: tuple[str, ...] = FACTORS
) -> ParameterSpace:
    every = space(paper, prior).only(factors)
    return replace(every, workloads=WORKLOADS, alternatives=every.alternatives[:1])


def sampled_in(folder: Path) -> SampledMetrics:
    return sample(small(), 4, 0, study_in(folder, "claims reproduce", {}, progress=False))


def test_a_row_between_differs_in_what_its_factor_decides(tmp_path: Path) -> None:
    values = sampled_in(tmp_path).saltelli
    decided = {
        "pim.t_prt": {"speedup", "usd_cpu", "usd_v100", "prt"},
        "pim.clock": {"speedup", "usd_cpu", "usd_v100", "prt"},
        "cpu.llama.cpp.kernel_rate_q4_k_m": {"speedup", "usd_cpu", "usd_v100"},  # attention moves with it
        "cost.overhead": {"usd_cpu", "usd_v100"},
        "area.cell_um2": {"overhead"},
    }
    for i, name in enumerate(FACTORS, 1):
        moved = {claim for (claim, _), each in values.items() if not np.isclose(each[0, 0], each[i, 0])}
        assert moved <= decided[name]
        assert moved or name == "pim.t_prt"


@pytest.mark.slow
def test_the_whole_of_it_twice_is_the_same_to_the_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sailsim.analysis.paper.reproduce.space", small)
    results = reproduce(tmp_path / "a", 4, progress=False)
    reproduce(tmp_path / "b", 4, progress=False)
    for name in ("reproduction.json", *(f"nearest-{c.name.replace('_', '-')}.toml" for c in PAPER.claim)):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert json.loads(json.dumps(results)) == json.loads((tmp_path / "a" / "reproduction.json").read_text())
    page = write_reproduction(results, tmp_path / "a").read_text("utf-8")
    assert all(claim.title[1:] in page for claim in PAPER.claim)
    # With two factors of the machine it is they that decide: hits that cost nothing save cycles.
    assert results["claims"]["prt"]["decides"][0]["factor"] == "pim.t_prt"
    assert results["claims"]["overhead"]["decides"][0]["factor"] == "area.cell_um2"
    # A claim that nothing decides still has its page and figures.
    undecided = results["claims"] | {"prt": results["claims"]["prt"] | {"decides": []}}
    write_reproduction(results | {"claims": undecided}, tmp_path / "b")
    # A nearest machine gives its number by its file.
    for name in ("speedup", "usd_cpu", "usd_v100"):
        near = results["claims"][name]["nearest"]
        workload = next(w for w in WORKLOADS if w.name == near["workload"])
        answer: Any = compare(workload.point(str(tmp_path / "a" / near["file"]), 128))
        for key in near["find"].split("."):
            answer = answer[key]
        assert answer == pytest.approx(near["value"], rel=1e-4)


# --- What is committed ---


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    return read_records(ROOT / "analysis" / "data" / "reproduction.jsonl")


def test_the_committed_nearest_machines_give_their_numbers(committed: dict[str, Any]) -> None:
    """Re-running a nearest configuration by its file gives the number on the page."""
    for name, claim in committed["claims"].items():
        near = claim["nearest"]
        if not near["find"]:
            continue
        workload = next(w for w in committed["workloads"] if w["name"] == near["workload"])
        fields = {key: workload[key] for key in ("model", "wbits", "batch", "threads", "context")}
        group = int(near["changes"].get("weights.group_size", {"value": 128})["value"])
        path = ROOT / "docs" / "systems" / near["file"]
        answer: Any = compare(Point(system=str(path), group_size=group, **fields))
        for key in near["find"].split("."):
            answer = answer[key]
        assert answer == pytest.approx(near["value"], rel=0.02), (
            f"{name}: analysis/data/reproduction.jsonl is older than the models: run research/fits/claims.py"
        )

"""The reproduction: equal inputs give equal rows, a killed run goes on, found machines give their numbers."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sailsim.analysis.paper.claims import load_paper
from sailsim.analysis.paper.parameters import Workload
from sailsim.analysis.paper.reproduce import reproduce
from sailsim.analysis.paper.sampling import LAST, Study, run_samples
from sailsim.analysis.paper.space import ParameterSpace
from sailsim.analysis.paper.unknowns import space
from sailsim.analysis.render.reproduction_page import STORED, write_page
from sailsim.analysis.render.reproduction_words import verdict
from sailsim.analysis.results.compare import compare
from sailsim.base.atomic import read_records
from sailsim.base.errors import SailsimError
from sailsim.sim.point import Point
from sailsim.sim.study.folder import Store

pytest.importorskip("SALib")
ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAPER = load_paper()
NUMERIC = [claim.name for claim in PAPER.claim]
QUICK = {"model": "smollm2-135m", "context": 64, "reason": "quick"}
WORKLOADS = (
    Workload(name="small", wbits=4, batch=1, threads=8, fixed=True, decides=True, prt=True, **QUICK),
    Workload(name="small b2", wbits=2, batch=2, threads=16, **QUICK),
)
RATE, CORES = "llama.cpp/sail.tokens_per_s", "llama.cpp/cores.tokens_per_s"
FACTORS = ("pim.t_prt", "pim.clock", "cpu.llama.cpp.kernel_rate_q4_k_m", "cost.overhead", "area.cell_um2")


def small(paper: str = "sail", prior: str | None = None) -> ParameterSpace:
    every = space(paper, prior).only(FACTORS)
    return replace(every, workloads=WORKLOADS, alternatives=every.alternatives[:1])


def numbers(folder: Path, jobs: int = 1, seed: int = 0) -> dict[str, list[Any]]:
    frame = run_samples(Study(small(), 4, seed), folder, jobs, progress=False)
    kept = [c for c in frame if c not in ("finished_at", "evaluation_s")]
    return {c: [v.tolist() if isinstance(v, np.ndarray) else v for v in frame[c]] for c in kept}


@pytest.mark.slow
def test_equal_seeds_give_equal_rows_whatever_the_jobs(tmp_path: Path) -> None:
    first = numbers(tmp_path / "a")
    second = numbers(tmp_path / "b", jobs=2)
    assert json.dumps(first) == json.dumps(second)
    other = numbers(tmp_path / "c", seed=1)
    assert json.dumps(other[RATE]) != json.dumps(first[RATE])
    # Two full blocks of A, one row a factor, B; two of A and B alone.
    assert first["row"] == 2 * [*range(len(FACTORS) + 1), LAST] + 2 * [0, LAST]


def test_a_row_between_differs_in_what_its_factor_decides(tmp_path: Path) -> None:
    frame = run_samples(Study(small(), 4, 0), tmp_path, progress=False)
    block = frame[frame["block"] == 0].reset_index(drop=True)
    for i, name in enumerate(FACTORS, 1):
        moved = {
            column: not np.allclose(block[column][0][:1], block[column][i][:1], equal_nan=True)
            for column in (RATE, CORES, "areas")
        }
        expected = {
            "pim.clock": {RATE},
            "pim.t_prt": {RATE},
            "cpu.llama.cpp.kernel_rate_q4_k_m": {CORES, RATE},  # attention moves with it
            "cost.overhead": set(),
            "area.cell_um2": {"areas"},
        }[name]
        assert {column for column, differs in moved.items() if differs} <= expected
        if name in ("pim.clock", "area.cell_um2"):
            assert any(moved.values())


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, wait_until) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "import test_reproduce as t, signal\nfrom sailsim.analysis.paper import sampling\n"
        "real = sampling.evaluate_block\n"
        "def slow(space, block, *others):\n"
        "    if block == 2: signal.pause()\n"
        "    return real(space, block, *others)\n"
        "sampling.evaluate_block = slow\n"
        "sampling.run_samples(sampling.Study(t.small(), 4, 0), sys.argv[1], 1, False)\n"
    )
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", code, str(folder), str(Path(__file__).parent)])
    wait_until(process, lambda: len(Store(folder).keys()) >= 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    held = Store(folder).keys()
    assert len(held) == 2
    before = [Store(folder).of_key(key)[0]["finished_at"] for key in held]
    assert json.dumps(numbers(folder)) == json.dumps(numbers(tmp_path / "whole"))
    assert len(Store(folder).keys()) == 4
    assert [Store(folder).of_key(key)[0]["finished_at"] for key in held] == before


@pytest.mark.parametrize("samples", [0, 2, 3, 100, -4, 1 << 20])
def test_samples_that_sobols_sequence_cannot_have(samples: int) -> None:
    with pytest.raises(SailsimError, match=rf"samples is {samples}.*power of two"):
        Study(small(), samples, 0)


def test_a_space_without_factors_a_bad_seed_and_no_jobs(tmp_path: Path) -> None:
    with pytest.raises(SailsimError, match="no factor"):
        Study(small().only([]), 4, 0)
    with pytest.raises(SailsimError, match="seed is -1"):
        Study(small(), 4, -1)
    with pytest.raises(SailsimError, match="jobs is 0"):
        run_samples(Study(small(), 4, 0), tmp_path, 0)


@pytest.fixture
def everything_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sailsim.analysis.paper.reproduce.space", small)


@pytest.mark.slow
@pytest.mark.usefixtures("everything_small")
def test_the_whole_of_it_twice_is_the_same_to_the_byte(tmp_path: Path) -> None:
    found = reproduce(tmp_path / "a", 4, progress=False)
    reproduce(tmp_path / "b", 4, progress=False)
    for name in ("reproduction.json", *(f"nearest-{claim.replace('_', '-')}.toml" for claim in NUMERIC)):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    written = write_page(found, tmp_path / "a")
    assert all(path.is_file() for path in written)
    read = json.loads((tmp_path / "a" / "reproduction.json").read_text("utf-8"))
    assert (tmp_path / "a" / "reproduction.html").read_text("utf-8").count("<svg") == 3
    for claim in read["claims"].values():
        assert len(claim["values"]) == 8
        assert [d["factor"] for d in claim["decides"]] == [
            d["factor"] for d in sorted(claim["decides"], key=lambda d: -d["total"])
        ]
    # With two factors of the machine it is they that decide: hits that cost nothing save cycles.
    assert read["claims"]["prt"]["decides"][0]["factor"] == "pim.t_prt"
    assert read["claims"]["overhead"]["decides"][0]["factor"] == "area.cell_um2"


@pytest.mark.slow
@pytest.mark.usefixtures("everything_small")
def test_a_nearest_machine_gives_its_number_by_its_file(tmp_path: Path) -> None:
    found = reproduce(tmp_path, 4, progress=False)
    for claim in ("speedup", "usd_cpu", "usd_v100"):
        near = found["claims"][claim]["nearest"]
        workload = next(w for w in WORKLOADS if w.name == near["workload"])
        answer: Any = compare(workload.point(str(tmp_path / near["file"]), 128))
        for key in near["find"].split("."):
            answer = answer[key]
        assert answer == pytest.approx(near["value"], rel=1e-4)


# --- What is committed ---


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    return read_records(ROOT / "analysis" / "data" / STORED)


def test_every_claim_is_there_with_all_its_readings_and_a_reason(committed: dict[str, Any]) -> None:
    assert list(committed["claims"]) == list(NUMERIC)
    for claim in PAPER.claim:
        results = committed["claims"][claim.name]
        assert [r["words"] for r in results["readings"]] == [m.words for m in claim.metrics("samples")]
        assert verdict(claim, results)
        assert claim.why


def test_the_committed_nearest_machines_give_their_numbers(committed: dict[str, Any]) -> None:
    """Re-running a nearest configuration by its file gives the number on the page."""
    for name, claim in committed["claims"].items():
        near = claim["nearest"]
        path = DOCS / "systems" / near["file"]
        if not near["find"]:
            continue
        workload = next(w for w in committed["workloads"] if w["name"] == near["workload"])
        fields = {key: workload[key] for key in ("model", "wbits", "batch", "threads", "context")}
        group = int(near["changes"].get("weights.group_size", {"value": 128})["value"])
        answer: Any = compare(Point(system=str(path), group_size=group, **fields))
        for key in near["find"].split("."):
            answer = answer[key]
        assert answer == pytest.approx(near["value"], rel=0.02), (
            f"{name}: analysis/data/reproduction.jsonl is older than the models: run research/claims.py"
        )

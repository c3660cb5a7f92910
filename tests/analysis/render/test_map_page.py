"""The map of who gives most: a cell is what `compare` says."""

from dataclasses import replace

import pytest

from sailsim.analysis import compare
from sailsim.analysis.baselines.cpu_software import SIMULATED
from sailsim.analysis.baselines.runners import named, packed, shipped_runners
from sailsim.analysis.render import answer_page, map_page
from sailsim.sim import Point


def test_a_cell_is_sails_best_over_the_best_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_page, "THREADS", (8, 64))
    cells = {(cell.metric, cell.among): cell for cell in map_page._cells(4, 8, 128)}
    points = [
        Point(model="llama-2-7b", wbits=4, batch=8, context=128, threads=threads) for threads in (8, 64)
    ]
    runs = [compare(point, runners=packed(shipped_runners()))["runs"] for point in points]
    fast = [
        compare(replace(point, system="sail-n1-fast-host"), runners=named("sail"))["runs"]["sail"]
        for point in points
    ]
    for metric in map_page.METRICS:
        sail = max(run[metric] for run in (*fast, *(each["sail"] for each in runs)))
        every = [run for each in runs for run in each.values() if run["software"] not in SIMULATED]
        cores = [run for run in every if run["kind"] == "cores" and run[metric]]
        assert cells[metric, map_page.SERVER].ratio == pytest.approx(sail / max(r[metric] for r in cores))
        others = [run for run in every if run["kind"] != "accelerator"]
        most = max(run[metric] for run in others if run[metric] is not None)
        assert cells[metric, map_page.ALL].ratio == pytest.approx(sail / most)
    assert cells["tokens_per_s", map_page.SERVER].other == "T-MAC"
    assert cells["tokens_per_s", map_page.ALL].other.startswith("H100")


def test_the_answer_names_the_strongest_software_and_its_range() -> None:
    said = answer_page.answer_parts()["sentence"]
    found = compare(answer_page.ORDINARY)["runs"]
    for name in ("cores", "cores-best"):
        assert f"**{found[name]['speedup']:.1f}x**" in said
    best = found["cores-best"]
    assert f"({best['speedup_low']:.1f} .. {best['speedup_high']:.1f}x)" in said

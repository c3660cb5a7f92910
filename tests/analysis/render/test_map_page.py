"""The map of who gives most: a cell is what `compare` says."""

from dataclasses import replace
from pathlib import Path

import pytest

from sailsim.analysis import compare
from sailsim.analysis.baselines.cpu_software import SIMULATED
from sailsim.analysis.baselines.prediction import UNMEASURED
from sailsim.analysis.baselines.runners import named, packed, shipped_runners
from sailsim.analysis.render import answer_page, map_page
from sailsim.analysis.render.marks import parts
from sailsim.sim import Point

PAGE = (Path(__file__).parents[3] / "docs" / "map.md").read_text("utf-8")
RATE = ("tokens_per_s",)


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


@pytest.mark.slow
def test_the_page_is_of_the_models_as_they_are() -> None:
    """Nothing else writes the map again: it takes half a minute."""
    shown = parts(PAGE)
    assert map_page.map_parts()["leads"] == shown["map/leads"], "sailsim docs map --write"
    cells = [cell for cell in map_page.cells() if cell.among == map_page.SERVER and cell.metric in RATE]
    behind = {(cell.wbits, cell.batch, cell.context) for cell in cells if cell.ratio < 1}
    first = {wbits: min(batch for width, batch, _ in behind if width == wbits) for wbits in map_page.WIDTHS}
    assert first == {2: 4, 4: 32, 8: 16}
    assert {context for wbits, _, context in behind if wbits == 4} == {2048}
    cards = [cell for cell in map_page.cells() if cell.among == map_page.ALL and cell.metric in RATE]
    assert all(cell.ratio < 1 for cell in cards)


def test_the_page_says_whose_kernels_are_left_out_and_not_measured() -> None:
    point = Point(model=map_page.MODEL, wbits=4, batch=8, context=512, threads=64)
    found = compare(point, runners=packed(shipped_runners()))["runs"]
    fast = compare(replace(point, system="sail-n1-fast-host"), runners=named("sail"))["runs"]["sail"]
    sail = max(found["sail"]["tokens_per_s"], fast["tokens_per_s"])
    ours = max(run["tokens_per_s"] for run in found.values() if run["software"] in SIMULATED)
    page = " ".join(PAGE.split())
    assert f"SAIL gives {sail / ours:.2f} times of what they reach on 64 cores" in page
    threads = ", ".join(map(str, map_page.THREADS[:-1]))
    assert f"the best of {threads} and {map_page.THREADS[-1]} threads" in page
    for name in ("cores", "cores-ampere"):
        assert any(note.startswith(UNMEASURED) for note in found[name]["notes"])


def test_the_answer_names_the_strongest_software_and_its_range() -> None:
    said = answer_page.answer_parts()["sentence"]
    found = compare(answer_page.ORDINARY)["runs"]
    for name in ("cores", "cores-best"):
        assert f"**{found[name]['speedup']:.1f}x**" in said
    best = found["cores-best"]
    assert f"({best['speedup_low']:.1f} .. {best['speedup_high']:.1f}x)" in said

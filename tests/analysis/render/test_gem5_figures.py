"""Figures of gem5's results: drawn where there are any, from their folder alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sailsim.analysis.render.figure import captioned, draw
from sailsim.analysis.render.figures import FIGURES
from sailsim.analysis.render.gem5_figures import (
    FOLDER,
    decode_figure,
    most_widths,
    regions_together,
    stored_tiles,
    stored_timelines,
    stored_tokens,
    tiles_figure,
    timeline_figure,
)
from sailsim.analysis.render.report import report
from sailsim.analysis.render.style import save
from sailsim.analysis.results.gem5_steps import decode_rows
from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.replay import TileTimeline, both_timelines
from sailsim.sim.gem5.validation import Comparison, Validation, random_tile
from sailsim.sim.study.folder import Store


def timeline(groups: int, source: str = "gem5 24.0.0.1") -> TileTimeline:
    rows = tuple((0, i, 52 * i, 52 * i + 30, 52 * (i + 1), 44, 8, 0, 0) for i in range(groups))
    return TileTimeline(source, "a tile", 1.8, rows, True, 600, 55)


SYSTEM = load_system("sail-n1")
Results = tuple[Path, list[Comparison]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, fake_gem5: Path) -> Results:
    """A folder of gem5's results as `sailsim gem5 validate` and `replay --timeline` leave it."""
    out = tmp_path_factory.mktemp("sweep") / FOLDER
    compared = Validation("sail-n1", SYSTEM, tiles=9).run(Gem5(fake_gem5), out)
    tile = random_tile(np.random.default_rng(1), 64, 40, 1, 4, 8, 4, 0, scaled=False)
    both_timelines(Gem5(fake_gem5), "sail-n1", SYSTEM, tile, out)
    return out, compared


def texts(figure) -> str:
    axes = [f"{panel.title} {panel.x.label} {panel.y.label}" for panel in figure.panels]
    return " ".join([figure.title, *axes, *figure.caption])


def test_a_folder_without_results_has_none(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "absent"):
        assert stored_tiles(folder) is None
        assert stored_tokens(folder) is None
        assert stored_timelines(folder) is None


def test_every_tile_is_in_the_figure_with_what_it_rests_on(results: Results) -> None:
    folder, compared = results
    tiles = stored_tiles(folder)
    assert tiles is not None
    figure = tiles_figure(tiles)
    said = texts(figure)
    for word in ("cycles of the tile in gem5", "gem5 24.0.0.1", "sail-n1", "PHASES DIFFER"):
        assert word in said
    assert f"{len(compared)} tiles: every result is exact" in said
    (panel,) = figure.panels
    assert sorted(panel.named()["value"]) == pytest.approx(
        sorted(100 * round(each.error, 4) for each in compared)
    )
    names = list(figure.styled())
    assert names[:2] == ["row_dfm, alone", "bit_parallel, alone"]
    assert len(names) == 8


def test_a_timeline_shows_its_beginning_and_its_end() -> None:
    figure = timeline_figure([timeline(100), timeline(100, "fast engine")])
    assert len(figure.panels) == 4
    text = texts(figure)
    for word in ("gem5 24.0.0.1: 5,252 cycles", "fast engine", "1.8 GHz", "waiting for weights 52 of 5,252"):
        assert word in text
    assert [panel.x.limits for panel in figure.panels[:2]] == [(0, 52 * 35), (52 * 94, 5252)]
    assert len(timeline_figure([timeline(36)]).panels) == 1  # short ones whole


def test_the_report_of_a_sweep_shows_its_own(
    swept: Store, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {name: FIGURES[name] for name in ("gem5", "timeline", "gem5_tokens")}
    monkeypatch.setattr("sailsim.analysis.render.report.FIGURES", own)
    out = tmp_path / "out"
    out.mkdir()
    for path in swept.path.iterdir():
        (out / path.name).symlink_to(path)
    (out / FOLDER).symlink_to(results[0])
    page, *files = report(Store(out))
    assert {path.stem for path in files} == set(own)
    text = page.read_text("utf-8")
    assert "Tiles: those of this sweep, run on gem5." in text
    assert f"{len(results[1])} tiles: every result is exact" in text


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        figure = timeline_figure([timeline(20)])
        save(captioned(draw(figure), figure), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def runs() -> list[dict[str, Any]]:
    """One thread of Llama 2 7B."""
    wanted = {"model": "llama-2-7b", "threads": 1, "batch": 1, "cache": "fp16"}
    return [dict(row) for row in decode_rows() if all(row[name] == value for name, value in wanted.items())]


def test_the_line_of_tokens_is_the_ratio_of_whole_steps() -> None:
    speedup, parts = decode_figure(runs()).panels
    steps = {(row["weights"], row["linears"]): sum(regions_together(row).values()) for row in runs()}
    marks = speedup.named()
    marks = marks[marks["line"] == "gem5, 1 thread, batch 1"]
    expected = [steps[f"{bits}g128", "neon"] / steps[f"{bits}g128", "lutmm"] for bits in (2, 4, 8)]
    assert list(marks["place"]) == [2, 4, 8]
    assert list(marks["value"]) == pytest.approx(expected)
    # The highest bar is NEON's step at 8 bits, in milliseconds of a core of 2.5 GHz.
    assert max(parts.named().groupby("place")["value"].sum()) == pytest.approx(steps["8g128", "neon"] / 2.5e6)


def test_runs_without_both_sides_or_bits_are_refused() -> None:
    units = [row for row in runs() if row["linears"] == "lutmm"]
    with pytest.raises(SailsimError, match="no width has runs on cores and on units"):
        decode_figure(units)
    with pytest.raises(SailsimError, match="weights is 'q4_0'; allowed here are bits"):
        decode_figure([row | {"weights": "q4_0"} for row in runs()])


def test_of_a_folder_the_runs_with_most_widths_on_both_sides_are_drawn() -> None:
    """Runs without numbers, of mixed formats, and those of another step do not count."""
    every = [dict(row) for row in decode_rows()]
    other = [row for row in every if row["blocks"] != 1]
    stopped = {**every[0], "step_cycles": None, "reason": "took longer"}
    mixed = {**every[0], "weights": "q4_k_m"}
    chosen = most_widths([stopped, mixed, *other, *runs()])
    assert chosen is not None
    assert {row["weights"] for row in chosen} == {"2g128", "4g128", "8g128"}
    assert all(row["blocks"] == 1 for row in chosen)
    assert most_widths([stopped, mixed]) is None
    assert most_widths([row for row in runs() if row["linears"] == "neon"]) is None

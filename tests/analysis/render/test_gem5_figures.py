"""Figures of gem5's results: drawn where there are any, from their folder alone."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from sailsim.analysis.render.figures import figures
from sailsim.analysis.render.gem5_figures import FOLDER, gem5_figures, tiles_figure, timeline_figure
from sailsim.analysis.render.report import report
from sailsim.analysis.render.style import save
from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.tiles import run_tiles, tile_points
from sailsim.sim.gem5.timeline import TIMELINE, TileTimeline
from sailsim.sim.study.folder import Store


def timeline(groups: int, source: str = "gem5 24.0.0.1") -> TileTimeline:
    rows = tuple((0, i, 52 * i, 52 * i + 30, 52 * (i + 1), 44, 8, 0, 0) for i in range(groups))
    return TileTimeline(source, "a tile", 1.8, rows, True, 600, 55)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, fake_gem5: Path) -> Path:
    """A folder of gem5's results as `sailsim gem5 sweep` leaves it."""
    out = tmp_path_factory.mktemp("sweep") / FOLDER
    system = load_system("sail-n1")
    points = tile_points((2, 4), (2, 4), (1, 8), (4,), model="smollm2-135m", group_size=32)
    rows, before = run_tiles(points, Gem5(fake_gem5), "sail-n1", system, out, progress=False)
    assert (len(rows), before) == (10, 0)
    timelines = [timeline(100), timeline(100, "fast engine")]
    content = {"key": "", "timelines": [each.as_dict() for each in timelines]}
    (out / TIMELINE).write_text(json.dumps(content))
    return out


def texts(figure) -> str:
    words = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        words += [axes.get_title("left"), axes.get_xlabel(), axes.get_ylabel()]
    return " ".join(words)


def test_formats_of_one_width_have_places_of_their_own(tmp_path: Path, fake_gem5: Path) -> None:
    points = tile_points(
        None, (2,), (1,), (), model="smollm2-135m", weights=("mxfp4", "4g64", "q8_0", "4g32")
    )
    rows, _ = run_tiles(points, Gem5(fake_gem5), "sail-n1", load_system("sail-n1"), tmp_path, progress=False)
    figure = tiles_figure(rows)
    said = texts(figure)
    assert "format of the weights" in said
    assert "one scale for" not in said
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["mxfp4", "w4g32", "w4g64", "q8_0"]
    (line,) = (each for each in figure.axes[0].lines if each.get_label() == "NBW 2")
    assert list(line.get_xdata()) == [0, 1, 2, 3]


def test_no_results_no_figure(tmp_path: Path) -> None:
    assert gem5_figures(tmp_path / "absent") == {}


def test_every_tile_is_in_the_figure_with_what_it_rests_on(folder: Path) -> None:
    frame = Store(folder).frame()
    figure = tiles_figure(frame)
    said = texts(figure)
    for word in (
        "batch 1",
        "batch 8",
        "bits of a weight",
        "gem5 24.0.0.1",
        "sail-n1",
        "10 tiles",
        "PHASES DIFFER",
    ):
        assert word in said
    *times, errors = figure.axes
    stars = [line for line in errors.get_lines() if line.get_marker() == "*"]
    assert [line.get_label() for line in stars] == ["whole matrix, packed", "whole matrix, rows apart"]
    assert stars[0].get_markerfacecolor() != stars[1].get_markerfacecolor()
    drawn = np.concatenate([line.get_ydata() for axes in times for line in axes.get_lines()])
    for column in ("gem5_s", "engine_s"):
        assert set(np.round(frame[column] * 1e6, 6)) <= set(np.round(drawn, 6))
    low, high = errors.get_ylim()
    assert low < 100 * frame["error"].min()
    assert high > 100 * frame["error"].max()


def test_a_timeline_shows_its_beginning_and_its_end() -> None:
    figure = timeline_figure([timeline(100), timeline(100, "fast engine")])
    assert len(figure.axes) == 4
    said = texts(figure)
    for word in ("gem5 24.0.0.1: 5,252 cycles", "fast engine", "1.8 GHz", "waiting for weights 52 of 5,252"):
        assert word in said
    (left, right) = figure.axes[0].get_xlim(), figure.axes[1].get_xlim()
    assert left == (0, 52 * 35)
    assert right == (52 * 94, 5252)
    assert len(timeline_figure([timeline(36)]).axes) == 1  # short ones whole
    with pytest.raises(SailsimError, match="at least 1"):
        timeline_figure([timeline(9)], (0, 1))


@pytest.mark.slow
def test_figures_and_report_of_a_sweep_show_them(
    swept: Store, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The sweep's own have their tests, and take long.
    monkeypatch.setattr(import_module("sailsim.analysis.render.figures"), "FIGURES", {})
    out = tmp_path / "out"
    out.mkdir()
    for path in swept.path.iterdir():
        (out / path.name).symlink_to(path)
    (out / FOLDER).symlink_to(folder)
    names = [path.name for path in figures(Store(out))]
    assert names == ["gem5.svg", "gem5.png", "timeline.svg", "timeline.png"]
    text = report(Store(out)).read_text()
    assert 'id="figure-gem5"' in text
    assert 'id="figure-timeline"' in text
    assert "Against gem5" in text
    assert figures(swept, tmp_path / "without") == []


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        save(timeline_figure([timeline(20)]), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()

"""Figures of gem5's results: drawn where there are any, from their folder alone."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from sailsim.analysis.render.figures import figures
from sailsim.analysis.render.gem5_figures import FOLDER, gem5_figures, timeline_figure
from sailsim.analysis.render.report import report
from sailsim.analysis.render.style import save
from sailsim.sim.files import load_system
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.replay import TileTimeline, both_timelines
from sailsim.sim.gem5.validation import Comparison, Validation, random_tile
from sailsim.sim.study.folder import Store

SYSTEM = load_system("sail-n1")
Results = tuple[Path, list[Comparison]]


def timeline(groups: int, source: str = "gem5 24.0.0.1") -> TileTimeline:
    rows = tuple((0, i, 52 * i, 52 * i + 30, 52 * (i + 1), 44, 8, 0, 0) for i in range(groups))
    return TileTimeline(source, "a tile", 1.8, rows, True, 600, 55)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, fake_gem5: Path) -> Results:
    """A folder of gem5's results as `sailsim gem5 validate` and `replay --timeline` leave it."""
    out = tmp_path_factory.mktemp("sweep") / FOLDER
    compared = Validation("sail-n1", SYSTEM, tiles=9).run(Gem5(fake_gem5), out)
    tile = random_tile(np.random.default_rng(1), 64, 40, 1, 4, 8, 4, 0, scaled=False)
    both_timelines(Gem5(fake_gem5), "sail-n1", SYSTEM, tile, out)
    return out, compared


def texts(figure) -> str:
    words = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        words += [axes.get_title("left"), axes.get_xlabel(), axes.get_ylabel()]
    return " ".join(words)


def test_no_results_no_figure(tmp_path: Path) -> None:
    assert gem5_figures(tmp_path / "absent") == {}


def test_every_tile_is_in_the_figure_with_what_it_rests_on(results: Results) -> None:
    folder, compared = results
    drawn = gem5_figures(folder)
    assert list(drawn) == ["gem5", "timeline"]
    text = texts(drawn["gem5"])
    for word in ("cycles of the tile in gem5", "gem5 24.0.0.1", "sail-n1", "PHASES DIFFER"):
        assert word in text
    assert f"{len(compared)} tiles: every result is exact" in text
    *lines, _ = drawn["gem5"].axes[0].get_lines()
    assert sorted(np.concatenate([line.get_ydata() for line in lines])) == pytest.approx(
        sorted(100 * each.error for each in compared)
    )
    labels = [line.get_label() for line in lines]
    assert labels[:2] == ["row_dfm, alone", "bit_parallel, alone"]
    assert len(set(labels)) == 8


def test_a_timeline_shows_its_beginning_and_its_end() -> None:
    figure = timeline_figure([timeline(100), timeline(100, "fast engine")])
    assert len(figure.axes) == 4
    text = texts(figure)
    for word in ("gem5 24.0.0.1: 5,252 cycles", "fast engine", "1.8 GHz", "waiting for weights 52 of 5,252"):
        assert word in text
    (left, right) = figure.axes[0].get_xlim(), figure.axes[1].get_xlim()
    assert left == (0, 52 * 35)
    assert right == (52 * 94, 5252)
    assert len(timeline_figure([timeline(36)]).axes) == 1  # short ones whole


@pytest.mark.slow
def test_figures_and_report_of_a_sweep_show_them(
    swept: Store, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The sweep's own have their tests, and take long.
    monkeypatch.setattr(import_module("sailsim.analysis.render.figures"), "FIGURES", {})
    out = tmp_path / "out"
    out.mkdir()
    for path in swept.path.iterdir():
        (out / path.name).symlink_to(path)
    (out / FOLDER).symlink_to(results[0])
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

"""Figures: every one draws from a full store, and says what it lacks from a poor one."""

import struct

import matplotlib as mpl
import numpy as np
import pytest

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.render.figures import FIGURES, draw, figures
from sailsim.analysis.render.style import DASHES, MARKERS, OKABE_ITO, PHASE_STYLE, SERIES
from sailsim.analysis.results.results import MissingPointsError, Runs, prt_pairs
from sailsim.analysis.results.runs import evaluate
from sailsim.base.errors import SailsimError
from sailsim.sim.backends.cores import MEASURED, SIMULATED, SOFTWARE
from sailsim.sim.engine import PHASES
from sailsim.sim.files import load_system
from sailsim.sim.point import Point
from sailsim.sim.sweep import run_sweep


@pytest.fixture(scope="module")
def results(frame):
    return Runs.of(frame, prices())


@pytest.fixture(scope="module")
def one_point(frame):
    """The runs of a single point."""
    own = frame[frame["prt"].astype(bool)]
    return Runs.of(own[own["point_key"] == own["point_key"].iloc[0]], prices())


@pytest.fixture(scope="module")
def without_batch_8(frame):
    """The runs where batch 8 fits nobody: its rows have no numbers."""
    empty = ["tokens_per_s", "low", "high", "step_s", "energy_j", "energy_low_j", "energy_high_j"]
    large = frame["batch"] == 8
    less = frame.copy()
    less.loc[large, empty] = np.nan
    for column in ("phases", "counts", "energy"):
        less[column] = [{} if big else value for big, value in zip(large, frame[column], strict=True)]
    return Runs.of(less, prices())


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


@pytest.mark.parametrize("name", FIGURES)
def test_figure_states_units_system_model_and_what_the_patterns_come_from(name, results):
    figure = draw(name, results)
    said = texts(figure)
    assert figure.axes, said
    assert "sail-n1" in said
    assert "SmolLM2" in said
    assert "Pattern statistics" in said
    assert all(axes.get_xlabel() for axes in figure.axes if axes.get_subplotspec().is_last_row())
    assert figure.axes[0].get_ylabel() or name == "dollars"
    if name == "dollars":
        assert "2025-03-02" in said
        assert "USD" in said


PAIRS = ("prt", "conversion")
"""Figures of a choice against its absence: a store without both has nothing to draw."""


@pytest.mark.parametrize("name", FIGURES)
def test_a_store_of_one_point_is_drawn_unless_the_figure_compares_two(name, one_point):
    if name not in PAIRS:
        figure = draw(name, one_point)
        assert figure.axes
        assert "needs" not in texts(figure)
        return
    with pytest.raises(MissingPointsError) as error:
        draw(name, one_point)
    assert "needs" in str(error.value)
    assert str(error.value).count(".") == 1


@pytest.mark.parametrize(("column", "label"), [("batch", "batch"), ("threads", "threads (cores that work)")])
@pytest.mark.parametrize("name", ["speedup", "threads", "step_time", "energy", "energy_units"])
def test_a_figure_runs_along_what_the_sweep_varied(name, column, label, frame):
    fixed = {
        "wbits": 4,
        "nbw": 4,
        "substrate": "row_dfm",
        "group_size": 128,
        "convert": "memory",
        "prt": True,
        "threads": 16,
        "batch": 1,
    }
    own = frame
    for held, value in fixed.items():
        own = own if held == column else own[own[held] == value]
    figure = draw(name, Runs.of(own, prices()))
    last = [axes for axes in figure.axes if axes.get_subplotspec().is_last_row()]
    assert {axes.get_xlabel() for axes in last} == {label}


@pytest.mark.parametrize("name", ["speedup", "threads", "step_time", "energy", "energy_units"])
def test_panels_that_are_compared_have_equal_scales(name, results):
    figure = draw(name, results)
    assert len(figure.axes) > 1
    assert len({axes.get_ylim() for axes in figure.axes}) == 1


def test_what_is_left_out_is_said_and_leaves_no_old_picture(swept, frame, tmp_path, capsys):
    poor = tmp_path / "poor"
    run_sweep([Point(model="smollm2-135m", context=64)], evaluate, poor, progress=False)
    old = poor / "figures" / "prt.png"
    old.parent.mkdir()
    old.write_bytes(b"of an earlier sweep")
    written = figures(poor, progress=True)
    assert {path.stem for path in written} == set(FIGURES) - set(PAIRS)
    assert not old.exists()
    said = capsys.readouterr().err
    assert said.count("left out: ") == len(PAIRS)
    assert "The PRT's saving needs" in said


@pytest.mark.slow
def test_files_are_vector_and_raster_and_the_same_every_time(swept, tmp_path):
    first = figures(swept, tmp_path / "a")
    second = figures(swept, tmp_path / "b")
    assert [path.suffix for path in first] == [".svg", ".png"] * len(FIGURES)
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()
    for path in first[1::2]:
        width, height = struct.unpack(">II", path.read_bytes()[16:24])
        assert width >= 900
        assert height >= 500


def test_stacked_parts_reach_the_time_of_the_step(results):
    figure = draw("step_time", results)
    rows = results.at(("wbits", "batch"))
    axes = figure.axes[0]
    own = rows[rows["batch"] == rows["batch"].min()].sort_values("wbits")
    tops = [0.0] * len(own)
    for bar in axes.patches:
        x = round(bar.get_x() + bar.get_width() / 2)
        tops[x] = max(tops[x], bar.get_y() + bar.get_height())
    assert tops == pytest.approx(list(own["step_s"] * 1e3))
    assert set(PHASE_STYLE) == set(PHASES)


def test_lines_show_the_stores_numbers(results):
    figure = draw("threads", results)
    rows = results.at(("threads", "batch"))
    own = rows[rows["batch"] == rows["batch"].min()].sort_values("threads")
    line = next(line for line in figure.axes[0].lines if line.get_label() == "SAIL")
    assert np.array_equal(line.get_ydata(), own["tokens_per_s"])


def test_the_caption_names_the_software_of_all_cores_that_are_drawn(results):
    said = texts(draw("threads", results)).replace("\n", " ")
    assert all(SOFTWARE[name] in said for name in MEASURED)
    assert not any(SOFTWARE[name] in said for name in SIMULATED)


def test_a_card_of_the_users_is_in_the_figures_without_a_line_of_code(results):
    """In its own panel over bits, as a line over threads, and among the dollars."""
    assert list(results.curves.values()) == [
        "cores, llama.cpp",
        "cores, Ampere's fork",
        "cores, T-MAC",
        "My card",
    ]
    figure = draw("speedup", results)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[-2:] == ["over My card", "over all cores, fastest"]
    axes = figure.axes[-2]
    rows = results.at(("wbits", "batch", "model"), "mine")
    own = rows[rows["batch"] == rows["batch"].min()].sort_values("wbits")
    assert np.array_equal(axes.lines[0].get_ydata(), own["speedup"])
    assert "and others" in texts(figure)
    labels = [line.get_label() for line in draw("threads", results).axes[0].lines]
    assert labels == ["SAIL", *results.curves.values()]


def test_bands_lie_on_both_sides_of_a_speedup(results):
    figure = draw("speedup", results)
    rows = results.at(("wbits", "batch", "model"), "cores")
    own = rows[rows["batch"] == rows["batch"].min()].sort_values("wbits")
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    for end in ("low", "high"):
        assert set(own[f"speedup_{end}"].round(9)) <= set(band[:, 1].round(9))


def test_dollars_are_of_one_sizing_and_a_card_has_one_row(results):
    axes = draw("dollars", results).axes[0]
    priced = [label.get_text() for label in axes.get_yticklabels()]
    assert priced[:5] == [
        "SAIL",
        "cores, llama.cpp",
        "cores, Ampere's fork",
        "cores, T-MAC",
        "all cores, fastest",
    ]
    assert "My card" in priced
    assert len(priced) <= 13
    cards = [label.partition(",")[0] for label in priced[5:]]
    assert len(set(cards)) == len(cards)
    assert "H100" not in cards  # no price
    row = results.at(("batch",)).sort_values("batch").iloc[0]
    # After its range, the first batch's mark.
    assert axes.lines[1].get_xdata()[0] == pytest.approx(row["tokens_per_usd_used"])


def test_the_nominal_machine_stands_beside_the_one_where_hits_save_cycles(results):
    figure = draw("prt", results)
    titles = [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes]
    assert titles[0] == "cycles: SAIL on a Neoverse-N1 server"
    assert titles[1] == "cycles: SAIL whose hits take no cycle"
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    for axes, saves in zip(figure.axes, (False, True), strict=False):
        lines = [line for line in axes.lines if line.get_label().startswith("NBW")]
        assert lines
        assert all((np.abs(line.get_ydata()) > 1e-3).any() == saves for line in lines)


@pytest.mark.parametrize("name", FIGURES)
def test_points_that_do_not_fit_are_not_drawn(name, without_batch_8):
    """No figure has a mark of a batch whose rows have no numbers."""
    figure = draw(name, without_batch_8)
    assert "batch 8" not in texts(figure)


def test_rows_beside_others_are_those_of_the_same_points(results):
    rows = results.at(("threads", "batch"))
    cores = results.beside(rows, "cores")
    assert list(cores.index) == list(rows.index)
    assert list(cores["threads"]) == list(rows["threads"])
    assert set(cores["runner"]) == {"cores"}
    assert list(cores["speedup"]) == pytest.approx(list(rows["tokens_per_s"] / cores["tokens_per_s"]))
    assert results.beside(rows, "nobody")["tokens_per_s"].isna().all()


def test_the_whole_column_is_the_largest_group(results):
    figure = draw("conversion", results)
    for axes in figure.axes:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["64", "128", "all"]
        for line in axes.lines:
            assert (np.diff(line.get_xdata()) > 0).all()


def test_pairs_hold_all_but_the_prt_equal(results):
    pairs = prt_pairs(results)
    assert len(pairs) >= 12
    # Chunks of a batch share a group's counts out in whole patterns, hits and misses apart: a cycle may move.
    assert (pairs["saved"] >= -1e-5).all()
    assert pairs["reads"].between(0, 1).all()
    row_dfm = pairs[pairs["substrate"] == "row_dfm"]
    assert (row_dfm["reads"] > 0).all()
    assert row_dfm["system"].nunique() == 2
    # A hit saves cycles where it costs less than the row read that it replaces.
    for system, own in row_dfm.groupby("system"):
        hit = load_system(system).pim.t_prt.value
        assert ((own["saved"] > 0) == (hit < 1)).all()


def test_styles_never_rest_on_colour_alone():
    assert len(set(SERIES)) == len(set(MARKERS)) == len({str(d) for d in DASHES}) == 7
    assert set(SERIES) <= set(OKABE_ITO.values())
    looks = [(colour, hatch) for _, colour, hatch in PHASE_STYLE.values()]
    assert len(set(looks)) == len(looks)


def test_an_empty_or_missing_store_is_refused(tmp_path, frame):
    with pytest.raises(SailsimError, match="no results"):
        figures(tmp_path)
    with pytest.raises(SailsimError, match="no rows"):
        Runs.of(frame.iloc[:0], prices())

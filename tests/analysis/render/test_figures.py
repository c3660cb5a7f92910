"""Figures: every one draws from a full store, and says what it lacks from a poor one."""

import struct

import matplotlib as mpl
import numpy as np
import pytest

from sailsim.analysis import FIGURES, figures, prices
from sailsim.analysis.baselines.cpu import SOFTWARE
from sailsim.analysis.render.figures import draw
from sailsim.analysis.render.phases import PHASE_STYLE
from sailsim.analysis.render.style import DASHES, MARKERS, OKABE_ITO, SERIES
from sailsim.analysis.results.results import Runs, prt_pairs
from sailsim.base.errors import SailsimError
from sailsim.sim import PHASES, load_system


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


@pytest.mark.parametrize("name", FIGURES)
def test_a_store_without_the_points_gives_a_sentence_that_names_them(name, one_point):
    figure = draw(name, one_point)
    if name == "dollars":  # one point is all it needs
        assert figure.axes
        return
    assert not figure.axes
    said = texts(figure).replace("\n", " ")
    assert "needs" in said
    assert said.count(".") == 1


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
    assert all(title in said for title in SOFTWARE.values())


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
    assert "SmolLM2 135M Instruct, My card" in titles
    axes = figure.axes[titles.index("SmolLM2 135M Instruct, My card")]
    rows = results.at(("wbits", "batch", "model"), "mine")
    own = rows[rows["batch"] == rows["batch"].min()].sort_values("wbits")
    assert np.array_equal(axes.lines[0].get_ydata(), own["speedup"])
    assert "and others" in texts(figure)
    labels = [line.get_label() for line in draw("threads", results).axes[0].lines]
    assert labels == ["SAIL", *results.curves.values()]
    priced = [label.get_text() for label in draw("dollars", results).axes[0].get_yticklabels()]
    assert "My card" in priced
    assert {"V100", "V100, serving", "V100, f16", "SAIL, used bandwidth", "all cores, llama.cpp"} <= set(
        priced
    )
    assert not any("H100" in label for label in priced)


@pytest.mark.parametrize("name", FIGURES)
def test_points_that_do_not_fit_are_not_drawn(name, without_batch_8):
    """No figure has a mark of a batch whose rows have no numbers."""
    figure = draw(name, without_batch_8)
    assert "needs" not in texts(figure)
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

"""Figures: declared from a full store, each says what it lacks in a poor one, and is drawn as declared."""

import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.render.figure import Axis, Figure, Panel, captioned, draw, values
from sailsim.analysis.render.figures import FIGURES, Study
from sailsim.analysis.render.html import inline_svg
from sailsim.analysis.render.report import report
from sailsim.analysis.render.style import DASHES, MARKERS, OKABE_ITO, PHASE_STYLE, SERIES, save
from sailsim.analysis.results.results import MissingPointsError, Runs, prt_pairs
from sailsim.analysis.results.runs import evaluate
from sailsim.base.errors import SailsimError
from sailsim.sim.backends.cores import MEASURED, SIMULATED, SOFTWARE
from sailsim.sim.engine import PHASES
from sailsim.sim.files import load_system
from sailsim.sim.point import Point
from sailsim.sim.sweep import run_sweep

PAIRS = ("prt", "conversion")
"""Figures of a choice against its absence: a store without both has nothing to draw."""
PANELS = ("speedup", "threads", "step_time", "energy", "energy_units")
"""Figures that run along what a sweep varied, with panels on one scale."""
OF_RUNS = (*PANELS, "dollars", *PAIRS)
"""Figures of a sweep's points; the others are of one point, or the same for every sweep."""


@pytest.fixture(scope="module")
def study(frame):
    return Study.of(frame, prices(), "sail")


@pytest.fixture(scope="module")
def one_point(frame):
    """The runs of a single point."""
    own = frame[frame["prt"].astype(bool)]
    return Study.of(own[own["point_key"] == own["point_key"].iloc[0]], prices(), "sail")


@pytest.fixture(scope="module")
def without_batch_8(frame):
    """The runs where batch 8 fits nobody: its rows have no numbers."""
    empty = ["tokens_per_s", "low", "high", "step_s", "energy_j", "energy_low_j", "energy_high_j"]
    large = frame["batch"] == 8
    less = frame.copy()
    less.loc[large, empty] = np.nan
    for column in ("phases", "counts", "energy"):
        less[column] = [{} if big else value for big, value in zip(large, frame[column], strict=True)]
    return Study.of(less, prices())


def declared(name, study):
    return FIGURES[name][1](study)


def texts(figure):
    """Every word of a figure."""
    panels = [
        " ".join([panel.title, panel.x.label, panel.y.label, *panel.named()["line"].astype(str)])
        for panel in figure.panels
    ]
    return " ".join([figure.title, *panels, *figure.caption])


def line(panel, words):
    """The values of a line of a panel."""
    rows = panel.named()
    return list(rows[rows["line"] == words].sort_values("place")["value"])


@pytest.mark.parametrize("name", OF_RUNS)
def test_figure_states_units_system_model_and_what_the_patterns_come_from(name, study):
    figure = declared(name, study)
    text = texts(figure)
    for word in ("sail-n1", "SmolLM2", "Pattern statistics"):
        assert word in text
    assert all(panel.value.label and (panel.place.label or panel.place.ticks) for panel in figure.panels)
    if name == "dollars":
        assert "2025-03-02" in text
        assert "USD" in text


@pytest.mark.parametrize("name", FIGURES)
def test_a_store_of_one_point_is_drawn_unless_the_figure_compares_two(name, one_point):
    if name in PAIRS:
        with pytest.raises(MissingPointsError, match=r"^[^.]* needs [^.]*\.$"):
            declared(name, one_point)
    else:
        assert draw(declared(name, one_point)).drawing.axes


@pytest.mark.parametrize("column", ["batch", "threads"])
@pytest.mark.parametrize("name", PANELS)
def test_a_figure_runs_along_what_the_sweep_varied(name, column, frame):
    fixed = {
        **{"wbits": 4, "nbw": 4, "substrate": "row_dfm", "group_size": 128, "convert": "memory"},
        **{"prt": True, "threads": 16, "batch": 1},
    }
    own = frame
    for held, value in fixed.items():
        own = own if held == column else own[own[held] == value]
    figure = declared(name, Study.of(own, prices()))
    label = {"batch": "batch", "threads": "threads (cores that work)"}[column]
    assert {panel.x.label for panel in figure.panels} == {label}


@pytest.mark.parametrize("layout", ["wide", "narrow"])
@pytest.mark.parametrize("name", PANELS)
def test_panels_that_are_compared_have_equal_scales(name, layout, study):
    axes = [each for each in draw(declared(name, study), layout).drawing.axes if each.get_visible()]
    assert len(axes) > 1
    assert len({each.get_ylim() for each in axes}) == 1


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("layout", ["wide", "narrow"])
def test_nothing_is_cut_off_and_no_two_labels_collide(name, layout, study):
    drawing = draw(declared(name, study), layout).drawing
    drawing.draw_without_rendering()
    whole = drawing.bbox.padded(1)
    shown = [axes for axes in drawing.axes if axes.get_visible()]
    for axes in shown:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            labels = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            words = [each for each in [*labels, axis.label] if each.get_text().strip() and each.get_visible()]
            boxes = [each.get_window_extent() for each in words]
            for i, box in enumerate(boxes):
                assert whole.contains(*box.min), axis
                assert whole.contains(*box.max), axis
                assert not any(box.overlaps(other) for other in boxes[:i]), axis
    for legend in drawing.legends:
        box = legend.get_window_extent()
        assert whole.contains(*box.min)
        assert whole.contains(*box.max)
        assert not any(box.overlaps(axes.get_window_extent()) for axes in shown)


def test_what_is_left_out_is_told_and_leaves_no_old_picture(tmp_path, capsys):
    poor = tmp_path / "poor"
    run_sweep([Point(model="smollm2-135m", context=64)], evaluate, poor, progress=False)
    old = poor / "figures" / "prt.png"
    old.parent.mkdir()
    old.write_bytes(b"of an earlier sweep")
    page, *written = report(poor, progress=True)
    lacking = {*PAIRS, "reproduction"}  # of no paper's model
    assert {path.stem for path in written} == set(FIGURES) - lacking
    assert not old.exists()
    told = capsys.readouterr().err
    assert told.count("left out: ") == len(lacking)
    assert "The PRT's saving needs" in told
    assert "The PRT&#39;s saving needs" in page.read_text("utf-8")


def mine(_study):
    """A figure as the recipe of docs/start.md has it."""
    rows = pd.DataFrame({"x": [1, 2], "y": [3.0, 4.5], "who": ["ours", "ours"]})
    return Figure("My own figure", [Panel(rows, Axis("x", "bits"), Axis("y", "J"), "who")], ["Drawn by me."])


@pytest.mark.parametrize("section", ["energy", "mine"])
def test_a_figure_of_ones_own_is_a_file_and_in_the_report(section, swept, tmp_path, monkeypatch):
    monkeypatch.setattr("sailsim.analysis.render.report.FIGURES", {"mine": (section, mine)})
    page, *files = report(swept, tmp_path / "r.html")
    assert [path.name for path in files] == ["mine.svg", "mine.png"]
    text = page.read_text("utf-8")
    own = text[text.index(f'<section id="{section}">') :]
    own = own[: own.index("</section>")]
    assert 'id="figure-mine"' in own
    for words in ("My own figure", "Drawn by me.", "<td>ours</td>", 'data-number="4.5"'):
        assert words in own


@pytest.mark.slow
def test_files_are_vector_and_raster_and_the_same_every_time(swept, tmp_path):
    first, second = (report(swept, tmp_path / name / "r.html", paper="sail")[1:] for name in "ab")
    assert [path.suffix for path in first] == [".svg", ".png"] * len(FIGURES)
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()
    for path in first[1::2]:
        width, height = struct.unpack(">II", path.read_bytes()[16:24])
        assert width >= 900
        assert height >= 400


def test_what_is_drawn_is_what_the_values_say(study, tmp_path):
    """A mark of every row, whose words stand at the pointer; and the caption is in the file alone."""
    figure = declared("threads", study)
    header, rows = values(figure)
    assert header[:4] == ["panel", "what", "threads (cores that work)", "tokens/s of the whole batch"]
    drawn = draw(figure)
    lines = [each for axes in drawn.drawing.axes for each in axes.lines]
    assert sorted(y for each in lines for y in each.get_ydata()) == sorted(row[3] for row in rows)
    svg = inline_svg(drawn.drawing, "t", drawn.words)
    assert svg.count("<title>") == len(rows)
    assert "Held fixed" not in svg
    assert "#000000" not in svg.replace("var(--ink, #000000)", "")
    path = tmp_path / "t.svg"
    save(captioned(drawn, figure), path)
    assert path.read_text("utf-8").count("<path") > svg.count("<path")


def test_stacked_parts_reach_the_time_of_the_step(study):
    panel = declared("step_time", study).panels[0]
    rows = study.results.at(("wbits", "batch"))
    own = rows[rows["batch"] == rows["batch"].min()].sort_values("wbits")
    tops = panel.named().groupby("place")["value"].sum()
    assert list(tops) == pytest.approx(list(own["step_s"] * 1e3))
    bars = draw(declared("step_time", study)).drawing.axes[0].patches
    assert max(bar.get_y() + bar.get_height() for bar in bars) == pytest.approx(max(tops))
    assert set(PHASE_STYLE) == set(PHASES)


def test_lines_show_the_stores_numbers(study):
    rows = study.results.at(("threads", "batch"))
    own = rows[rows["batch"] == rows["batch"].min()].sort_values("threads")
    assert line(declared("threads", study).panels[0], "SAIL") == list(own["tokens_per_s"])


def test_the_caption_names_the_software_of_all_cores_that_are_drawn(study):
    text = texts(declared("threads", study))
    assert all(SOFTWARE[name] in text for name in MEASURED)
    assert not any(SOFTWARE[name] in text for name in SIMULATED)


def test_a_card_of_the_users_is_in_the_figures_without_a_line_of_code(study):
    """In its own panel over bits, as a line over threads, and among the dollars."""
    beside = ["cores, llama.cpp", "cores, Ampere's fork", "cores, T-MAC", "My card"]
    assert list(study.results.curves.values()) == beside
    figure = declared("speedup", study)
    titles = [panel.title.partition(", over ")[2] for panel in figure.panels]
    assert titles[-2:] == ["My card", "all cores, fastest"]
    rows = study.results.at(("wbits", "batch", "model"), "mine")
    own = rows[rows["batch"] == rows["batch"].min()].sort_values("wbits")
    panel = figure.panels[-2]
    assert line(panel, "batch 1") == list(own["speedup"])
    shown = panel.named()
    shown = shown[shown["line"] == "batch 1"].sort_values("place")
    for end in ("low", "high"):
        assert list(shown[end]) == list(own[f"speedup_{end}"])
    assert "and others" in figure.title
    assert list(declared("threads", study).styled()) == ["SAIL", *beside]


def test_dollars_are_of_one_sizing_and_a_card_has_one_row(study):
    panel = declared("dollars", study).panels[0]
    priced = list(panel.y.ticks.values())
    assert priced[:5] == [
        *("SAIL", "cores, llama.cpp", "cores, Ampere's fork", "cores, T-MAC"),
        "all cores, fastest",
    ]
    assert "My card" in priced
    assert len(priced) <= 13
    cards = [label.partition(",")[0] for label in priced[5:]]
    assert len(set(cards)) == len(cards)
    assert "H100" not in cards  # no price
    row = study.results.at(("batch",)).sort_values("batch").iloc[0]
    first = panel.named().sort_values(["place", "line"]).iloc[0]
    assert first["value"] == row["tokens_per_usd_used"]
    assert first["most"] == row["tokens_per_usd_high"]


def test_the_nominal_machine_stands_beside_the_one_where_hits_save_cycles(study):
    figure = declared("prt", study)
    first, second, _ = figure.panels
    assert first.title == "cycles: SAIL on a Neoverse-N1 server"
    assert second.title == "cycles: SAIL whose hits take no cycle"
    assert first.y.limits == second.y.limits
    assert (first.named()["value"].abs() < 1e-3).all()
    assert (second.named()["value"] > 1e-3).any()
    assert [rule.words for rule in first.rules] == ["paper: 13.8 %"]
    assert declared("prt", Study(study.results)).panels[0].rules == []


@pytest.mark.parametrize("name", OF_RUNS)
def test_points_that_do_not_fit_are_not_drawn(name, without_batch_8):
    """No figure has a mark of a batch whose rows have no numbers."""
    assert "batch 8" not in texts(declared(name, without_batch_8))


def test_the_whole_column_is_the_largest_group(study):
    for panel in declared("conversion", study).panels:
        assert list(panel.x.ticks.values()) == ["64", "128", "all"]


def test_rows_beside_others_are_those_of_the_same_points(study):
    results = study.results
    rows = results.at(("threads", "batch"))
    cores = results.beside(rows, "cores")
    assert list(cores.index) == list(rows.index)
    assert list(cores["threads"]) == list(rows["threads"])
    assert set(cores["runner"]) == {"cores"}
    assert list(cores["speedup"]) == pytest.approx(list(rows["tokens_per_s"] / cores["tokens_per_s"]))
    assert results.beside(rows, "nobody")["tokens_per_s"].isna().all()


def test_pairs_hold_all_but_the_prt_equal(study):
    pairs = prt_pairs(study.results)
    assert len(pairs) >= 12
    # Chunks of a batch share a group's counts out in whole patterns, hits and misses apart: a cycle may move.
    assert (pairs["saved"] >= -1e-5).all()
    assert pairs["reads"].between(0, 1).all()
    row_dfm = pairs[pairs["substrate"] == "row_dfm"]
    assert (row_dfm["reads"] > 0).all()
    assert row_dfm["system"].nunique() == 2
    # A hit saves cycles where it costs less than the row read that it replaces.
    for system, own in row_dfm.groupby("system"):
        assert ((own["saved"] > 0) == (load_system(system).pim.t_prt.value < 1)).all()


def test_styles_never_rest_on_colour_alone():
    assert len(set(SERIES)) == len(set(MARKERS)) == len({str(d) for d in DASHES}) == 7
    assert set(SERIES) <= set(OKABE_ITO.values())
    looks = [(colour, hatch) for _, colour, hatch in PHASE_STYLE.values()]
    assert len(set(looks)) == len(looks)


def test_an_empty_or_missing_store_is_refused(tmp_path: Path, frame):
    with pytest.raises(SailsimError, match="no results"):
        report(tmp_path)
    with pytest.raises(SailsimError, match="no rows"):
        Runs.of(frame.iloc[:0], prices())

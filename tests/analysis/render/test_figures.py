"""Figures: declared from a full store, each says what it lacks in a poor one, and is drawn as declared."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.render.figure import PHASES as LOOKS
from sailsim.analysis.render.figure import (
    Figure,
    FigureAxis,
    Panel,
    draw,
    inline_svg,
    save_captioned,
    values,
)
from sailsim.analysis.render.gem5_figures import (
    decode_figure,
    tokens,
    whole_step,
)
from sailsim.analysis.render.report_page import report
from sailsim.analysis.render.sweep_figures import FIGURES, MOST_BATCHES, SweepStudy
from sailsim.analysis.runs.runs import evaluate
from sailsim.analysis.studies.stored_runs import MissingPointsError, RunTable, prt_pairs, stored_runs
from sailsim.analysis.studies.sweep_study import run_sweep
from sailsim.base.errors import SailsimError
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point
from sailsim.sim.step.engine import PHASES
from sailsim.sim.study.store import Store
from sailsim.workloads.model_files.load import load_model

PAIRS = ("prt", "conversion", "speedup", "threads")
"""Figures of a choice against its absence, or along an axis: a store of one point has nothing to draw."""


@pytest.fixture(scope="module")
def study(frame):
    return SweepStudy.of(frame, prices(), "sail")


@pytest.fixture(scope="module")
def one_point(frame):
    """The runs of a single point."""
    own = frame[frame["prt"].astype(bool)]
    return SweepStudy.of(own[own["point_key"] == own["point_key"].iloc[0]], prices(), "sail")


def declared(name, study):
    return FIGURES[name][1](study)


@pytest.mark.parametrize("name", FIGURES)
def test_a_store_of_one_point_is_drawn_unless_the_figure_compares_two(name, one_point):
    if name in PAIRS:
        with pytest.raises(MissingPointsError, match=r"^[^.]* needs [^.]*\.$"):
            declared(name, one_point)
    else:
        assert draw(declared(name, one_point)).axes


def test_what_is_left_out_is_told_and_leaves_no_old_picture(tmp_path, capsys, only):
    lacking = {*PAIRS}
    only("quality", *lacking)
    poor = tmp_path / "poor"
    run_sweep([Point(model="smollm2-135m", context=64)], evaluate, poor, progress=False)
    old = poor / "figures" / "prt.png"
    old.parent.mkdir()
    old.write_bytes(b"of an earlier sweep")
    page, *written = report(poor, progress=True)
    assert {path.stem for path in written} == {"quality"}
    assert not old.exists()
    told = capsys.readouterr().err
    assert told.count("left out: ") == len(lacking)
    assert "The PRT's saving needs" in told
    assert "The PRT&#39;s saving needs" in page.read_text("utf-8")


@pytest.mark.slow
def test_a_place_of_conversion_that_few_points_have_hides_no_other_point(tmp_path):
    small = Point(model="smollm2-135m", context=64)
    points = [replace(small, convert="auto")]
    points += [replace(small, group_size=g, convert=c) for g in (32, 64) for c in ("memory", "cores")]
    stored = run_sweep(points, evaluate, tmp_path, progress=False)
    rows = declared("conversion", SweepStudy.of(stored.frame(), prices())).panels[0].rows
    assert set(rows["group_size"]) == {32, 64}


@pytest.mark.slow
def test_fields_of_a_machine_are_axes(tmp_path: Path) -> None:
    """A number lies along x, a choice separates lines; both are held fixed elsewhere."""
    systems = [
        f"sail-n1:pim.clock={clock}:pim.prt_policy={p}" for clock in (1, 2, 4) for p in ("lru", "fifo")
    ]
    points = [Point(model="smollm2-135m", context=64, system=system) for system in systems]
    run_sweep(points, evaluate, tmp_path, progress=False)
    results = RunTable.of(stored_runs(Store(str(tmp_path))), prices())
    assert results.fields == {"pim.clock": "pim.clock, GHz", "pim.prt_policy": "pim.prt_policy"}
    speedup = declared("speedup", SweepStudy(results))
    assert {panel.x.column for panel in speedup.panels} == {"pim.clock"}
    for panel in speedup.panels:
        assert sorted(set(panel.rows["pim.clock"])) == [1, 2, 4]
        assert set(panel.rows["line"]) == {"pim.prt_policy fifo", "pim.prt_policy lru"}
    assert all(panel.x.label == "pim.clock, GHz" for panel in declared("threads", SweepStudy(results)).panels)
    assert "moves most with pim.clock: " in " ".join(results.verdict()["sentences"])
    fixed = results.at((), **{"pim.clock": 2})
    assert set(fixed["system"]) == {
        f"sail-n1:pim.clock=2:pim.prt_policy={results.reference['pim.prt_policy']}"
    }


def test_dollars_have_no_more_batches_than_looks(frame):
    own = frame[frame["point_key"] == frame["point_key"].iloc[0]]
    many = [own.assign(batch=batch, point_key=f"p{batch}") for batch in range(1, 13)]
    rows = declared("dollars", SweepStudy.of(pd.concat(many), prices())).panels[0].rows
    assert {1, 12} <= set(rows["batch"])
    assert rows["line"].nunique() == MOST_BATCHES


def mine(_study):
    """A figure as the recipe of docs/start.md has it."""
    rows = pd.DataFrame({"x": [1, 2], "y": [3.0, 4.5], "who": ["ours", "ours"]})
    return Figure(
        "My own figure", [Panel(rows, FigureAxis("x", "bits"), FigureAxis("y", "J"), "who")], ["Drawn by me."]
    )


@pytest.mark.parametrize("section", ["energy", "mine"])
def test_a_figure_of_ones_own_is_a_file_and_in_the_report(section, swept, tmp_path, monkeypatch):
    monkeypatch.setattr("sailsim.analysis.render.report_page.FIGURES", {"mine": (section, mine)})
    page, *files = report(swept, tmp_path / "r.html")
    assert [path.name for path in files] == ["mine.svg", "mine.png"]
    text = page.read_text("utf-8")
    own = text[text.index(f'<section id="{section}">') :]
    own = own[: own.index("</section>")]
    assert 'id="figure-mine"' in own
    for words in ("My own figure", "Drawn by me.", "<td>ours</td>", 'data-number="4.5"'):
        assert words in own


def test_what_is_drawn_is_what_the_values_say(study, tmp_path):
    """A mark of every row; and the caption is in the file alone."""
    figure = declared("threads", study)
    _, rows = values(figure)
    drawn = draw(figure)
    lines = [each for axes in drawn.axes for each in axes.lines]
    assert sorted(y for each in lines for y in each.get_ydata()) == sorted(row[3] for row in rows)
    svg = inline_svg(drawn, "t")
    assert "Held fixed" not in svg
    save_captioned(figure, drawn, tmp_path / "t")
    assert (tmp_path / "t.svg").read_text("utf-8").count("<path") > svg.count("<path")


def test_a_value_outside_its_range_stands_beside_it() -> None:
    rows = pd.DataFrame({"at": [0], "value": [69.6], "low": [28.0], "high": [60.0]})
    panel = Panel(
        rows, FigureAxis("value"), FigureAxis.of_names(["SAIL"]), kind="ranks", low="low", high="high"
    )
    (axes,) = draw(Figure("nominal", [panel], [])).axes
    (ends,) = [each for bars in axes.containers for each in bars[2]]
    assert ends.get_segments()[0][:, 0].tolist() == [28.0, 60.0]


def test_a_panel_above_another_has_its_label_unless_all_share_the_scale() -> None:
    rows = pd.DataFrame({"at": [1], "height": [2]})
    times, percent = (Panel(rows, FigureAxis("at", label), FigureAxis("height")) for label in ("times", "%"))
    for panels, labels in (
        ([times, percent, times], ["times", "%", "times"]),
        ([times] * 4, ["", "", "times", "times"]),
    ):
        axes = draw(Figure("", panels, columns=2)).axes
        assert [each.get_xlabel() for each in axes[: len(panels)]] == labels


def test_stacked_parts_reach_the_time_of_the_step(study):
    panel = declared("step_time", study).panels[0]
    rows = study.results.at(("wbits", "batch"))
    own = rows[rows["batch"] == rows["batch"].min()].sort_values("wbits")
    tops = panel.marks().groupby("place")["value"].sum()
    assert list(tops) == pytest.approx(list(own["step_s"] * 1e3))
    bars = draw(declared("step_time", study)).axes[0].patches
    assert max(bar.get_y() + bar.get_height() for bar in bars) == pytest.approx(max(tops))
    assert set(LOOKS) == set(PHASES)


def test_pairs_hold_all_but_the_prt_equal(study):
    pairs = prt_pairs(study.results)
    assert len(pairs) == 8
    # Chunks of a batch share a group's counts out in whole patterns, hits and misses apart: a cycle may move.
    assert (pairs["saved"] >= -1e-5).all()
    assert pairs["reads"].between(0, 1).all()
    row_dfm = pairs[pairs["substrate"] == "row_dfm"]
    assert (row_dfm["reads"] > 0).all()
    assert row_dfm["system"].nunique() == 2
    # A hit saves cycles where it costs less than the row read that it replaces.
    for system, own in row_dfm.groupby("system"):
        assert ((own["saved"] > 0) == (load_system(system).pim.t_prt.value < 1)).all()


def test_an_empty_or_missing_store_is_refused(tmp_path: Path, frame):
    with pytest.raises(SailsimError, match="no results"):
        report(tmp_path)
    with pytest.raises(SailsimError, match="no rows"):
        RunTable.of(frame.iloc[:0], prices())


def runs() -> list[dict[str, Any]]:
    """One thread of Llama 2 7B."""
    return [dict(row) for row in tokens(None)[0] if row["threads"] == 1]


@pytest.mark.parametrize("blocks", [1, 4])
def test_a_step_of_some_blocks_is_that_of_the_whole_model(blocks: int) -> None:
    """Where all blocks take the same; of 30 blocks 61 norms, the last of them before the head."""
    model = load_model("smollm2-135m")

    def run(count: int) -> dict[str, Any]:
        rounded = count * (2 * model.d_model + model.d_attn + model.d_ffn) + model.d_model
        own = {"embed": 5, "head": 900, "sample": 70, "norm": 3 * (2 * count + 1), "quantise": rounded}
        cycles = own | dict.fromkeys(("qkv", "rope", "attention", "o", "ffn"), 11 * count)
        return {"model": model.name, **{f"{name}_cycles": of for name, of in cycles.items()}}

    of_all = whole_step(run(30) | {"blocks": 0})
    assert of_all["norm"] == 3 * 61
    assert whole_step(run(blocks) | {"blocks": blocks}) == pytest.approx(of_all)
    some = run(blocks) | {
        "blocks": blocks,
        "outputs": model.vocab // 2,
        "head_cycles": 450,
        "sample_cycles": 35,
    }
    assert whole_step(some) == pytest.approx(of_all)


def test_the_line_of_tokens_is_the_ratio_of_whole_steps() -> None:
    speedup, parts = decode_figure(runs()).panels
    steps = {(row["weights"], row["linears"]): sum(whole_step(row).values()) for row in runs()}
    marks = speedup.marks()
    marks = marks[marks["line"] == "gem5, 1 thread, batch 1"]
    expected = [steps[f"{bits}g128", "neon"] / steps[f"{bits}g128", "lutmm"] for bits in (2, 4, 8)]
    assert list(marks["place"]) == [2, 4, 8]
    assert list(marks["value"]) == pytest.approx(expected)
    # The highest bar is NEON's step at 8 bits, in milliseconds of a core of 2.5 GHz.
    assert max(parts.marks().groupby("place")["value"].sum()) == pytest.approx(steps["8g128", "neon"] / 2.5e6)


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off_and_no_two_labels_collide(name, study):
    drawing = draw(declared(name, study))
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

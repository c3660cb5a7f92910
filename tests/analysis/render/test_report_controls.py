"""Controls of the report's figures in a browser: what they draw and save is what the store has."""

import csv
import io
import json
import re
from xml.etree import ElementTree

import pytest

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.render.report import page as report_page
from sailsim.analysis.render.style import OKABE_ITO

from .opened import Opened

pytestmark = pytest.mark.slow


def at(rows, **wanted):
    """The rows of a point of the sweep with the defaults that figures start at."""
    point = {
        **{"system": "sail-n1", "wbits": 4, "batch": 8, "threads": 16, "group_size": 128, "nbw": 4},
        **{"substrate": "row_dfm", "convert": "memory", "prt": True},
    }
    for name, value in (point | wanted).items():
        if value is not None:
            rows = rows[rows[name] == value]
    return rows


def test_a_pointer_over_a_mark_shows_its_value_and_its_range(opened, rows):
    figure = opened.figure("rates")
    point = figure.locator(".plot .scatterlayer .trace .points path").nth(2)  # before bands, which have none
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    label = figure.locator(".hoverlayer .hovertext")
    label.first.wait_for()
    said = label.first.text_content()
    assert "tokens/s of the whole batch" in said
    shown = float(re.search(r"batch: ([\d.,]+)", said)[1].replace(",", ""))
    known = at(rows, threads=None)["tokens_per_s"]
    assert min(abs(known / shown - 1)) < 1e-3


def test_choices_draw_the_records_of_the_store(opened, rows):
    figure = opened.figure("rates")
    for batch in (1, 8):
        figure.locator("label", has_text=re.compile("^batch")).locator("select").select_option(
            label=str(batch)
        )
        x, y = opened.drawn("rates")["SAIL"]
        own = at(rows, batch=batch, threads=None)
        own = own[own["runner"] == "sail"].sort_values("threads")
        assert x == list(own["threads"])
        assert y == list(own["tokens_per_s"])
    figure.locator("label", has_text="along").locator("select").select_option(label="bits of a weight")
    x, y = opened.drawn("rates")["SAIL"]
    own = at(rows, wbits=None, batch=8)
    own = own[own["runner"] == "sail"].sort_values("wbits")
    assert (x, y) == (list(own["wbits"]), list(own["tokens_per_s"]))
    figure.locator("label", has_text="show").locator("select").select_option(
        label="SAIL is so many times as fast"
    )
    _, y = opened.drawn("rates")["cores, llama.cpp"]
    own = at(rows, wbits=None, batch=8)
    assert y == list(own[own["runner"] == "cores"].sort_values("wbits")["speedup"])
    assert "SAIL" not in opened.drawn("rates")


def test_a_choice_that_the_sweep_lacks_takes_the_nearest_point_and_says_so(opened):
    figure = opened.figure("rates")
    figure.locator("summary", has_text="More choices").click()
    figure.locator("label", has_text="where sums are converted").locator("select").select_option(
        label="on the cores"
    )
    figure.locator("label", has_text="weights of a group").locator("select").select_option(label="NBW 2")
    told = figure.locator(".told").inner_text()
    assert "Also changed" in told
    assert "in memory" in told
    assert "SAIL" in opened.drawn("rates")


def test_machines_come_and_go_and_a_scale_changes_with_the_keyboard(opened):
    figure = opened.figure("rates")
    assert "My card" in opened.drawn("rates")
    assert "H100" not in opened.drawn("rates")
    figure.locator("summary", has_text="Machines").press("Enter")
    figure.get_by_label("H100", exact=True).press("Space")
    figure.get_by_label("My card", exact=True).press("Space")
    assert "H100" in opened.drawn("rates")
    assert "My card" not in opened.drawn("rates")
    assert "H100" in figure.locator(".legend").inner_text()
    kind = "plot => plot._fullLayout.yaxis.type"
    assert figure.locator(".plot").evaluate(kind) == "log"
    figure.get_by_label("logarithmic").press("Space")
    assert figure.locator(".plot").evaluate(kind) == "linear"
    # The control that was used keeps the keyboard.
    assert opened.page.evaluate("document.activeElement.dataset.control") == "log"


def test_what_the_others_are_compared_with_is_no_machine_to_choose(opened):
    figure = opened.figure("rates")

    def show(title):
        figure.locator("label", has_text="show").locator("select").select_option(label=title)

    def ticked():
        return figure.locator(".machines input:checked")

    figure.locator("summary", has_text="Machines").click()
    every = figure.locator(".machines input").count()
    while ticked().count() > 1:
        ticked().last.click()
    assert figure.get_by_label("SAIL", exact=True).is_checked()
    show("SAIL is so many times as fast")
    assert figure.get_by_label("SAIL", exact=True).count() == 0
    assert f"Machines (0 of {every - 1})" in figure.locator("summary").all_inner_texts()
    assert figure.locator(".plot").inner_text() == "No machine that is shown has a value of this."
    figure.get_by_label("H100", exact=True).click()
    assert list(opened.drawn("rates")) == ["H100"]
    # The last one stays, as something is drawn.
    ticked().click()
    assert list(opened.drawn("rates")) == ["H100"]
    assert f"Machines (1 of {every - 1})" in figure.locator("summary").all_inner_texts()
    show("tokens/s of the whole batch")
    assert list(opened.drawn("rates")) == ["SAIL", "H100"]


@pytest.mark.parametrize("name", ["prt", "conversion", "area", "quality", "tiles"])
def test_a_scale_is_logarithmic_only_where_all_that_is_drawn_lies_above_0(opened, name):
    figure = opened.figure(name)
    titles = figure.locator("label", has_text="show").locator("option").all_inner_texts()
    across = "x" if name == "area" else "y"
    drawn = f"plot => plot.data.flatMap(trace => Array.from(trace.{across}))"
    lines = f"plot => plot.layout.shapes.map(shape => shape.{across}0)"
    found = []
    for title in titles or [None]:
        if title is not None:
            figure.locator("label", has_text="show").locator("select").select_option(label=title)
        plot = figure.locator(".plot")
        values = plot.evaluate(drawn) + plot.evaluate(lines)
        box = figure.get_by_label("logarithmic")
        assert box.count() == (min(values) > 0), title
        if box.count():
            box.set_checked(True)
        found.append(plot.evaluate(f"plot => plot._fullLayout.{across}axis.type"))
        assert found[-1] == ("log" if min(values) > 0 else "linear")
    assert set(found) <= {"log", "linear"}
    if name in ("prt", "tiles"):
        assert "linear" in found


def test_sail_stands_out_and_what_doubles_lies_at_equal_steps(opened):
    marks = "plot => [plot.data[0].marker.color, plot.data[0].marker.symbol, Array.from(plot.data[0].y)]"
    colours, symbols, names = opened.figure("dollars").locator(".plot").evaluate(marks)
    own = [
        (name, symbol)
        for colour, symbol, name in zip(colours, symbols, names, strict=True)
        if colour == OKABE_ITO["vermillion"]
    ]
    assert own == [("SAIL", "diamond")]
    figure = opened.figure("rates")
    kind = "plot => plot._fullLayout.xaxis.type"
    for title, found in (("threads (cores that work)", "log"), ("bits of a weight", "linear")):
        figure.locator("label", has_text="along").locator("select").select_option(label=title)
        assert figure.locator(".plot").evaluate(kind) == found


def test_what_is_saved_is_what_is_drawn(opened, rows):
    figure = opened.figure("rates")
    with opened.page.expect_download() as event:
        figure.get_by_role("button", name="Save CSV").click()
    text = event.value.path().read_text("utf-8")
    assert event.value.suggested_filename == "rates.csv"
    found = list(csv.DictReader(io.StringIO(text)))
    own = at(rows, threads=None)
    stored = {(row["runner"], row["threads"]): row for row in own.to_dict("records")}
    assert len(found) > 10
    for line in found:
        row = stored[line["runner"], int(line["threads"])]
        assert float(line["tokens_per_s"]) == row["tokens_per_s"]
        assert float(line["low"] or "nan") == pytest.approx(row["low"], abs=0, nan_ok=True)
    with opened.page.expect_download() as event:
        figure.get_by_role("button", name="Save SVG").click()
    root = ElementTree.fromstring(event.value.path().read_text("utf-8"))
    assert root.tag.endswith("svg")
    said = "".join(root.itertext())
    assert "Tokens per second" in said
    assert "cores, llama.cpp" in said


def records_of(opened):
    """The lines of the CSV of every record."""
    with opened.page.expect_download() as event:
        opened.page.locator("#all-records").click()
    return list(csv.DictReader(io.StringIO(event.value.path().read_bytes().decode(), newline="")))


def test_every_record_can_be_saved(opened, rows):
    found = records_of(opened)
    assert {line["runner"] for line in found} == set(rows[rows["tokens_per_s"].notna()]["runner"])
    assert json.loads(found[0]["tokens_per_s"]) > 0


def test_a_text_that_is_saved_is_no_formula_to_a_spreadsheet(browser, swept, tmp_path):
    frame = swept.frame()
    frame = frame[frame["point_key"] == frame["point_key"].iloc[0]]
    saved = {"=1+1": "'=1+1", "+a": "'+a", "-a": "'-a", "@a": "'@a", "-1.5": "-1.5", "a=1": "a=1"}
    saved |= {"\t=1": "'\t=1", "\r=1": "'\r=1", '="a,b"': '\'="a,b"'}
    given = [*saved] * len(frame)
    frame = frame.assign(software=given[: len(frame)], **{"=column": 1.0})
    path = tmp_path / "formulas.html"
    path.write_text(report_page(frame, {}, prices()), "utf-8")
    with Opened(browser, path) as opened:
        found = records_of(opened)
        stored = zip(frame["software"], frame["tokens_per_s"].notna(), strict=True)
        assert [line["software"] for line in found] == [saved[text] for text, rated in stored if rated]
        assert {line["software"] for line in found} == set(saved.values())
        assert {line["'=column"] for line in found} == {"1"}


def test_values_stand_in_a_table_for_who_cannot_point(opened, rows):
    figure = opened.figure("dollars")
    figure.locator("summary", has_text="Values").press("Enter")
    text = figure.locator("details table").inner_text()
    assert "cores, llama.cpp" in text
    assert "My card" in text

"""The report in a browser: figures, the menu, tables, files to save, paper, the dark, and anybody's names."""

import csv
import io

import pytest

from sailsim.analysis.render.sweep_figures import FIGURES

from .conftest import HOSTILE, SIZES, opened, page_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_figure_is_drawn_and_nothing_is_asked_for_or_complained_of(browser, file, size, scheme):
    with opened(browser, file, size, color_scheme=scheme) as (page, said, asked):
        drawings = page.locator("figure.chart [role=img]:visible").all()
        assert len(drawings) == len(FIGURES)
        assert said == []
        assert asked == [file.as_uri()]
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
        for drawing in drawings:
            box = drawing.locator("svg").bounding_box()  # wider than a narrow window, which scrolls it
            boxes = "each => each.map(e => e.getBoundingClientRect().toJSON())"
            for own in drawing.locator("text").evaluate_all(boxes):
                assert own["x"] >= box["x"] - 2
                assert own["x"] + own["width"] <= box["x"] + box["width"] + 2
                assert own["width"] == 0 or own["height"] > 7  # can be read


def test_a_text_that_is_saved_is_no_formula_to_a_spreadsheet(browser, swept, tmp_path, only):
    only()
    frame = swept.frame()
    frame = frame[frame["point_key"] == frame["point_key"].iloc[0]]
    saved = {"=1+1": "'=1+1", "+a": "'+a", "-a": "'-a", "@a": "'@a", "-1.5": "-1.5", "a=1": "a=1"}
    saved |= {"\t=1": "'\t=1", "\r=1": "'\r=1", '="a,b"': '\'="a,b"'}
    given = [*saved] * len(frame)
    frame = frame.assign(software=given[: len(frame)], **{"=column": 1.0})
    path = tmp_path / "formulas.html"
    path.write_text(page_of(frame, {}), "utf-8")
    with opened(browser, path) as (page, _, _):
        with page.expect_download() as event:
            page.locator("#all-records").click()
        text = event.value.path().read_bytes().decode()
        found = list(csv.DictReader(io.StringIO(text, newline="")))
        stored = zip(frame["software"], frame["tokens_per_s"].notna(), strict=True)
        assert [line["software"] for line in found] == [saved[text] for text, rated in stored if rated]
        assert {line["software"] for line in found} == set(saved.values())
        assert {line["'=column"] for line in found} == {"1"}


def test_names_that_look_like_markup_are_shown_letter_by_letter(browser, swept, tmp_path, only):
    only("dollars", "threads")
    frame = swept.frame()
    frame = frame.assign(
        title=frame["title"].where(frame["runner"] != "cores", HOSTILE),
        system_title=frame["system_title"] + HOSTILE,
        model_title=HOSTILE,
    )
    path = tmp_path / "hostile.html"
    path.write_text(page_of(frame, {}), "utf-8")
    with opened(browser, path) as (page, said, asked):
        assert asked == [path.as_uri()]
        for name in ("dollars", "threads"):
            words = page.locator(f"#figure-{name} svg").text_content()
            assert "<script>alert" in words
            assert "<i>" in words
        assert HOSTILE in page.locator("#every-run").inner_text()
        assert page.locator("img").count() == 0
        assert said == []

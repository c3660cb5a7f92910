"""The report in a browser: figures, the menu, tables, files to save, paper, the dark, and anybody's names."""

import csv
import io
import re
from xml.etree import ElementTree

import pytest

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.render.figure import values
from sailsim.analysis.render.figures import FIGURES, Study

from .conftest import HOSTILE, page_of
from .opened import SIZES, Opened

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_figure_is_drawn_and_nothing_is_asked_for_or_complained_of(browser, file, size, scheme):
    with Opened(browser, file, size, color_scheme=scheme) as opened:
        drawings = opened.page.locator("figure.chart [role=img]:visible").all()
        assert len(drawings) == len(FIGURES)
        assert opened.said == []
        assert opened.asked == [file.as_uri()]
        assert opened.overflow() <= 0
        for drawing in drawings:
            box = drawing.bounding_box()
            boxes = "each => each.map(e => e.getBoundingClientRect().toJSON())"
            for own in drawing.locator("text").evaluate_all(boxes):
                assert own["x"] >= box["x"] - 2
                assert own["x"] + own["width"] <= box["x"] + box["width"] + 2
                assert own["width"] == 0 or own["height"] > 7  # can be read


def test_dark_mode_is_dark_and_follows_the_system(browser, file):
    def light_of(opened, script):
        red, green, blue = map(int, re.findall(r"\d+", opened.page.evaluate(script))[:3])
        return (red + green + blue) / 3

    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('#figure-answer text')).fill"
    with Opened(browser, file, color_scheme="dark") as opened:
        assert light_of(opened, ground) < 60
        assert light_of(opened, ink) > 180
        opened.page.emulate_media(color_scheme="light")
        assert light_of(opened, ground) > 200
        assert light_of(opened, ink) < 80


def test_a_pointer_over_a_mark_shows_its_value_and_its_range(opened, study):
    mark = opened.page.locator("#figure-threads .wide-drawing .mark").first
    mark.scroll_into_view_if_needed()
    mark.hover(force=True)
    text = opened.page.locator(".tip").inner_text()
    assert "tokens/s of the whole batch: " in text
    shown = float(re.search(r"batch: ([\d.,]+)", text)[1].replace(",", ""))
    _, rows = values(FIGURES["threads"][1](study))
    assert min(abs(row[3] / shown - 1) for row in rows) < 1e-3
    opened.page.mouse.move(2, 2)
    assert not opened.page.locator(".tip").is_visible()


def test_what_is_saved_of_a_figure_is_what_is_drawn(opened, study):
    figure = opened.page.locator("#figure-threads")
    figure.locator("summary", has_text="Values").press("Enter")
    name, text = opened.saved(figure.locator("[data-save=csv]"))
    assert name == "threads.csv"
    header, rows = values(FIGURES["threads"][1](study))
    lines = list(csv.reader(io.StringIO(text)))
    assert [float(line[3]) for line in lines[1:]] == [row[3] for row in rows]
    assert len(lines[0]) == len(header)
    assert "My card" in text
    name, text = opened.saved(figure.locator("[data-save=svg]"))
    assert name == "threads.svg"
    root = ElementTree.fromstring(text)
    assert "var(" not in text
    assert "cores, llama.cpp" in "".join(root.itertext())


def test_every_run_is_shown_by_choice_and_saved(opened, study):
    place = opened.page.locator("#every-run")
    rows = study.results.frame
    rows = rows[rows["tokens_per_s"].notna()]
    for name, value in (study.start | {"batch": 1}).items():
        rows = rows[rows[name] == value]
    place.locator("select[data-column=batch]").select_option(label="1")
    assert f"{len(rows)} of " in place.locator("p[role=status]").inner_text()
    found = place.locator("td:first-child").all_inner_texts()
    assert sorted(found) == sorted(rows["title"])
    cells = "rows => rows.map(r => [...r.cells].map(c => c.dataset.number))"
    shown = place.locator("tbody tr").evaluate_all(cells)
    assert {float(cell) for line in shown for cell in line if cell} >= set(rows["tokens_per_s"])
    place.locator("select[data-column=batch]").select_option(label="any")
    assert place.locator("th", has_text="batch").count() == 1
    name, text = opened.saved(opened.page.locator("#all-records"))
    saved = list(csv.DictReader(io.StringIO(text)))
    assert name == "records.csv"
    every = study.results.frame
    assert [line["runner"] for line in saved] == list(every[every["tokens_per_s"].notna()]["runner"])


def test_a_text_that_is_saved_is_no_formula_to_a_spreadsheet(browser, swept, tmp_path, monkeypatch):
    monkeypatch.setattr("sailsim.analysis.render.report.FIGURES", {})
    frame = swept.frame()
    frame = frame[frame["point_key"] == frame["point_key"].iloc[0]]
    saved = {"=1+1": "'=1+1", "+a": "'+a", "-a": "'-a", "@a": "'@a", "-1.5": "-1.5", "a=1": "a=1"}
    saved |= {"\t=1": "'\t=1", "\r=1": "'\r=1", '="a,b"': '\'="a,b"'}
    given = [*saved] * len(frame)
    frame = frame.assign(software=given[: len(frame)], **{"=column": 1.0})
    path = tmp_path / "formulas.html"
    path.write_text(page_of(frame, {}), "utf-8")
    with Opened(browser, path) as opened:
        _, text = opened.saved(opened.page.locator("#all-records"))
        found = list(csv.DictReader(io.StringIO(text, newline="")))
        stored = zip(frame["software"], frame["tokens_per_s"].notna(), strict=True)
        assert [line["software"] for line in found] == [saved[text] for text, rated in stored if rated]
        assert {line["software"] for line in found} == set(saved.values())
        assert {line["'=column"] for line in found} == {"1"}


def test_the_menu_leads_to_every_section_by_mouse_and_by_keyboard(opened):
    page = opened.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for link in page.locator(".menu a").all():
        link.focus()
        page.keyboard.press("Enter")
        name = link.get_attribute("href")
        current = "document.querySelector('.menu a[aria-current]')?.getAttribute('href')"
        page.wait_for_function(f"{current} === '{name}'")
        place = f"document.querySelector('{name}').getBoundingClientRect().top"
        assert name == "#answer" or abs(page.evaluate(place) - 16) < 4
    page.locator(".menu a", has_text="Dollars").click()
    page.wait_for_function("document.querySelector('.menu a[aria-current]').textContent === 'Dollars'")


def test_the_menu_of_a_narrow_window_opens_and_closes(browser, file):
    with Opened(browser, file, "narrow") as opened:
        page = opened.page
        button, link = page.locator(".menu button"), page.locator(".menu a", has_text="Energy")
        assert not link.is_visible()
        button.focus()
        page.keyboard.press("Enter")
        assert link.is_visible()
        assert button.get_attribute("aria-expanded") == "true"
        page.keyboard.press("Escape")
        assert not link.is_visible()
        button.click()
        link.click()
        assert not link.is_visible()
        page.wait_for_function("document.querySelector('#energy').getBoundingClientRect().top < 200")


def number_of(text):
    """The number that a cell shows, with a unit or without; None for words."""
    found = re.fullmatch(r"(-?[\d.,]+(?:e[+-]\d+)?)(?:x| %)?", text)
    return None if found is None else float(found[1].replace(",", ""))


def test_tables_sort_by_numbers_and_by_words_and_filter(opened):
    page = opened.page
    page.locator("#readings > summary").click()
    table = page.locator("#readings table")

    def cells(at):
        return table.locator("tbody tr:not([hidden])").evaluate_all(
            f"rows => rows.map(row => row.cells[{at}].textContent)"
        )

    # A unit behind a number, or a comma in it, does not make it a word.
    for name in ("paper", "here", "here / paper"):
        head = table.locator("th", has_text=re.compile(f"^{name}$"))
        column = head.evaluate("cell => cell.cellIndex")
        for direction, sign in (("ascending", 1), ("descending", -1)):
            head.locator("button").click()
            assert head.get_attribute("aria-sort") == direction
            found = [number_of(text) for text in cells(column)]
            numbers = [each for each in found if each is not None]
            assert len(numbers) > 20
            assert numbers == sorted(numbers, key=lambda value: sign * value), (name, direction)
            lacking = [each is None for each in found]
            assert lacking == sorted(lacking)  # what has no number comes last, either way
    table.locator("th", has_text="claim").first.locator("button").press("Enter")
    assert cells(0) == sorted(cells(0), key=str.lower)
    every = len(cells(0))
    page.locator("#readings input[type=search]").fill("v100 serving")
    left = cells(1)
    assert 0 < len(left) < every
    assert f"{len(left)} of {every}" in page.locator("#readings .tools").inner_text()
    page.locator("#readings input[type=search]").fill("")
    assert len(cells(0)) == every


def test_on_paper_every_figure_is_there_and_the_menu_is_not(opened):
    page = opened.page
    page.emulate_media(media="print")
    assert not page.locator(".menu").is_visible()
    assert page.locator(".wide-drawing:visible").count() == len(FIGURES)
    page.emulate_media(media="screen")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#readings").evaluate("each => each.open")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert not page.locator("#readings").evaluate("each => each.open")
    printed = page.pdf(format="A4")
    assert 5 < len(re.findall(rb"/Type\s*/Page\b", printed)) < 60


def test_names_that_look_like_markup_are_shown_letter_by_letter(browser, swept, tmp_path):
    frame = swept.frame()
    frame = frame.assign(
        title=frame["title"].where(frame["runner"] != "cores", HOSTILE),
        system_title=frame["system_title"] + HOSTILE,
        model_title=HOSTILE,
    )
    path = tmp_path / "hostile.html"
    path.write_text(page_of(frame, {}), "utf-8")
    with Opened(browser, path) as opened:
        assert opened.asked == [path.as_uri()]
        for name in ("dollars", "threads"):
            words = opened.page.locator(f"#figure-{name} .wide-drawing").text_content()
            assert "<script>alert" in words
            assert "<i>" in words
        assert HOSTILE in opened.page.locator("#every-run").inner_text()
        assert opened.page.locator("img").count() == 0
        assert opened.said == []


@pytest.fixture(scope="module")
def study(frame):
    return Study.of(frame, prices(), "sail")

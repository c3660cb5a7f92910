"""The report in a browser: every figure, the menu, tables, paper, the dark, and anybody's names."""

import re

import pytest

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.render.report import page as report_page

from .opened import SIZES, Opened

HOSTILE = 'a[/bold]b</script><script>alert("x")</script><img src=x onerror=alert(1)> <i> & $x$'

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_figure_is_drawn_and_nothing_is_asked_for_or_complained_of(browser, file, size, scheme):
    with Opened(browser, file, size, color_scheme=scheme) as opened:
        figures = opened.every_figure()
        assert len(figures) == 14
        assert opened.said == []
        assert opened.asked == [file.as_uri()]
        assert opened.overflow() <= 0
        for name, figure in figures.items():
            box = figure.bounding_box()
            marks = figure.locator(".plot .points path, .plot .point path, .plot .js-line")
            assert marks.count() > 0, name
            for text in figure.locator(".plot text").all():
                own = text.bounding_box()
                if own is None or own["width"] == 0:
                    continue
                assert own["x"] >= box["x"] - 2, (name, text.text_content())
                assert own["x"] + own["width"] <= box["x"] + box["width"] + 2, (name, text.text_content())


def test_dark_mode_is_dark_and_follows_the_system(browser, file):
    def light_of(opened, script):
        red, green, blue = map(int, re.findall(r"\d+", opened.page.evaluate(script))[:3])
        return (red + green + blue) / 3

    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('#figure-front-speed .xtick text')).fill"
    with Opened(browser, file, color_scheme="dark") as opened:
        opened.figure("front-speed")
        assert light_of(opened, ground) < 60
        assert light_of(opened, ink) > 180
        opened.page.emulate_media(color_scheme="light")
        opened.page.wait_for_function(f"!({ink}).includes('230')")
        assert light_of(opened, ground) > 200
        assert light_of(opened, ink) < 80


def test_the_menu_leads_to_every_section_by_mouse_and_by_keyboard(opened):
    page = opened.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    links = page.locator(".menu a").all()
    for link in links:
        link.focus()
        page.keyboard.press("Enter")
        name = link.get_attribute("href")
        page.wait_for_function(f"document.querySelector('{name}').getBoundingClientRect().top < innerHeight")
        page.wait_for_function(
            f"document.querySelector('.menu a[aria-current]')?.getAttribute('href') === '{name}'"
        )
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


def from_its_place(opened, section):
    """How far a section's heading is from where a jump has to put it, in pixels, with all in sight drawn."""
    opened.page.wait_for_function(
        """[...document.querySelectorAll("figure[data-chart]")].every((figure) => {
          const { top, bottom } = figure.getBoundingClientRect();
          return bottom < -600 || top > innerHeight + 600 || figure.querySelector(".main-svg, .plot.none");
        })"""
    )
    return opened.page.evaluate(
        """(section) => {
          const found = document.querySelector(section);
          const place = parseFloat(getComputedStyle(found).scrollMarginTop);
          return Math.abs(found.querySelector("h2").getBoundingClientRect().top - place);
        }""",
        section,
    )


@pytest.mark.parametrize(("size", "way"), [("wide", "menu"), ("narrow", "menu"), ("wide", "link")])
def test_a_jump_to_a_section_ends_at_its_heading(browser, file, size, way):
    """Each in a window of its own, where nothing above has been in sight and so drawn before."""
    with Opened(browser, file) as opened:
        names = [link.get_attribute("href") for link in opened.page.locator(".menu a").all()]
    missed = {}
    for name in names[1:]:  # the first one is the page's top
        with Opened(browser, file, size, at=name if way == "link" else "") as opened:
            if size == "narrow":
                opened.page.locator(".menu button").click()
            if way == "menu":
                opened.page.locator(f".menu a[href='{name}']").click()
            missed[name] = from_its_place(opened, name)
    assert len(missed) == 11
    assert {name: by for name, by in missed.items() if by > 4} == {}


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
    assert not page.locator("#figure-rates .controls").first.is_visible()
    page.emulate_media(media="screen")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert (
        page.locator("figure[data-chart]").count()
        == page.locator("figure[data-chart] .plot.js-plotly-plot").count()
    )
    assert page.locator("#readings").evaluate("each => each.open")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert not page.locator("#readings").evaluate("each => each.open")
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert 5 < len(re.findall(rb"/Type\s*/Page\b", printed)) < 60


def test_names_that_look_like_markup_are_shown_letter_by_letter(browser, swept, tmp_path):
    frame = swept.frame()
    frame = frame.assign(
        title=frame["title"].where(frame["runner"] != "cores", HOSTILE),
        system_title=frame["system_title"] + HOSTILE,
        model_title=HOSTILE,
    )
    path = tmp_path / "hostile.html"
    path.write_text(report_page(frame, {}, prices()), "utf-8")
    with Opened(browser, path) as opened:
        figure = opened.figure("dollars")
        assert opened.said == []
        assert opened.asked == [path.as_uri()]
        assert HOSTILE in opened.page.locator("#speed .legend").first.inner_text()
        shown = figure.locator(".ytick text").all_text_contents()
        assert any("<script>" in text and "<i>" in text for text in shown)
        opened.every_figure()
        assert opened.page.locator("img").count() == 0
        assert opened.said == []

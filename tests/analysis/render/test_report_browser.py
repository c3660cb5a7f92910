"""The report in a browser: headless Chromium, driven by playwright. Skips where one of them is missing."""

import csv
import io
import json
import re
import shutil
from xml.etree import ElementTree

import pytest

from sailsim.analysis import joined, prices
from sailsim.analysis.render.report import page as report_page
from sailsim.analysis.results.joins import POINT

BROWSERS = ("chromium", "chromium-browser")
SIZES = {"wide": (1280, 900), "narrow": (400, 800)}
HOSTILE = 'a[/bold]b</script><script>alert("x")</script><img src=x onerror=alert(1)> <i> & $x$'

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no chromium on the path (on Debian: apt-get install chromium)")
    driver = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed (pip install playwright)"
    )
    with driver.sync_playwright() as started:
        # Its sandbox needs more rights than a container gives.
        running = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def file(swept, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report_page(swept.frame(), swept.manifest, prices()), "utf-8")
    return path


class Opened:
    """A report in a window, with everything that the browser complained of or asked for."""

    def __init__(self, browser, path, size="wide", **options):
        width, height = SIZES[size]
        self.context = browser.new_context(viewport={"width": width, "height": height}, **options)
        self.page = self.context.new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def figure(self, name):
        """A figure, drawn."""
        found = self.page.locator(f"#figure-{name}")
        found.scroll_into_view_if_needed()
        found.locator(".plot svg.main-svg").first.wait_for()
        return found

    def every_figure(self):
        """All figures, drawn."""
        names = self.page.eval_on_selector_all(
            "figure[data-chart]", "found => found.map(each => each.dataset.chart)"
        )
        return {name: self.figure(name) for name in names}

    def drawn(self, name):
        """The lines of a figure by their name: what lies along x, and the values."""
        script = (
            """plot => plot.data.filter(t => t.name).map(t => [t.name, Array.from(t.x), Array.from(t.y)])"""
        )
        return {title: (x, y) for title, x, y in self.figure(name).locator(".plot").evaluate(script)}

    def overflow(self):
        """How much wider than the window the page is."""
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


@pytest.fixture
def opened(browser, file):
    with Opened(browser, file) as found:
        yield found
        assert found.said == []


@pytest.fixture(scope="module")
def rows(frame):
    """The runs of the store; a choice that is spelt out and the system file's own are one point."""
    return joined(frame, prices()).drop_duplicates([*POINT, "runner"])


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
        page.wait_for_function("document.querySelector('.menu a[aria-current]') !== null")
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


def test_every_record_can_be_saved(opened, rows):
    with opened.page.expect_download() as event:
        opened.page.locator("#all-records").click()
    found = list(csv.DictReader(io.StringIO(event.value.path().read_text("utf-8"))))
    assert {line["runner"] for line in found} == set(rows[rows["tokens_per_s"].notna()]["runner"])
    assert json.loads(found[0]["tokens_per_s"]) > 0


def test_values_stand_in_a_table_for_who_cannot_point(opened, rows):
    figure = opened.figure("dollars")
    figure.locator("summary", has_text="Values").press("Enter")
    text = figure.locator("details table").inner_text()
    assert "cores, llama.cpp" in text
    assert "My card" in text


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

"""Headless Chromium, driven by playwright, and the report that it shows; tests skip where one is missing."""

import shutil

import pytest

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.render.figures import FIGURES, Study
from sailsim.analysis.render.report import page

BROWSERS = ("chromium", "chromium-browser")
HOSTILE = 'a[/bold]b</script><script>alert("x")</script><img src=x onerror=alert(1)> <i> & $x$'


def page_of(frame, manifest, paper=None):
    """The report's page for some records."""
    return page(Study.of(frame, prices(), paper), manifest)


SIZES = {"wide": (1280, 900), "narrow": (400, 800)}


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

    def saved(self, button):
        """The name and the text of the file that a button gives."""
        with self.page.expect_download() as event:
            button.click()
        return event.value.suggested_filename, event.value.path().read_bytes().decode()

    def overflow(self):
        """How much wider than the window the page is."""
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


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


@pytest.fixture(scope="session")
def file(swept, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page_of(swept.frame(), swept.manifest, "sail"), "utf-8")
    return path


@pytest.fixture(scope="session")
def text(file):
    return file.read_text("utf-8")


@pytest.fixture
def only(monkeypatch):
    """Leaves of the report's figures those of some names, for tests of words that the others do not have."""

    def leave(*names):
        kept = {name: FIGURES[name] for name in names}
        monkeypatch.setattr("sailsim.analysis.render.report.FIGURES", kept)

    return leave

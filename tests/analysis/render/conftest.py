"""Headless Chromium, driven by playwright, and the report that it shows; tests skip where one is missing."""

import shutil
from contextlib import contextmanager

import pytest

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.render import report_page as report
from sailsim.analysis.render.sweep_figures import FIGURES, SweepStudy

BROWSERS = ("chromium", "chromium-browser")
HOSTILE = 'a[/bold]b</script><script>alert("x")</script><img src=x onerror=alert(1)> <i> & $x$'


def page_of(frame, manifest, paper=None):
    """The report's page for some records."""
    study = SweepStudy.of(frame, prices(), paper)
    return report.page(study, manifest, report.drawn_figures(study))


SIZES = {"wide": (1280, 900), "narrow": (400, 800)}


@contextmanager
def opened(browser, path, size="wide", **options):
    """A report in a window: its page, all that the browser complained of, and all that it asked for."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    yield page, said, asked
    context.close()


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
        monkeypatch.setattr("sailsim.analysis.render.report_page.FIGURES", kept)

    return leave

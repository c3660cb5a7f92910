"""Headless Chromium, driven by playwright, and the report that it shows; tests skip where one is missing."""

import shutil

import pytest

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.render.figures import Study
from sailsim.analysis.render.report import page

from .opened import Opened

BROWSERS = ("chromium", "chromium-browser")
HOSTILE = 'a[/bold]b</script><script>alert("x")</script><img src=x onerror=alert(1)> <i> & $x$'


def page_of(frame, manifest, paper=None):
    """The report's page for some records."""
    return page(Study.of(frame, prices(), paper), manifest)


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
    path.write_text(page_of(swept.frame(), swept.manifest, "sail"), "utf-8")
    return path


@pytest.fixture
def opened(browser, file):
    with Opened(browser, file) as found:
        yield found
        assert found.said == []

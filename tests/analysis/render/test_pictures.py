"""What the report and the figures look like, compared with small pictures that are committed."""

import base64
from pathlib import Path

import matplotlib as mpl
import pytest
from PIL import Image

from sailsim.analysis import FIGURES, prices
from sailsim.analysis.render.figures import draw
from sailsim.analysis.render.style import save
from sailsim.analysis.results.results import Runs

from .likeness import PICTURES, assert_alike, farthest, small
from .opened import Opened

FIGURE_WITHIN = 12.0
"""Of 255: matplotlib's own font is in its package, so that only versions of it move a text."""
PAGE_WITHIN = 16.0
"""Of 255: the page is drawn with that font too, by whatever Chromium there is."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(frame):
    return Runs.of(frame, prices())


@pytest.fixture(scope="module")
def with_own_font(file, tmp_path_factory):
    """The report with the font that matplotlib brings: every machine has the same letters."""
    font = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    data = base64.b64encode(font.read_bytes()).decode()
    # A font of bytes is there at once, so that texts are measured with it.
    script = f"const own = Uint8Array.from(atob('{data}'), letter => letter.charCodeAt(0));"
    script += "document.fonts.add(new FontFace('Own', own.buffer));"
    head = f"<script>{script}</script><style>* {{ font-family: Own !important; }}</style></head>"
    path = tmp_path_factory.mktemp("own") / "report.html"
    path.write_text(file.read_text("utf-8").replace("</head>", head, 1), "utf-8")
    return path


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_looks_as_it_did(name, results, tmp_path):
    save(draw(name, results), tmp_path / "drawn.png")
    assert_alike(tmp_path / "drawn.png", f"figure-{name}", FIGURE_WITHIN)


def shot(opened, path):
    """The report's first page as a picture."""
    for name in opened.page.eval_on_selector_all(
        "#answer figure[data-chart]", "found => found.map(each => each.dataset.chart)"
    ):
        opened.figure(name)
    opened.page.locator("#answer").screenshot(path=path, animations="disabled")


@pytest.mark.parametrize("size", ["wide"])
def test_the_first_page_looks_as_it_did(browser, with_own_font, size, tmp_path):
    with Opened(browser, with_own_font, size) as opened:
        shot(opened, tmp_path / "shown.png")
    assert_alike(tmp_path / "shown.png", f"report-{size}", PAGE_WITHIN)


@pytest.mark.parametrize("gone", ["#answer figure .plot", "#answer .answer", "#claims ~ * table"])
def test_a_part_of_the_first_page_that_vanishes_is_seen(browser, with_own_font, gone, tmp_path):
    with Opened(browser, with_own_font) as opened:
        shot(opened, tmp_path / "whole.png")
        opened.page.locator(gone).first.evaluate("each => { each.style.visibility = 'hidden'; }")
        opened.page.locator("#answer").screenshot(path=tmp_path / "less.png", animations="disabled")
    assert farthest(small(tmp_path / "less.png"), small(tmp_path / "whole.png")) > PAGE_WITHIN


@pytest.mark.parametrize("name", FIGURES)
def test_a_panel_that_vanishes_is_seen(name, results, tmp_path):
    figure = draw(name, results)
    for axes in figure.axes:
        axes.set_visible(False)
        save(figure, tmp_path / "less.png")
        axes.set_visible(True)
        with Image.open(PICTURES / f"figure-{name}.png") as kept:
            assert farthest(small(tmp_path / "less.png"), kept.convert("RGB")) > FIGURE_WITHIN

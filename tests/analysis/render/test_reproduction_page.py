"""The reproduction page as HTML: its figures can be read, and texts are no elements."""

from copy import deepcopy

import pytest

from sailsim.analysis.render.figures import stored_study
from sailsim.analysis.render.reproduction_figures import FIGURES, draw
from sailsim.analysis.render.reproduction_page import blocks, html_page


def test_no_line_crosses_the_label_of_a_bar():
    figure = draw("decides", stored_study())
    figure.draw_without_rendering()
    crossed = 0
    for axes in figure.axes:
        for text in axes.texts:
            box = text.get_window_extent()
            for line in axes.lines:
                x = line.get_xdata()[0]
                if box.x0 < axes.transData.transform((x, 0))[0] < box.x1:
                    crossed += 1
                    ground = text.get_bbox_patch()
                    assert ground is not None, text.get_text()
                    assert ground.get_facecolor() == (1, 1, 1, 1)
                    assert text.get_zorder() > line.get_zorder()
    assert crossed > 0


@pytest.mark.slow
def test_the_page_reads_its_own_marks_and_no_elements():
    """Of a text of a cell and of a paragraph alike."""
    study = deepcopy(stored_study())
    study["held"][0]["reason"] = "**held** by `it` <script>alert(1)</script>"
    study["inert"] = ["<img src=x>", "`a<b`"]
    text = html_page(study)
    assert "<td><b>held</b> by <code>it</code> &lt;script&gt;" in text
    assert "&lt;img src=x&gt;, <code>a&lt;b</code>" in text
    assert "<script" not in text
    assert "<img" not in text
    assert text.count("<svg") == len(FIGURES)
    assert text.count("<table>") == sum(block.kind == "table" for block in blocks(study))

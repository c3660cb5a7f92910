"""The figures of the reproduction page can be read."""

from sailsim.analysis.render.report_sections import stored_study
from sailsim.analysis.render.reproduction_figures import draw


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

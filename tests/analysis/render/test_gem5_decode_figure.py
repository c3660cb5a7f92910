"""The figure of tokens on gem5: what it shows is what the rows say."""

from typing import Any

import pytest

from sailsim.analysis.render.gem5_decode_figure import decode_figure, figure_of
from sailsim.analysis.render.gem5_decode_steps import regions_together
from sailsim.analysis.results.gem5_steps import decode_rows
from sailsim.base.errors import SailsimError


def rows() -> list[dict[str, Any]]:
    """One thread of Llama 2 7B."""
    wanted = {"model": "llama-2-7b", "threads": 1, "batch": 1, "cache": "fp16"}
    return [dict(row) for row in decode_rows() if all(row[name] == value for name, value in wanted.items())]


def test_the_line_is_the_ratio_of_whole_steps() -> None:
    figure = decode_figure(rows())
    speedup, parts = figure.axes
    line = next(line for line in speedup.lines if line.get_label() == "gem5, 1 thread, batch 1")
    steps = {(row["weights"], row["linears"]): sum(regions_together(row).values()) for row in rows()}
    expected = [steps[f"{bits}g128", "neon"] / steps[f"{bits}g128", "lutmm"] for bits in (2, 4, 8)]
    assert list(line.get_ydata()) == pytest.approx(expected)
    # The highest bar is NEON's step at 8 bits, in milliseconds of a core of 2.5 GHz.
    top = max(patch.get_y() + patch.get_height() for patch in parts.patches)
    assert top == pytest.approx(steps["8g128", "neon"] / 2.5e6)


def test_rows_without_both_sides_or_bits_are_refused() -> None:
    units = [row for row in rows() if row["linears"] == "lutmm"]
    with pytest.raises(SailsimError, match="no width has runs on cores and on units"):
        decode_figure(units)
    with pytest.raises(SailsimError, match="weights is 'q4_0'; allowed here are bits"):
        decode_figure([row | {"weights": "q4_0"} for row in rows()])


def test_a_folder_draws_the_runs_with_most_widths_on_both_sides() -> None:
    """Runs without numbers, of mixed formats, and those of another step do not count."""
    every = [dict(row) for row in decode_rows()]
    other = [row for row in every if row["blocks"] != 1]
    stopped = {**every[0], "step_cycles": None, "reason": "took longer"}
    mixed = {**every[0], "weights": "q4_k_m"}
    figure = figure_of([stopped, mixed, *other, *rows()])
    assert figure is not None
    speedups, parts = figure.axes[:2]
    assert sorted(map(int, speedups.lines[0].get_xdata())) == [2, 4, 8]
    assert parts.get_title("left").startswith("1 thread, batch 1")
    assert figure_of([stopped, mixed]) is None
    assert figure_of([row for row in rows() if row["linears"] == "neon"]) is None

"""The figure of tokens on gem5: what it shows is what the rows say."""

from typing import Any

import pytest

from sailsim.analysis.baselines.prediction import data_file
from sailsim.analysis.render.gem5_decode_figure import decode_figure
from sailsim.analysis.render.gem5_decode_steps import regions_together
from sailsim.base.errors import SailsimError
from sailsim.base.records import read_records


def rows() -> list[dict[str, Any]]:
    """One thread of Llama 2 7B."""
    found = read_records(data_file("gem5/decode.jsonl"))["rows"]
    return [row for row in found if row["model"] == "llama-2-7b" and row["threads"] == 1]


def test_the_line_is_the_ratio_of_whole_steps() -> None:
    figure = decode_figure(rows())
    speedup, parts = figure.axes
    line = next(line for line in speedup.lines if line.get_label() == "gem5, 1 thread")
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
    with pytest.raises(SailsimError, match="weights is 'q4_0'; allowed in this figure are bits"):
        decode_figure([row | {"weights": "q4_0"} for row in rows()])

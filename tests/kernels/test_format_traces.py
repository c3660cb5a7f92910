"""The AArch64 driver takes a tile of every format and gives what every other level does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sailsim.lut_gemv.trace import read_trace, replay

pytestmark = pytest.mark.aarch64


def test_every_format_is_exact(report: Callable[..., list[dict[str, Any]]], format_trace: Path) -> None:
    *lines, summary = report("lutmm_driver", "--trace", format_trace, "--list", "--check-inputs")
    trace = read_trace(format_trace)
    assert summary["ok"] == summary["emulated"] == len(trace)
    assert (summary["wrong_words"], summary["inputs"]) == (0, "kept")
    assert summary["checked_words"] == sum(int(d["batch"]) * int(d["n"]) for d in trace.descriptors)
    for line, result in zip(lines, replay(trace), strict=True):
        assert (line["status"], line["lookups"]) == ("OK", result.lookups), result.name
        assert line["prt_hits"] == result.prt_hits, result.name

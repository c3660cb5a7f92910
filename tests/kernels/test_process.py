"""What an operating system makes of a process, asked under emulation: the answers that gem5 must give too."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.aarch64

Report = Callable[..., list[dict[str, Any]]]


def test_pages(report: Report) -> None:
    (answer,) = report("lutmm_process", "--case", "pages")
    assert (answer["checks"], answer["failures"], answer["emulated"]) == (28, 0, 28)


def test_parent_and_child(report: Report) -> None:
    answers = report("lutmm_process", "--case", "fork")
    found = {each["process"]: (each["checks"], each["failures"], each["emulated"]) for each in answers}
    assert found == {"parent": (4, 0, 4), "child": (4, 0, 4)}


def test_there_is_no_doorbell(report: Report) -> None:
    (answer,) = report("lutmm_process", "--case", "doorbell")
    assert (answer["process"], answer["failures"]) == ("without a doorbell", 0)

"""The fuzz program under emulation: it checks every answer and every byte; here, that it met every status."""

from collections.abc import Callable
from typing import Any

import pytest

from sailsim.lut_gemv.descriptor import Status

pytestmark = pytest.mark.aarch64

Report = Callable[..., list[dict[str, Any]]]

# Depends on the unit: the emulated one holds every tile that the program makes.
UNREACHABLE = {Status.PENDING, Status.ERR_CAPACITY}


@pytest.mark.slow
def test_a_hundred_thousand_descriptors(report: Report) -> None:
    """One case in 1000 is counted on for every status; the rarest are ERR_OVERLAP and ERR_UNIT."""
    (summary,) = report("lutmm_fuzz", "--count", 100_000)
    assert (summary["descriptors"], summary["failures"]) == (100_000, 0)
    assert summary["read_only_pages"] == "enforced"
    for status in set(Status) - UNREACHABLE:
        assert summary[status.name] >= 100, status
    assert summary["OK"] >= 30_000
    answered = sum(summary[status.name] for status in Status if status != Status.PENDING)
    assert answered + summary["dropped"] + summary["without_record"] == 100_000
    assert summary["dropped"] >= 1000
    assert summary["without_record"] >= 1000


@pytest.mark.slow
def test_cases_depend_on_seed_and_number_only(report: Report) -> None:
    """A range of cases run alone meets the statuses that it meets within a longer run."""
    statuses = [status.name for status in Status if status != Status.PENDING]
    (whole,) = report("lutmm_fuzz", "--count", 200, "--seed", 9, "--units", 3)
    (first,) = report("lutmm_fuzz", "--count", 120, "--seed", 9)
    (rest,) = report("lutmm_fuzz", "--first", 120, "--count", 80, "--seed", 9)
    for status in statuses:
        assert whole[status] == first[status] + rest[status]
    (other,) = report("lutmm_fuzz", "--count", 200, "--seed", 10)
    assert [other[status] for status in statuses] != [whole[status] for status in statuses]

"""What docs/baselines.md says in words about its fits, against the fits."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sailsim.analysis.baselines.fitted import fitted_constants

PAGE = " ".join((Path(__file__).parents[3] / "docs" / "baselines.md").read_text("utf-8").split())
FITS = fitted_constants().table
WEAK = 0.3
"""From this share of its value on a standard error makes a constant weak, as the page says."""


def weak(constants: Mapping[str, Any]) -> dict[str, int]:
    """Standard errors of the weak ones in percent of their values."""
    found = {
        name: constant["standard_error"] / abs(constant["value"])
        for name, constant in constants.items()
        if constant.get("standard_error") and constant["value"]
    }
    return {name: round(100 * share) for name, share in found.items() if share >= WEAK}


def test_the_weak_constants_of_the_cores_are_those_that_the_page_lists() -> None:
    listed = re.search(r'"weak" from 30 % of the value on \((.*?)\); "at its bound"', PAGE)
    assert listed is not None
    ours, first, second, *_ = listed[1].split(";")
    for said, whose, table in (
        (ours, "llama.cpp", FITS["cpu"]),
        (first, "V1", FITS["cores"]["neoverse-v1"]),
        (second, "V2", FITS["cores"]["neoverse-v2"]),
    ):
        assert said.strip().startswith(f"{whose}'s ")
        told = {
            name.strip().removeprefix(f"{whose}'s ").removeprefix("and ").replace(" ", "_"): int(share)
            for name, share in re.findall(r"([A-Za-z0-9.' ]+): (\d+) %", said)
        }
        assert told == weak(table["llama.cpp"]["constants"])

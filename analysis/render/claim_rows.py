"""A paper's claims as few rows: of each the reading that is explained, beside the span of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pandas as pd

from sailsim.analysis.paper.claims import load_paper
from sailsim.analysis.render.reproduction_words import number


@dataclass(frozen=True)
class ClaimRows:
    """The rows of a table of claims that are of one claim."""

    main: Mapping[Any, Any]
    """The reading that is searched and explained."""
    others: list[Mapping[Any, Any]]

    def number(self, value: Any) -> str:
        """A value of the claim to three digits, a dash for none."""
        return number(value, self.main["unit"])

    @property
    def span(self) -> str:
        """From the lowest to the highest of the other readings, empty without them."""
        found = [
            each["here"]
            for each in self.others
            if each["ratio"] is not None and each["ratio"] == each["ratio"]
        ]
        return f"{number(min(found))} .. {self.number(max(found))}" if found else ""


def claim_rows(found: pd.DataFrame, paper: str) -> Iterator[ClaimRows]:
    """The claims of a table (`paper.stored_claims`), one after another; its facts are not among them."""
    lines = iter(found.to_dict("records"))
    for claim in load_paper(paper).claim:
        metrics = claim.metrics("store")
        readings = list(islice(lines, len(metrics)))
        main = readings[metrics.index(claim.primary)]
        yield ClaimRows(main, [each for each in readings if each is not main])


def fact_rows(found: pd.DataFrame, paper: str) -> Sequence[Mapping[Any, Any]]:
    """The rows of what a paper says without a number."""
    facts = len(load_paper(paper).fact)
    return list(found.to_dict("records"))[len(found) - facts :]

"""Policies that keep their loss: searched, measured as a whole, and searched again with what was found out.

A sum of single losses is no prediction to rest on: it leaves out what rounding activations loses, what
matrices lose together, and each of its terms has the error of a small text. So the loss that the search may
spend is corrected by what the policy that came of it loses as a whole, in the units' arithmetic, and of all
that were tried the fastest is taken whose measured loss keeps the budget by `SURE` standard errors. What is
tried is not the fastest of all that may be, but that of the least loss among those which are about as fast: a
step that is shorter by less than a simulation can tell is no gain.
All that is measured on the text of the search; another judges (`policy_judged`). docs/quality.md explains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sailsim.analysis.results.policy_search import (
    SLOWER,
    Found,
    StepTimes,
    check_slower,
    least_loss,
    least_lossy,
    policy_text,
    search,
    step_times,
)
from sailsim.analysis.results.quality import QualityPoint, measure_quality
from sailsim.analysis.results.sensitivities import (
    CHUNKS,
    LENGTH,
    TOGETHER,
    calibration_text,
    groups,
    measure_sensitivities,
    sensitivity_points,
)
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.sim import Point
from sailsim.sim.study import Workers
from sailsim.workloads import Tokenizer, open_gguf
from sailsim.workloads.choice import FILE
from sailsim.workloads.decoder import open_llama
from sailsim.workloads.quality import CHUNKS as TEXT_CHUNKS
from sailsim.workloads.quality import LENGTH as TEXT_LENGTH

SURE = 2.0
"""Standard errors by which a measured loss must stay below its budget: one in forty is beyond by chance."""
TRIES = 6
"""Policies that are measured for a budget."""


class Measured(NamedTuple):
    """A loss in nats a token, and its standard error."""

    loss: float
    error: float

    @property
    def upper(self) -> float:
        """What it is not beyond but by chance."""
        return self.loss + SURE * self.error


@dataclass(frozen=True)
class Tried:
    """The policy for a budget, nats a token.

    Attributes:
        budget: allowed.
        found: the policy.
        rest: what rounding activations alone loses, on the text of the search.
        loss: of the whole, measured on that text.
        loss_error: its standard error.
        fastest: what would have been the policy if the loss within the budget were of no interest.
        tries: how many policies were measured.
    """

    budget: float
    found: Found
    rest: float
    loss: float
    loss_error: float
    fastest: Found
    tries: int

    @property
    def predicted_loss(self) -> float:
        """The sum of its groups', and of what rounding activations loses."""
        return self.rest + self.found.loss


Searched = Mapping[str, Tried]
"""Policies by the names of their files."""


def keep(
    losses: pd.DataFrame,
    times: StepTimes,
    budget: float,
    rest: Measured,
    measure: Callable[[Found, int], Measured],
    slower: float = SLOWER,
    doubt: pd.DataFrame | None = None,
) -> Tried:
    """The fastest policy of a few whose measured loss keeps a budget, each of the least loss among those
    which are about as fast as the fastest.

    Args:
        losses, times: as `search`.
        budget: nats a token.
        rest: what is lost beside the groups' losses.
        measure: the loss of a policy as a whole; it is also told which try it is, from 0.
        slower, doubt: as `least_lossy`.

    Raises:
        SailsimError: no policy keeps the budget, or rounding activations alone does not, or ``slower`` is out
            of range.
    """
    check_slower(slower)
    if rest.upper >= budget:
        raise SailsimError(
            f"loss is {budget:g}; allowed is more than {rest.upper:.3g} nats a token: rounding activations "
            f"alone loses {rest.loss:.3g}, with a standard error of {rest.error:.2g}."
        )
    good: list[tuple[Found, Measured, Found]] = []
    seen: list[dict[str, str]] = []
    tried = _Line(rest.upper)
    spent, enough = budget - rest.loss, 0.0
    for at in range(TRIES):
        fastest = search(losses, times, max(spent, least_loss(losses)))
        found = least_lossy(losses, times, fastest, slower, doubt)
        if found.formats in seen:
            break
        seen.append(found.formats)
        whole = measure(found, at)
        tried.add(found.loss, whole.upper, budget)
        if whole.upper <= budget:
            good.append((found, whole, fastest))
            enough = max(enough, spent)
        spent = tried.at(budget)
        if spent <= enough:  # slower ones alone
            break
    if not good:
        raise SailsimError(
            f"loss is {budget:g}; allowed is more than {tried.upper:.3g} nats a token, which the best of "
            f"{len(seen)} policies may lose: what was measured, and {SURE:g} standard errors."
        )
    found, whole, fastest = min(good, key=lambda each: (each[2].step_s, each[1].loss))
    return Tried(budget, found, rest.loss, whole.loss, whole.error, fastest, len(seen))


class _Line:
    """What was measured beside the sums of single losses, around a budget: between the largest sum that kept
    it and the smallest that did not, measured losses are taken to lie on a line."""

    def __init__(self, rest: float) -> None:
        """`rest`: what is measured where the sum is 0."""
        self._rest = rest
        self._below = (0.0, rest)
        self._above: tuple[float, float] | None = None

    @property
    def upper(self) -> float:
        """Of the smallest sum that was beyond."""
        assert self._above is not None
        return self._above[1]

    def add(self, total: float, measured: float, budget: float) -> None:
        """A policy's sum, and what was measured."""
        if measured <= budget:
            self._below = max(self._below, (total, measured))
        elif self._above is None or total < self._above[0]:
            self._above = (total, measured)

    def at(self, budget: float) -> float:
        """The sum at which a budget is just kept."""
        if self._above is None:
            total, measured = self._below
            # Twice as much where the line says more, or nothing.
            steep = max(measured - self._rest, (budget - self._rest) / 2)
            return total * (budget - self._rest) / steep
        (low, kept), (high, beyond) = self._below, self._above
        return low + (high - low) * max(0.0, budget - kept) / (beyond - kept)


def search_all(
    point: Point,
    choices: Sequence[str],
    budgets: Sequence[float],
    folder: Path,
    *,
    together: int = TOGETHER,
    chunks: int = CHUNKS,
    length: int = LENGTH,
    slower: float = SLOWER,
    text: str = "",
    jobs: int | Workers = 1,
) -> Searched:
    """A policy for every allowed loss, for the model and machine of a point, each a file of the folder.

    ``chunks`` of ``length`` tokens are what single losses are measured on; policies are measured on all of
    the text, in chunks as `quality` has them. ``slower`` as `keep`. Raises SailsimError.
    """
    check_slower(slower)
    of = groups(open_llama(point.model).spec, together)
    wanted = sensitivity_points(point.model, choices, together, chunks, length, text)
    times = step_times(point, of, choices)
    frame = measure_sensitivities(wanted, folder / "sensitivities", jobs=jobs, progress=True)
    losses, errors = (
        frame.pivot(index="group", columns="weights", values=name).loc[list(of), list(choices)]
        for name in ("loss", "loss_error")
    )
    whole = _Whole(point, folder, text, jobs)
    rest = whole.loss(FILE)
    policies = {}
    for budget in budgets:
        name = f"loss-{budget:g}"

        def measure(found: Found, at: int, name: str = name) -> Measured:
            path = folder / "tries" / f"{name}-{at}.toml"
            source = f"sailsim policy: a try for {point.system}, at a sum of {found.budget:.4g} nats a token"
            write_whole(path, _policy(path.stem, found, of, choices[0], source))
            return whole.loss(str(path))

        tried = keep(losses, times, budget, rest, measure, slower, SURE * errors)
        source = (
            f"sailsim policy: the least loss of all whose step on {point.system} is longer by {slower:.3g} "
            f"of it at most than the fastest at a loss of {budget:.4g} nats a token"
        )
        write_whole(folder / f"{name}.toml", _policy(name, tried.found, of, choices[0], source))
        policies[f"{name}.toml"] = tried
    return policies


class _Whole:
    """Losses of a model as a whole on the text of the search, in the arithmetic of the units."""

    def __init__(self, point: Point, folder: Path, text: str, jobs: int | Workers) -> None:
        said = calibration_text(text)
        path = folder / "search.txt"
        write_whole(path, said.encode())
        tokens = len(Tokenizer(open_gguf(point.model).file).encode(said))
        self._folder, self._jobs = folder / "tries" / "quality", jobs
        # Of a text that is too short two chunks are asked for, which is refused in a sentence.
        chunks = max(2, min(TEXT_CHUNKS, tokens // TEXT_LENGTH))
        self._asked = QualityPoint(point.model, FILE, abits=point.abits, text=str(path), chunks=chunks)

    def loss(self, weights: str) -> Measured:
        """With a choice of weights."""
        asked = replace(self._asked, weights=weights)
        frame = measure_quality([asked.in_floats(), asked], self._folder, jobs=self._jobs, progress=True)
        row = frame[frame["point_key"] == str(asked)].iloc[0]
        return Measured(float(row["loss"]), float(row["loss_error"]))


def _policy(name: str, found: Found, of: Mapping[str, tuple[str, ...]], default: str, source: str) -> bytes:
    """A policy file."""
    tensors = {tensor: found.formats[group] for group in of for tensor in of[group]}
    return policy_text(name, default, tensors, source).encode()

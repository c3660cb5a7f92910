"""What sailsim claims, each with the command that shows it: run, and compared with what is expected.

Steps are data (`analysis/data/artifact.toml`), and so is what is expected of them (`artifact_expected.json`).
docs/reproduction.md is the page.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from sailsim.base.errors import SailsimError

DIGITS = 6
"""Significant ones of a number that goes into a hash: what compilers and libraries do not change."""


@dataclass(frozen=True)
class Value:
    """A number: in words, where it is in the JSON of the last command, and how far off it may be."""

    what: str
    path: str
    tolerance: float


@dataclass(frozen=True)
class Step:
    """A claim: its commands in order, the minutes that they take on two cores, the numbers to look at."""

    name: str
    title: str
    minutes: float
    commands: tuple[str, ...]
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of a number of a step; `found` is None where the step failed, `why` says why."""

    step: str
    what: str
    expected: float | None
    found: float | None
    tolerance: float
    why: str = ""

    @property
    def met(self) -> bool:
        """Whether it is as near as it has to be."""
        if self.found is None or self.expected is None:
            return False
        return math.isclose(self.found, self.expected, rel_tol=self.tolerance, abs_tol=1e-12)


@dataclass(frozen=True)
class Judged:
    """A step's outcomes, its seconds, and the hash of what was found to six digits."""

    step: Step
    outcomes: tuple[Outcome, ...]
    seconds: float
    hash: str
    same: bool
    """Whether that is the expected hash: all numbers are the same to six digits."""


def steps() -> tuple[Step, ...]:
    """All of them, in order."""
    table = tomllib.loads(_data("artifact.toml"))
    return tuple(
        Step(
            each["name"],
            each["title"],
            float(each["minutes"]),
            tuple(each["commands"]),
            tuple(Value(value["what"], value["path"], float(value["tolerance"])) for value in each["value"]),
        )
        for each in table["step"]
    )


def expected() -> dict[str, dict[str, Any]]:
    """By the name of a step: `values`, by their words, and `hash`."""
    found: dict[str, dict[str, Any]] = json.loads(_data("artifact_expected.json"))
    return found


def chosen(names: Sequence[str]) -> tuple[Step, ...]:
    """The steps of some names; all without one. Raises SailsimError for a name that none has."""
    known = {step.name: step for step in steps()}
    for name in names:
        if name not in known:
            raise SailsimError(f"step is {name!r}; allowed are {', '.join(known)}.")
    return tuple(known[name] for name in names) if names else tuple(known.values())


def run_steps(wanted: Sequence[Step], out: Path) -> Iterator[Judged]:
    """Runs steps with the sailsim of this Python, in a folder, and says of each what came of it."""
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    np.save(out / "w.npy", rng.integers(-8, 8, (256, 64)).astype(np.int8))
    np.save(out / "x.npy", rng.integers(-128, 128, (2, 256)).astype(np.int8))
    known = expected()
    for step in wanted:
        began = time.monotonic()
        found, why = _found(step, out)
        yield judge(step, found, known.get(step.name, {}), time.monotonic() - began, why)


def judge(
    step: Step, found: Mapping[str, float], known: Mapping[str, Any], seconds: float = 0.0, why: str = ""
) -> Judged:
    """Numbers of a step by their words beside what is expected of them."""
    values = known.get("values", {})
    outcomes = tuple(
        Outcome(step.name, each.what, values.get(each.what), found.get(each.what), each.tolerance, why)
        for each in step.values
    )
    digest = digested(found)
    return Judged(step, outcomes, seconds, digest, digest == known.get("hash"))


def digested(found: Mapping[str, float]) -> str:
    """The hash of some numbers to `DIGITS` digits."""
    rounded = {what: f"{value:.{DIGITS}g}" for what, value in sorted(found.items())}
    return hashlib.sha256(json.dumps(rounded).encode()).hexdigest()[:16]


def expected_text(judged: Sequence[Judged]) -> str:
    """The file of what is expected, from what was found; what was not run stays as it is."""
    known = expected()
    for each in judged:
        values = {outcome.what: outcome.found for outcome in each.outcomes}
        known[each.step.name] = {"values": values, "hash": each.hash}
    ordered = {step.name: known[step.name] for step in steps() if step.name in known}
    return json.dumps(ordered, indent=2) + "\n"


def _found(step: Step, out: Path) -> tuple[dict[str, float], str]:
    printed = ""
    for command in step.commands:
        words = [word.format(out=out) for word in shlex.split(command)]
        done = subprocess.run(
            [str(Path(sys.executable).parent / "sailsim"), *words],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return {}, (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        printed = done.stdout
    answer = json.loads(printed)
    return {each.what: float(_at(answer, each.path)) for each in step.values}, ""


def _at(answer: Any, path: str) -> Any:
    for name in path.split("."):
        answer = answer[int(name)] if isinstance(answer, list) else answer[name]
    return answer


def _data(name: str) -> str:
    return files("sailsim.analysis").joinpath("data", name).read_text("utf-8")

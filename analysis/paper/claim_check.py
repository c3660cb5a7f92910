"""What sailsim claims, each with the command that shows it: run, and compared with what is expected.

Steps and what is expected of them are data (`analysis/data/checks.toml`). docs/reproduction.md is the page.
"""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from sailsim.analysis.uncertainty.prior import Listed
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import FrozenModel


class ExpectedValue(FrozenModel):
    """A number: in words, where it is in the JSON of the last command, and how far off it may be,
    relatively."""

    what: str
    path: str
    expected: float
    tolerance: float


class ClaimCheck(FrozenModel):
    """A claim: its commands in order, the minutes that they take on two cores, the numbers to look at."""

    name: str
    title: str
    minutes: float
    commands: Listed[str]
    value: Listed[ExpectedValue]


def steps() -> tuple[ClaimCheck, ...]:
    """All of them, in order."""
    text = files("sailsim.analysis").joinpath("data", "checks.toml").read_text("utf-8")
    return tuple(ClaimCheck.model_validate(each) for each in tomllib.loads(text)["step"])


def chosen(names: Sequence[str]) -> tuple[ClaimCheck, ...]:
    """The steps of some names; all without one. Raises SailsimError for a name that none has."""
    known = {step.name: step for step in steps()}
    for name in names:
        if name not in known:
            raise SailsimError(f"step is {name!r}; allowed are {', '.join(known)}.")
    return tuple(known[name] for name in names or known)


def run_steps(
    wanted: Sequence[ClaimCheck], out: Path
) -> Iterator[tuple[ClaimCheck, float, list[dict[str, Any]]]]:
    """Runs steps with the sailsim of this Python, in a folder: of each its seconds and what came of it."""
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    np.save(out / "w.npy", rng.integers(-8, 8, (256, 64)).astype(np.int8))
    np.save(out / "x.npy", rng.integers(-128, 128, (2, 256)).astype(np.int8))
    for step in wanted:
        began = time.monotonic()
        answer, why = _answer(step, out)
        yield step, time.monotonic() - began, judge(step, answer, why)


def judge(step: ClaimCheck, answer: Any, why: str = "") -> list[dict[str, Any]]:
    """The numbers of a step in the answer of its last command, and whether each is as near as it has to be;
    of a step that failed (None) all are None, and `why` says why."""
    outcomes = []
    for each in step.value:
        value = None if answer is None else float(_at(answer, each.path))
        met = value is not None and math.isclose(value, each.expected, rel_tol=each.tolerance, abs_tol=1e-12)
        numbers = {"expected": each.expected, "value": value, "tolerance": each.tolerance}
        outcomes.append({"step": step.name, "what": each.what, **numbers, "why": why, "met": met})
    return outcomes


def _answer(step: ClaimCheck, out: Path) -> tuple[Any, str]:
    printed = ""
    for command in step.commands:
        words = [word.format(out=out) for word in shlex.split(command)]
        program = str(Path(sys.executable).parent / "sailsim")
        done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            return None, (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        printed = done.stdout
    return json.loads(printed), ""


def _at(answer: Any, path: str) -> Any:
    for name in path.split("."):
        answer = answer[int(name)] if isinstance(answer, list) else answer[name]
    return answer

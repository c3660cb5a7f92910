"""Checks of this project's own claims: run the commands behind each and compare with expected numbers.

Checks and expected numbers are data (`analysis/data/checks.toml`). docs/reproduction.md explains.
"""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import tomli

from sailsim.analysis.uncertainty.prior import Listed
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import FrozenModel


class ExpectedValue(FrozenModel):
    """Expected number: description, path in the JSON of the last command, value and relative tolerance."""

    what: str
    path: str
    expected: float
    tolerance: float


class ClaimCheck(FrozenModel):
    """A claim with its commands in order, their minutes on two cores, and the expected numbers."""

    name: str
    title: str
    minutes: float
    commands: Listed[str]
    value: Listed[ExpectedValue]


def all_checks() -> tuple[ClaimCheck, ...]:
    """All checks, in order."""
    text = files("sailsim.analysis").joinpath("data", "checks.toml").read_text("utf-8")
    return tuple(ClaimCheck.model_validate(each) for each in tomli.loads(text)["step"])


def checks_named(names: Sequence[str]) -> tuple[ClaimCheck, ...]:
    """The checks of some names, all without a name. Raises SailsimError for an unknown name."""
    known = {check.name: check for check in all_checks()}
    for name in names:
        if name not in known:
            raise SailsimError(f"step is {name!r}; allowed are {', '.join(known)}.")
    return tuple(known[name] for name in names or known)


def run_checks(
    checks: Sequence[ClaimCheck], out: Path
) -> Iterator[tuple[ClaimCheck, float, list[dict[str, Any]]]]:
    """Run checks with the sailsim of this Python, in a folder; yields each with its seconds and outcomes."""
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    np.save(out / "w.npy", rng.integers(-8, 8, (256, 64)).astype(np.int8))
    np.save(out / "x.npy", rng.integers(-128, 128, (2, 256)).astype(np.int8))
    for check in checks:
        began = time.monotonic()
        answer, why = _answer(check, out)
        yield check, time.monotonic() - began, judge(check, answer, why)


def judge(check: ClaimCheck, answer: Any, why: str = "") -> list[dict[str, Any]]:
    """Numbers of a check in the answer of its last command, and whether each is within its tolerance.

    Without an answer (None) all are None, and ``why`` is the reason.
    """
    outcomes = []
    for each in check.value:
        value = None if answer is None else float(_at(answer, each.path))
        met = value is not None and math.isclose(value, each.expected, rel_tol=each.tolerance, abs_tol=1e-12)
        numbers = {"expected": each.expected, "value": value, "tolerance": each.tolerance}
        outcomes.append({"step": check.name, "what": each.what, **numbers, "why": why, "met": met})
    return outcomes


def _answer(check: ClaimCheck, out: Path) -> tuple[Any, str]:
    printed = ""
    for command in check.commands:
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

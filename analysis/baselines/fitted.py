"""The fitted constants as data: `data/fits.json`, written by `research/calibration` and read here."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim.analysis.baselines.core_kinds import N1
from sailsim.analysis.baselines.prediction import data_file
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Quantity


@dataclass(frozen=True)
class Band:
    """Factors on a prediction between which nine of ten cross-validated measurements fell."""

    low: float
    high: float


@dataclass(frozen=True)
class FittedSet:
    """Constants that were fitted together, and the bands of what they predict."""

    constants: Mapping[str, Quantity]
    bands: Mapping[str, Band]

    def value(self, name: str) -> float:
        """Value of one constant in its unit."""
        return float(self.constants[name].value)

    def band(self, test: str) -> Band:
        """Band of one kind of prediction ("decode", "prompt")."""
        return self.bands[test]


@dataclass(frozen=True)
class Fitted:
    """Everything in `fits.json`."""

    table: Mapping[str, Any]
    sets: Mapping[str, FittedSet]
    """What was fitted together: "cpu.<software>" on Neoverse N1, "cpu.<software>.<core>" and "gpu"."""

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Fitted:
        """The fits of a file's table."""
        tables = {f"cpu.{name}": each for name, each in table["cpu"].items()} | {"gpu": table["gpu"]}
        for core, sets in table["cores"].items():
            tables |= {f"cpu.{name}.{core}": each for name, each in sets.items()}
        return cls(table, {name: _set(each) for name, each in tables.items()})

    def software(self, name: str, core: str = N1) -> FittedSet:
        """The constants of a CPU software on a core (`core_kinds.CORES`).

        Raises SailsimError where nothing is known of the software on that core.
        """
        if not self.knows(name, core):
            raise SailsimError(
                f"software is {name}, allowed on {core} is one of {', '.join(self.known_on(core))}"
            )
        return self.sets[f"cpu.{name}" if core == N1 else f"cpu.{name}.{core}"]

    def knows(self, name: str, core: str) -> bool:
        """Whether there are constants of a software on a core."""
        return name in self.known_on(core)

    def known_on(self, core: str) -> tuple[str, ...]:
        """The software stacks with constants on a core."""
        return tuple(self.table["cpu"] if core == N1 else self.table["cores"][core])

    @property
    def gpu(self) -> FittedSet:
        """The constants of the GPU baseline, all cards."""
        return self.sets["gpu"]

    @property
    def fewest_threads(self) -> int:
        """Threads of the smallest measured machine."""
        return int(self.table["fewest_threads"])

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The error table: one row a set of measurements and a way of holding them out."""
        return list(self.table["errors"])

    def quantities(self) -> dict[str, Quantity]:
        """Every fitted constant by a dotted name, for the report."""
        return {f"{prefix}.{name}": q for prefix, s in self.sets.items() for name, q in s.constants.items()}

    def varied(self, changes: Mapping[str, float]) -> Fitted:
        """The fits with other values, by the names of `quantities`.

        Raises SailsimError for a name that is none of them or a value that is no finite number.
        """
        known = self.quantities()
        sets = {name: dict(each.constants) for name, each in self.sets.items()}
        for name, value in changes.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3, cutoff=0.3) or list(known)[:3]
                raise SailsimError(f"{name} is no fitted constant, allowed are such as {', '.join(near)}")
            if not isfinite(value):
                raise SailsimError(f"{name} is {value!r}, allowed is a finite number")
            group, _, constant = name.rpartition(".")
            old = known[name]
            ends = [old.value if end is None else end for end in (old.low, old.high)]
            moved = {"value": value, "low": min(*ends, value), "high": max(*ends, value)}
            sets[group][constant] = old.model_copy(update=moved)
        return replace(
            self,
            sets={name: replace(each, constants=sets[name]) for name, each in self.sets.items()},
        )

    def covariance(self, group: str) -> tuple[list[str], NDArray[np.float64]]:
        """Names of `quantities` and the covariance (n, n) of what was fitted in "cpu" or "gpu".

        A constant that both stacks share has the first one's name. Constants of different fits do not
        vary together; constants held at a bound have zeros.
        """
        table = self.table[f"{group}_covariance"]
        known = [name for name in self.quantities() if name.startswith(f"{group}.")]
        names: list[str] = []
        blocks = []
        for listed in [table] if "order" in table else table.values():
            # A fit of both software stacks lists the first one's constants before the other's.
            for name in listed["order"]:
                names.append(next(k for k in known if k.endswith(f".{name}") and k not in names))
            blocks.append(np.asarray(listed["matrix"], dtype=float))
        whole = np.zeros((len(names), len(names)))
        ends = np.cumsum([len(block) for block in blocks])
        for block, end in zip(blocks, ends, strict=True):
            whole[end - len(block) : end, end - len(block) : end] = block
        return names, whole


def _set(table: Mapping[str, Any]) -> FittedSet:
    return FittedSet(
        constants={
            name: Quantity.model_validate({k: v for k, v in entry.items() if k != "standard_error"})
            for name, entry in table["constants"].items()
        },
        bands={test: Band(**band) for test, band in table["bands"].items()},
    )


@lru_cache(maxsize=1)
def fitted_constants() -> Fitted:
    """The shipped fits."""
    return Fitted.of(json.loads(data_file("fits.json").read_text("utf-8")))


@lru_cache(maxsize=1)
def held_out_results() -> dict[str, Any]:
    """How far the shipped constants are off on measurements outside the repository, when last looked at.

    Written by ``python research/fit.py --held-out FILE`` (its `held_out_check`).
    """
    found = json.loads(data_file("held_out_errors.json").read_text("utf-8"))
    return dict(found)

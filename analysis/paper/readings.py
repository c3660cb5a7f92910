"""The claims as numbers of a table of draws: every reading of every claim that the paper's words allow.

A `Table` holds the outcomes of draws (rows) on the workloads (columns), and the cost constants of each. A
`Reading` makes of it the claim's number, row by row and workload by workload. Tokens per dollar follow
`analysis.cost`: SAIL pays (1 + overhead) times what its part of a server costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim.analysis.costs.dollars import CostConstants, Price, Sizing, prices
from sailsim.analysis.paper.sampling import AREAS, CARD, OUTCOMES
from sailsim.analysis.paper.uncertainty import Draw, Space, n1_prices
from sailsim.sim import load_system

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Outcomes by name, each (rows, workloads); cost constants (rows, 1); areas (rows, `AREAS`)."""

    outcomes: Mapping[str, Numbers]
    overhead: Numbers
    usd_per_vcpu: Numbers
    bytes_per_vcpu: Numbers
    scatter: Mapping[str, Numbers]
    area: Numbers
    threads: Numbers
    cores: int

    @classmethod
    def of(cls, space: Space, draws: Sequence[Draw], records: Sequence[Mapping[str, Any]]) -> Table:
        """The table of some draws with their records (`sampling.evaluate_draw`).

        Outcomes with the prefix `ampere_` are there if every record has them.
        """
        found = {}
        for name in (*OUTCOMES, *(f"ampere_{name}" for name in OUTCOMES)):
            lists = [list(record.get(name, ())) for record in records]
            if all(lists):
                found[name] = np.array(lists, dtype=np.float64)
        by_name = {price.instance: price for price in n1_prices()}
        instances = [_instance(draw, by_name) for draw in draws]
        costs = [draw.constants("cost", CostConstants) for draw in draws]
        return cls(
            outcomes=found,
            overhead=np.array([c.overhead for c in costs])[:, None],
            usd_per_vcpu=np.array([p.usd_per_hour / p.units for p in instances])[:, None],
            bytes_per_vcpu=np.array([(p.memory_gib or np.inf) * 2**30 / p.units for p in instances])[:, None],
            scatter={
                name: np.array([draw.scatter(name) for draw in draws])[:, None]
                for name in ("cpu", "ampere", CARD)
            },
            area=np.array([list(record["area"]) for record in records], dtype=float),
            threads=np.array([w.threads for w in space.workloads], dtype=float)[None, :],
            cores=load_system("sail-n1").cores.count.whole,
        )

    def baseline(self, name: str) -> Numbers:
        """Tokens/s of a baseline, one measured machine: the prediction with its scatter."""
        kind = "ampere" if name.startswith("ampere") else CARD if name.startswith(CARD) else "cpu"
        return np.asarray(self.outcomes[name] * self.scatter[kind])

    def usd_per_hour(self, who: str, sizing: Sizing) -> Numbers:
        """What an hour of a server costs "sail", "cpu" or their `ampere_` twins, without SAIL's overhead.

        As `cost.vcpus_paid`, on a server of as many vCPUs as the machine has cores.
        """
        if sizing == "whole":
            return np.asarray(self.usd_per_vcpu * self.cores * np.ones_like(self.threads))
        side = "ampere_" if who.startswith("ampere_") else ""
        needed = np.maximum(self.threads, np.ceil(self.outcomes[f"{side}memory"] / self.bytes_per_vcpu))
        if sizing == "bandwidth":
            name = who.removeprefix("ampere_")
            rate = self.outcomes[who]
            batch = self.outcomes[f"{side}sail"] * self.outcomes[f"{side}step"]
            moved = self.outcomes[f"{side}{name}_dram"] / batch * rate
            share = np.minimum(1.0, moved / self.outcomes[f"{side}read_bandwidth"])
            needed = np.maximum(needed, np.ceil(share * self.cores * (1 - 1e-12)))
        return np.asarray(self.usd_per_vcpu * np.minimum(needed, self.cores))

    def usd_ratio(self, sail: str, cpu: str, sizing: Sizing, cpu_sizing: Sizing | None = None) -> Numbers:
        """SAIL's tokens per dollar over the cores'."""
        own = self.outcomes[sail] / (self.usd_per_hour(sail, sizing) * (1 + self.overhead))
        whose = "ampere_cpu" if cpu.startswith("ampere_") else "cpu"
        other = self.baseline(cpu) / self.usd_per_hour(whose, cpu_sizing or sizing)
        return np.asarray(own / other)

    def usd_ratio_card(self, name: str, sizing: Sizing) -> Numbers:
        """SAIL's tokens per dollar over the card's, which is paid whole."""
        own = self.outcomes["sail"] / (self.usd_per_hour("sail", sizing) * (1 + self.overhead))
        return np.asarray(own * prices().of(CARD).usd_per_hour / self.baseline(name))

    def saved(self, name: str) -> Numbers:
        """Percent of cycles ("pim") or of a step ("step") that the PRT saves."""
        return np.asarray(100 * (1 - self.outcomes[name] / self.outcomes[f"{name}_off"]))


@dataclass(frozen=True)
class Reading:
    """One reading of a claim; `values` gives (rows, workloads). `free` ones need both softwares' outcomes.

    `find` says where `sailsim run --json` has the number.
    """

    claim: str
    words: str
    values: Callable[[Table], Numbers]
    primary: bool = False
    free: bool = False
    find: str = ""

    def highest(self, table: Table, workloads: Sequence[int] | None = None) -> Numbers:
        """The highest over all or some workloads, (rows,); NaN where there is none at all."""
        values = self.values(table)
        values = values if workloads is None else values[:, list(workloads)]
        empty = np.isnan(values).all(axis=1)
        return np.where(empty, np.nan, np.nanmax(np.where(np.isnan(values), -np.inf, values), axis=1))


def _instance(draw: Draw, by_name: Mapping[str, Price]) -> Price:
    named = draw.values.get("cost.instance")
    return n1_prices()[0] if named is None else by_name[str(named)]


def _area(index: int) -> Callable[[Table], Numbers]:
    return lambda table: table.area[:, index : index + 1] * np.ones_like(table.threads)


READINGS: tuple[Reading, ...] = (
    Reading(
        "speedup",
        "same threads, llama.cpp on the cores",
        lambda t: t.outcomes["sail"] / t.baseline("cpu"),
        primary=True,
        find="runs.cores.speedup",
    ),
    Reading(
        "speedup",
        "same threads, Ampere's fork on the cores, SAIL's too",
        lambda t: t.outcomes["ampere_sail"] / t.baseline("ampere_cpu"),
        free=True,
    ),
    Reading(
        "speedup",
        "llama.cpp on all cores, however few SAIL uses",
        lambda t: t.outcomes["sail"] / t.baseline("cpu_all"),
    ),
    Reading(
        "usd_cpu",
        "same threads, both pay the vCPUs that they use",
        lambda t: t.usd_ratio("sail", "cpu", "share"),
        primary=True,
        find="runs.cores.cost.used.ratio",
    ),
    Reading(
        "usd_cpu",
        "same threads, both pay the bandwidth that they use too",
        lambda t: t.usd_ratio("sail", "cpu", "bandwidth"),
    ),
    Reading(
        "usd_cpu",
        "as the first, Ampere's fork on the cores, SAIL's too",
        lambda t: t.usd_ratio("ampere_sail", "ampere_cpu", "share"),
        free=True,
    ),
    Reading(
        "usd_cpu",
        "SAIL pays its vCPUs, llama.cpp all cores and the whole server",
        lambda t: t.usd_ratio("sail", "cpu_all", "share", "whole"),
    ),
    Reading(
        "usd_v100",
        "same bits on V100, SAIL pays the vCPUs that it uses",
        lambda t: t.usd_ratio_card(CARD, "share"),
        primary=True,
        find="runs.v100.cost.used.ratio",
    ),
    Reading(
        "usd_v100",
        "16 bits on V100, SAIL pays the vCPUs that it uses",
        lambda t: t.usd_ratio_card(f"{CARD}_f16", "share"),
    ),
    Reading(
        "usd_v100",
        "same bits on V100 with a serving stack's kernels, SAIL pays the vCPUs that it uses",
        lambda t: t.usd_ratio_card(f"{CARD}_serving", "share"),
    ),
    Reading(
        "usd_v100",
        "same bits on V100, SAIL pays the bandwidth that it uses too",
        lambda t: t.usd_ratio_card(CARD, "bandwidth"),
    ),
    Reading(
        "usd_v100",
        "same bits on V100, SAIL pays its whole server",
        lambda t: t.usd_ratio_card(CARD, "whole"),
    ),
    Reading("prt", "cycles of the PIM units in one step", lambda t: t.saved("pim"), primary=True),
    Reading("prt", "time of the whole step", lambda t: t.saved("step")),
    *(
        Reading(
            "overhead",
            f"{counted}, of {base}",
            _area(i),
            primary=(counted, base) == ("all of the unit", "LLC and cores"),
        )
        for i, (counted, base) in enumerate(AREAS)
    ),
)
"""Every reading; the primary one of a claim is the one that is searched and explained."""


def primary(claim: str) -> Reading:
    """The primary reading of a claim."""
    return next(r for r in READINGS if r.claim == claim and r.primary)

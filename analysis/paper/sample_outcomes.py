"""What sampled machines did, for `metrics`: arrays of machines (rows) on workloads (columns).

Tokens per dollar follow `costs.dollars`: SAIL pays (1 + overhead) times what its part of a server costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sailsim.analysis.costs.dollars import HOUR_S, CostConstants, Price, prices
from sailsim.analysis.paper.claims import Choice, Payment, Saved
from sailsim.analysis.paper.evaluator import MEMORY, READ_BANDWIDTH, bases, of_runner, of_sail
from sailsim.analysis.paper.machine import SampledMachine
from sailsim.analysis.paper.metrics import Numbers
from sailsim.analysis.paper.space import ParameterSpace, scatters_as
from sailsim.analysis.results.runs import SAIL, Runner
from sailsim.base.errors import SailsimError
from sailsim.sim.backends.cores import Software
from sailsim.sim.files import load_system


@dataclass(frozen=True)
class SampleOutcomes:
    """Quantities by their names in records, each (rows, workloads); cost constants and scatters (rows, 1);
    areas (rows, `evaluator.bases`)."""

    space: ParameterSpace
    quantities: Mapping[str, Numbers]
    areas: Numbers
    overhead: Numbers
    usd_per_vcpu: Numbers
    bytes_per_vcpu: Numbers
    scatter: Mapping[str, Numbers]
    threads: Numbers
    cores: int

    @classmethod
    def of(
        cls,
        space: ParameterSpace,
        machines: Sequence[SampledMachine],
        records: Sequence[Mapping[str, Any]],
    ) -> SampleOutcomes:
        """Those of some machines with their records (`evaluator.evaluate_machine`), as far as all have
        them."""
        shared = [name for name, value in records[0].items() if "/" in name and len(value)]
        shared = [name for name in shared if all(len(record.get(name, ())) for record in records)]
        by_name = {price.instance: price for price in space.servers}
        servers = [_server(space, machine, by_name) for machine in machines]
        costs = [machine.constants("cost", CostConstants) for machine in machines]
        opponents = space.paper.opponents("samples")
        return cls(
            space=space,
            quantities={
                name: np.array([list(record[name]) for record in records], dtype=np.float64)
                for name in shared
            },
            areas=np.array([list(record["areas"]) for record in records], dtype=float),
            overhead=np.array([c.overhead for c in costs])[:, None],
            usd_per_vcpu=np.array([p.usd_per_hour / p.units for p in servers])[:, None],
            bytes_per_vcpu=np.array([(p.memory_gib or np.inf) * 2**30 / p.units for p in servers])[:, None],
            scatter={
                what: np.array([machine.scatter(what) for machine in machines])[:, None]
                for what in map(scatters_as, opponents)
            },
            threads=np.array([w.threads for w in space.workloads], dtype=float)[None, :],
            cores=load_system(space.hosts[space.software]).cores.count.whole,
        )

    def quantity(self, software: Software, name: str) -> Numbers:
        """A quantity of machines whose cores run a software. Raises SailsimError where nobody asked for
        it."""
        key = f"{software}/{name}"
        if key not in self.quantities:
            raise SailsimError(f"quantity is {key}, allowed is one that every machine was asked for")
        return self.quantities[key]

    def runs(self, runner: str, beside: str | None = None) -> SampledRuns:
        """A runner's runs; SAIL's on the machine whose cores run the software of the runner `beside`."""
        if runner == SAIL:
            other = None if beside is None else self._opponent(beside)
            return SampledRuns(
                self, None, self.space.software if other is None else self.space.host_of(other)
            )
        found = self._opponent(runner)
        return SampledRuns(self, found, self.space.host_of(found))

    def _opponent(self, name: str) -> Runner:
        return next(r for r in self.space.paper.opponents("samples") if r.name == name)

    def without(self, choice: Choice) -> SampledRuns:
        """SAIL's runs at the same points without a choice."""
        return SampledRuns(self, None, self.space.software, choice)

    def area_share(self, counted: str, base: str) -> Numbers:
        """Added area over what there is, the same on every workload."""
        at = bases(self.space.paper).index((counted, base))
        return self.areas[:, at : at + 1] * np.ones_like(self.threads)


@dataclass(frozen=True)
class SampledRuns:
    """One runner's runs, or SAIL's (`runner` None), beside a machine whose cores run a software."""

    of: SampleOutcomes
    runner: Runner | None
    software: Software
    lacks: Choice | None = None

    def _quantity(self, name: str) -> Numbers:
        key = of_sail(name, self.lacks) if self.runner is None else of_runner(self.runner.name, name)
        return self.of.quantity(self.software, key)

    def spent(self, what: Saved) -> Numbers:
        """Cycles, seconds or reads of one step."""
        return self._quantity(what)

    @property
    def tokens_per_s(self) -> Numbers:
        """Tokens/s; of another runner that of one measured machine: the prediction with its scatter."""
        rate = self._quantity("tokens_per_s")
        return rate if self.runner is None else rate * self.of.scatter[scatters_as(self.runner)]

    def tokens_per_usd(self, payment: Payment) -> Numbers:
        """Tokens that a dollar buys where it pays so."""
        return self.tokens_per_s * HOUR_S / self.usd_per_hour(payment)

    def usd_per_hour(self, payment: Payment) -> Numbers:
        """What an hour costs, SAIL's with its overhead; as `dollars.usd_per_hour`, on a server of as many
        vCPUs as the machine has cores."""
        if self.runner is not None and self.runner.kind == "card":
            return np.asarray(_card_price(self.runner).usd_per_hour)
        hour = self.of.usd_per_vcpu * self._vcpus(payment)
        return hour * (1 + self.of.overhead) if self.runner is None or self.runner.overhead else hour

    def _vcpus(self, payment: Payment) -> Numbers:
        cores, every = self.of.cores, self.runner is not None and self.runner.threads == "all"
        if payment == "whole" or (self.runner is not None and self.runner.paid == "whole"):
            return np.full_like(self.of.threads, cores)
        threads = np.full_like(self.of.threads, cores) if every else self.of.threads
        memory = self.of.quantity(self.software, MEMORY)
        needed = np.maximum(threads, np.ceil(memory / self.of.bytes_per_vcpu))
        if payment == "bandwidth":
            needed = np.maximum(needed, np.ceil(self._bandwidth_share() * cores * (1 - 1e-12)))
        return np.minimum(needed, cores)

    def _bandwidth_share(self) -> Numbers:
        """Of what reading cores reach, the part that a run takes, by its predicted rate."""
        sail = of_sail("tokens_per_s"), of_sail("step_s")
        rate, seconds = (self.of.quantity(self.software, name) for name in sail)
        moved = self._quantity("dram_bytes") / (rate * seconds) * self._quantity("tokens_per_s")
        return np.minimum(1.0, moved / self.of.quantity(self.software, READ_BANDWIDTH))


def _server(space: ParameterSpace, machine: SampledMachine, by_name: Mapping[str, Price]) -> Price:
    named = machine.values.get("cost.instance")
    return space.servers[0] if named is None else by_name[str(named)]


def _card_price(runner: Runner) -> Price:
    """What a card costs. Raises SailsimError where the price list has none."""
    return prices().of(runner.hardware)

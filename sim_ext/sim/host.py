"""A machine's cores: what they can do, and the tasks of those that run a step beside PIM units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError
from sailsim.sim.memory_path import window
from sailsim.sim.schedule import CoreTask
from sailsim.sim.system import System
from sailsim.workloads.formats import FLOATS
from sailsim.workloads.graph import Op
from sailsim.workloads.model import ModelSpec


@dataclass(frozen=True)
class CpuSheet:
    """What closed forms of whole steps need of a machine (`backends.cores`), SI units; scalars or arrays."""

    clock: NDArray[np.float64]
    read_bandwidth: NDArray[np.float64]
    core_bandwidth: NDArray[np.float64]
    """Bytes/s that one core can have under way: MSHRs * line / latency (Little's law)."""

    @classmethod
    def of(cls, system: System) -> CpuSheet:
        """From a system file."""
        under_way = system.l2.mshrs.value * system.l2.line.value
        return cls(
            clock=np.asarray(system.cores.clock.si, dtype=float),
            read_bandwidth=np.asarray(system.memory.read_bandwidth.si, dtype=float),
            core_bandwidth=np.asarray(under_way / system.memory.latency.si, dtype=float),
        )


class HostCores:
    """Rates and costs of `threads` of a machine's cores, SI units."""

    def __init__(self, system: System, threads: int) -> None:
        if threads > system.cores.count.whole:
            raise SailsimError(
                f"threads is {threads}; allowed on {system.name} is at most {system.cores.count.whole}."
            )
        cores, host = system.cores, system.host
        self.threads = threads
        peak = threads * cores.clock.si * cores.fp32_flops.value
        self.flops = peak * host.simd_share.value
        self.attention_flops = peak * (host.attention_simd_share or host.simd_share).value
        self.attention = cores.clock.si * host.attention_rate.value
        self.ahead = host.attention_ahead.value if host.attention_ahead is not None else 0.0
        widening, head = host.attention_widening, host.attention_head
        self.widening = None if widening is None else widening.value / cores.clock.si
        self.head = 0.0 if head is None else head.si
        self.llc = threads * cores.clock.si * system.llc.core_bandwidth.value
        # Little's law: the lines that a core has under way, over the time one takes.
        latency_bound = threads * window(system) / system.memory.latency.si
        self.dram = min(latency_bound, system.memory.core_share.value * system.memory.peak)
        self.barrier = threads * host.barrier.si
        self.submit = host.submit.si
        self.product_overhead = host.product_overhead.si
        self.hand_over = host.hand_over_share.value * self.product_overhead
        self.poll = host.poll.si
        self.copy = 0.0 if host.result_copy is None else host.result_copy.value / cores.clock.si
        self.convert_flops = host.convert_flops.value
        self.system = system.name
        rates = {"float_rate": host.float_rate, "grid_rate": host.grid_rate}
        self.products = {name: cores.clock.si * q.value for name, q in rates.items() if q is not None}

    def seconds(self, flops: float, llc_bytes: float, rate: float | None = None) -> float:
        """Work on cached data, at ``rate`` FLOP/s if not the usual: arithmetic and loads overlap."""
        return max(flops / (rate or self.flops), llc_bytes / self.llc)

    def work(self, op: Op, model: ModelSpec, needs: int, by_sequence: bool = False) -> list[CoreTask]:
        """An operation that is no GEMV, and the barrier at its end; attention perhaps sequence by sequence,
        with a barrier after each."""
        if op.kind == "attention":
            pieces = op.batch if by_sequence else 1
            return pieces * self._attend(_of_one(op) if by_sequence else op, model, needs)
        seconds = self.seconds(op.flops, op.act_bytes)
        written = op.kv_bytes if op.kind == "cache" else 0.0
        return [
            CoreTask(op.name, needs, seconds, op.weight_bytes, written, self.dram),
            self._meet(op.name, needs),
        ]

    def _attend(self, op: Op, model: ModelSpec, needs: int) -> list[CoreTask]:
        """Attention as the CPU baseline's software does it on the same cores, at its fitted rate.

        It reads the cache, then computes, on one thread a head at most; a share of the computing goes on
        while it reads.
        """
        written = model.cached_bytes * op.batch
        width = min(self.threads, model.n_heads * op.batch)
        work = op.macs / (width * self.attention) + model.n_heads * op.batch * self.head / width
        flops = op.flops
        if self.widening is not None:
            flops -= op.cache_flops
            work += model.d_cached * (op.kv_bytes - written) / model.cached_bytes * self.widening / width
        work += self.seconds(flops, op.act_bytes, self.attention_flops)
        meanwhile = self.ahead * work
        return [
            CoreTask(f"{op.name} cache", needs, meanwhile, op.kv_bytes - written, written, self.dram),
            CoreTask(op.name, needs, work - meanwhile),
            self._meet(op.name, needs),
        ]

    def product(self, op: Op, needs: int) -> list[CoreTask]:
        """A GEMV whose weights have no scalar codes, on the cores: they read it, then compute."""
        return [
            CoreTask(f"{op.name} weights", needs, 0.0, op.weight_bytes, 0.0, self.dram),
            CoreTask(op.name, needs, self._multiplying(op)),
            self._meet(op.name, needs),
        ]

    def product_seconds(self, op: Op) -> float:
        """What `product` takes on an idle machine."""
        return op.weight_bytes / self.dram + self._multiplying(op) + self.barrier

    def _multiplying(self, op: Op) -> float:
        """Seconds of a GEMV's products and of what it loses beside them."""
        return op.macs / (self.threads * self._product_rate(op)) + self.product_overhead

    def _product_rate(self, op: Op) -> float:
        """MAC/s of a thread for the type of a GEMV's weights."""
        assert op.format is not None
        name = "float_rate" if op.format.name in FLOATS else "grid_rate"
        if name not in self.products:
            raise SailsimError(
                f"{op.name} is {op.format.name}, which has no scalar codes, and system {self.system} has no "
                f"host.{name}; allowed is a system that says how fast its cores multiply it."
            )
        return self.products[name]

    def submission(self, name: str, slices: int, products: float = 1.0) -> CoreTask:
        """The software's work around an operation, and the descriptors of its products, one a slice, to the
        units."""
        seconds = self.hand_over + products * ceil(slices / self.threads) * self.submit
        return CoreTask(f"{name} submit", 0, seconds, sync=True)

    def per_slice(self, slices: int) -> float:
        """Seconds of a product's descriptors and records, of which every slice has its own."""
        return ceil(slices / self.threads) * (self.submit + self.poll)

    def completion(self, name: str, slices: int, needs: int) -> CoreTask:
        """Seeing the completion records of all slices, and the barrier after it."""
        seconds = ceil(slices / self.threads) * self.poll + self.barrier
        return CoreTask(f"{name} poll", needs, seconds, sync=True)

    def copying(self, op: Op, slices: int, needs: int) -> list[CoreTask]:
        """Scaled results of a product to where the next operation reads them; a thread copies whole tiles."""
        if not self.copy:
            return []
        results = ceil(slices / self.threads) / slices * (op.macs / op.k)
        return [CoreTask(f"{op.name} copy", needs, results * self.copy)]

    def conversion(self, op: Op, blocks: int, needs: int) -> list[CoreTask]:
        """Integer sums of every block to scaled fp32 on the cores, and the barrier after it."""
        sums = op.n * op.batch * blocks
        seconds = self.seconds(self.convert_flops * sums, 4 * sums + 4 * op.n * op.batch)
        return [CoreTask(f"{op.name} convert", needs, seconds), self._meet(op.name, needs)]

    def _meet(self, name: str, needs: int) -> CoreTask:
        return CoreTask(f"{name} barrier", needs, self.barrier, sync=True)


def _of_one(op: Op) -> Op:
    """Attention of one of its sequences; work is even over them."""
    return replace(
        op,
        batch=1,
        kv_bytes=op.kv_bytes / op.batch,
        act_bytes=op.act_bytes / op.batch,
        macs=op.macs // op.batch,
        flops=op.flops // op.batch,
        cache_flops=op.cache_flops // op.batch,
    )

"""Bandwidth and latency in gem5, beside the engine's and the published ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sailsim.lut_gemv.trace import write_trace
from sailsim.sim.dram import Dram, shares
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.cases import random_tile
from sailsim.sim.memory_path import memory, memory_paths
from sailsim.sim.system import System

Times = Literal["in-step", "random"]
"""When readers ask: a line each period, all at once; or after a time of 0 to 2 periods, each for itself."""
Case = tuple[int, int, float, Times]


def shared_bandwidth(
    system: System,
    units: int,
    streams: int,
    stream_gb_s: float,
    reach: float | None = None,
    times: Times = "in-step",
) -> tuple[float, float]:
    """What PIM units that stream weights get together beside readers, and what those get, bytes/s.

    gem5's readers that are in step start at the same time with the same period, at addresses that differ by
    whole rows of all channels: their lines come to a channel together, so a burst has `streams` lines, and
    bursts come evenly. Those that ask at random times come in the bursts of a step, `memory.burst`.

    Args:
        system: the machine.
        units: how many stream.
        streams: readers, each asking for `stream_gb_s`.
        reach: share of the peak that long reads get; default: all but refreshes, as gem5's DRAM has it.
        times: when the readers ask.
    """
    limits, dram = memory(system, max(1, streams)), Dram(system.memory, system.llc.line.whole)
    window = limits.stream.window * units / system.llc.slices.value
    weights = replace(limits.stream, demand=units * memory_paths(system)[1].rate, window=window, parts=units)
    queue = max(dram.queue, streams * dram.line_s) if times == "in-step" else dram.queue
    work = replace(limits.cores, demand=streams * stream_gb_s * 1e9, queue=queue, even=times == "in-step")
    capacity = limits.peak * (dram.reads(dram.lines_of_row) if reach is None else reach)
    found = shares(capacity, (weights, work) if streams else (weights,))
    return found[0], found[1] if streams else 0.0


ALONE: tuple[Case, ...] = tuple((units, 0, 0.0, "in-step") for units in (1, 4, 5, 8, 16, 32))
BESIDE: Mapping[Times, Sequence[float]] = {"in-step": (4.0, 8.0), "random": (2.0, 4.0, 6.0, 8.0, 10.0)}
"""What each of 16 readers asks for; most cases are of those that are as a step's cores."""
STREAMS: tuple[Case, ...] = ALONE + tuple(
    case
    for times, speeds in BESIDE.items()
    for case in (
        (1, 8, 4.0, times),
        *((units, 16, each, times) for units in (1, 5, 16, 32) for each in speeds),
    )
)
"""PIM units that stream weights, readers beside them, GB/s that each reader asks for, and when they ask."""


def measure_streams(
    gem5: Gem5,
    system: System,
    folder: Path,
    cases: Sequence[Case] = STREAMS,
    timeout_s: float = 1800,
) -> Iterator[dict[str, Any]]:
    """Bandwidth of units that wait for nothing but weights, in gem5 and as the engine shares it.

    Every unit has a tile of 384 outputs of 8 bits, which the arrays work on four times as fast as one unit's
    lines come. The units' bandwidth is all weights over the time of the slowest.

    Yields:
        One row a case: `units`, `streams`, `stream_gb_s`, `times`; `gem5_gb_s` of the units and
        `gem5_beside_gb_s` of the readers; `engine_gb_s` and `error` with the share of the peak that is
        measured on a real machine, `closed_gb_s` and `closed_error` with all but refreshes, which is what
        gem5's DRAM can give.

    Raises:
        SailsimError: no PIM units, or gem5 did not get to the end.
    """
    pim = system.require_pim()
    random = np.random.default_rng(3)
    folder.mkdir(parents=True, exist_ok=True)
    for units, streams, each, times in cases:
        k = 1024 if units == 1 else 512
        work = [random_tile(random, k, 384, 1, 8, 8, 4, 0, False) for _ in range(units)]
        trace = folder / f"streams-{units}.trace"
        write_trace(trace, work)
        run = gem5.replay(
            system,
            trace,
            folder / f"streams-{units}-{streams}-{each:g}-{times}",
            units=units,
            streams=streams,
            stream_gb_s=each or 1.0,
            timeout_s=timeout_s,
            extra=("--stream-times", times),
        )
        slowest = max(row["cycles"] for row in run.tiles()) / pim.clock.si
        found = units * k * 384 / slowest
        beside = sum(v for name, v in run.stats.items() if "streams" in name and name.endswith("bytesRead"))
        engine = shared_bandwidth(system, units, streams, each, system.memory.read_share.value, times)[0]
        closed = shared_bandwidth(system, units, streams, each, times=times)[0]
        yield {
            "units": units,
            "streams": streams,
            "stream_gb_s": each,
            "times": times,
            "gem5_gb_s": round(found / 1e9, 2),
            "gem5_beside_gb_s": round(beside / run.ticks * 1e3, 2),
            "engine_gb_s": round(engine / 1e9, 2),
            "error": round(engine / found - 1, 4),
            "closed_gb_s": round(closed / 1e9, 2),
            "closed_error": round(closed / found - 1, 4),
        }


def measure_latencies(
    gem5: Gem5, system: System, kernels: Path, folder: Path, timeout_s: float = 3600
) -> list[dict[str, Any]]:
    """Load-to-use latencies of a pointer chase on one O3 core, beside those of the system file.

    Args:
        kernels: folder of the AArch64 programs.
        folder: for gem5's output.

    Returns:
        One row a level: `level`, `footprint_bytes`, `gem5_ns`, `published_ns` and `error`.

    Raises:
        SailsimError: the program is missing, or gem5 did not get to its end.
    """
    clock = system.cores.clock.si
    levels = (
        ("L1", 1 << 15, system.l1d.latency.value / clock),
        ("L2", 1 << 19, system.l2.latency.value / clock),
        ("LLC", 1 << 24, system.llc.latency.si),
        ("DRAM", 1 << 26, system.memory.latency.si),
    )
    rows = []
    for level, footprint, published in levels:
        program = [str(kernels / "pointer_chase"), "--min", str(footprint), "--max", str(footprint)]
        run = gem5.run(
            system, [*program, "--loads", "4000"], folder / f"latency-{level}", pim=False, timeout_s=timeout_s
        )
        measured = float(run.json_lines[-1]["ns_per_load"])
        rows.append(
            {
                "level": level,
                "footprint_bytes": footprint,
                "gem5_ns": round(measured, 3),
                "published_ns": round(published * 1e9, 3),
                "error": round(measured / (published * 1e9) - 1, 4),
            }
        )
    return rows

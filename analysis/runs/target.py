"""The inverse question: the widths, batches and threads that reach a rate, cheapest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import product
from typing import Any

from sailsim.analysis.costs.dollars import CostConstants, PriceList
from sailsim.analysis.runs.compare import comparisons
from sailsim.analysis.runs.runs import SAIL, Runner, runs
from sailsim.base.errors import SailsimError
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point

BITS = (2, 3, 4, 5, 6, 8)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
ON_CORES = (SAIL, "cores", "cores-ampere", "cores-lut", "cores-neon")
"""Runners that are searched, of those that ship: SAIL and software on the same threads."""


def configurations_reaching(
    point: Point, target: float, fixed: Set[str], runners: Sequence[Runner], price_list: PriceList
) -> list[dict[str, Any]]:
    """Configurations that reach ``target`` tokens/s of the whole batch, cheapest first.

    The bits of weights, the batch and the threads (powers of two, up to all cores) vary unless they are
    ``fixed``. A row for each runner, width and batch has the threads that cost least a token, with their rate
    and ``usd_per_million_tokens`` (None without a price), and ``fewest_threads``. Rates are those of the
    nominal machine. Raises SailsimError for a target that is not above 0.
    """
    if not 0 < target < float("inf"):
        raise SailsimError(f"target is {target:g}; allowed is a number of tokens a second above 0.")
    searched = [each for each in runners if each.name in ON_CORES]
    costs = CostConstants.ends()
    best: dict[tuple[Any, ...], dict[str, Any]] = {}
    fewest: dict[tuple[Any, ...], int] = {}
    for each in _points(point, fixed):
        try:
            records = [run.as_record() for run in runs(each, runners=searched, prior=None)]
        except SailsimError:  # another width or batch may be allowed
            continue
        for run, more in zip(records, comparisons(records, price_list, costs), strict=True):
            if (run["tokens_per_s"] or 0) >= target:
                row, key = run | more, (run["runner"], run["wbits"], run["batch"])
                best[key] = min(best.get(key, row), row, key=_cost)
                fewest[key] = min(fewest.get(key, each.threads), each.threads)
    rows = [row | {"fewest_threads": fewest[key]} for key, row in best.items()]
    return sorted(rows, key=_cost)


def _points(point: Point, fixed: Set[str]) -> Iterator[Point]:
    """The point with every width, batch and number of threads that is not fixed."""
    cores = load_system(point.system).cores.count.whole
    threads = [1 << at for at in range(cores.bit_length()) if 1 << at <= cores]
    bits = () if fixed & {"wbits", "weights"} or point.weights else BITS
    axes = {"wbits": bits, "batch": BATCHES, "threads": threads}
    open_axes = {name: values for name, values in axes.items() if values and name not in fixed}
    for values in product(*open_axes.values()):
        yield point.having(**dict(zip(open_axes, values, strict=True)))


def _cost(row: Mapping[str, Any]) -> tuple[float, int, int]:
    """Sort key of a row: dollars, then threads and batch."""
    usd = row["usd_per_million_tokens"]
    return (float("inf") if usd is None else usd, row["threads"], row["batch"])

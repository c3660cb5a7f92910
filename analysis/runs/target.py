"""The inverse question: which widths, batches and threads reach a rate, and which of them costs least."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import product
from typing import Any

from sailsim.analysis.costs.dollars import CostConstants, PriceList
from sailsim.analysis.runs.compare import compared
from sailsim.analysis.runs.runs import SAIL, Runner, runs
from sailsim.base.errors import SailsimError
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point

BITS = (2, 3, 4, 5, 6, 8)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
ON_CORES = (SAIL, "cores", "cores-ampere", "cores-lut", "cores-neon")
"""Of the runners that ship those that the question is asked of: SAIL and software on the same threads."""


def reaching(
    point: Point,
    target: float,
    held: Set[str],
    runners: Sequence[Runner],
    price_list: PriceList,
) -> list[dict[str, Any]]:
    """What reaches ``target`` tokens/s of the whole batch, a row a runner, width and batch, cheapest first.

    Varied are the bits of weights, the batch and the threads (powers of two, up to all cores) that are not
    ``held``. A row has the threads that cost least a token with their rate and ``usd_per_million_tokens``
    (None without a price), and ``fewest_threads``. Rates are of the nominal machine. Raises SailsimError for
    a target that is not above 0.
    """
    if not 0 < target < float("inf"):
        raise SailsimError(f"target is {target:g}; allowed is a number of tokens a second above 0.")
    asked = [each for each in runners if each.name in ON_CORES]
    costs = CostConstants.ends()
    best: dict[tuple[Any, ...], dict[str, Any]] = {}
    fewest: dict[tuple[Any, ...], int] = {}
    for each in _points(point, held):
        try:
            runs_of_it = [run.as_record() for run in runs(each, runners=asked, prior=None)]
        except SailsimError:  # what one width or batch does not allow another may
            continue
        for run, more in zip(runs_of_it, compared(runs_of_it, price_list, costs), strict=True):
            if (run["tokens_per_s"] or 0) >= target:
                row, key = run | more, (run["runner"], run["wbits"], run["batch"])
                best[key] = min(best.get(key, row), row, key=_cost)
                fewest[key] = min(fewest.get(key, each.threads), each.threads)
    rows = [row | {"fewest_threads": fewest[key]} for key, row in best.items()]
    return sorted(rows, key=_cost)


def _points(point: Point, held: Set[str]) -> Iterator[Point]:
    """The point with every width, batch and number of threads that is left open."""
    cores = load_system(point.system).cores.count.whole
    threads = [1 << at for at in range(cores.bit_length()) if 1 << at <= cores]
    bits = () if held & {"wbits", "weights"} or point.weights else BITS
    axes = {"wbits": bits, "batch": BATCHES, "threads": threads}
    open_axes = {name: values for name, values in axes.items() if values and name not in held}
    for values in product(*open_axes.values()):
        yield point.having(**dict(zip(open_axes, values, strict=True)))


def _cost(row: Mapping[str, Any]) -> tuple[float, int, int]:
    """The order of rows: by dollars, then by threads and batch."""
    usd = row["usd_per_million_tokens"]
    return (float("inf") if usd is None else usd, row["threads"], row["batch"])

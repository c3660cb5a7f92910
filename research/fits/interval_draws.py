"""How many machines an interval needs, and which: `python research/fits/interval_draws.py [MACHINES
[SEEDS]]`.

The ends and the median of an interval of few machines are compared with those of 4,096, on the workloads of
the shipped prior. Printed are, for 32 and 64 machines, the standard deviation over seeds of each percentile's
logarithm, and of the seeds the one nearest to the 4,096 machines on every other workload, with its root mean
square distance there and on the workloads that did not choose it. What came out is in
`analysis/uncertainty/interval.py`.
"""

from __future__ import annotations

import sys

import numpy as np

from sailsim.analysis.uncertainty import interval as interval
from sailsim.analysis.uncertainty.prior import PRIOR, load_unknowns
from sailsim.sim.machine.system_files import load_system
from sailsim.workloads.model_files.load import load_model

MANY = 4096
POINTS = [each.point("sail-n1", 128) for each in load_unknowns().workload]


def percentiles(draws: int, seed: int) -> np.ndarray:
    """Logarithms of each percentile, (workloads, 3)."""
    system = load_system("sail-n1")
    interval.DRAWS, interval.SEED = draws, seed
    interval.POPULATIONS.clear()
    found = []
    for point in POINTS:
        (low, high, median, _), _ = interval.rate_interval(point, system, load_model(point.model), 1.0, PRIOR)
        found.append((low, median, high))
    return np.log(np.array(found))


def main(machines: int = MANY, seeds: int = 40) -> None:
    """Print it."""
    truth = percentiles(machines, 1 << 20)
    print(f"{machines} machines:", np.exp(truth).round(2).tolist(), flush=True)
    chosen, other = slice(0, None, 2), slice(1, None, 2)
    for draws, tried in ((32, seeds), (64, seeds)):
        off = np.array([percentiles(draws, seed) - truth for seed in range(tried)])
        worst = [np.sqrt((off[:, part] ** 2).mean(axis=(1, 2))) for part in (chosen, other, slice(None))]
        best, every = int(np.argmin(worst[0])), int(np.argmin(worst[2]))
        print(
            f"{draws} machines, {tried} seeds: deviation {off.std(axis=0).mean(axis=0).round(3)}, off "
            f"{off.mean(axis=(0, 1)).round(3)}; seed {best}: {worst[0][best]:.3f} where it was chosen, "
            f"{worst[1][best]:.3f} elsewhere (median of seeds {np.median(worst[1]):.3f}); of all workloads "
            f"seed {every}: {worst[2][every]:.3f}, {np.sqrt((off[every] ** 2).mean(axis=0)).round(3)}",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

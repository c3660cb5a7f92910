"""A small real sweep, with a GPU of a user's, that the tests of figures, claims and report share."""

from functools import partial

import pytest

from sailsim.analysis.runs.runs import evaluate, identity, runners
from sailsim.analysis.studies.sweep_study import run_sweep
from sailsim.sim.study.plan import expand

MODEL = {"model": ["smollm2-135m"], "context": 64, "batch": 8}
GRIDS = [
    MODEL | {"wbits": [2, 4, 8], "threads": [4, 16, 64], "batch": [1, 8]},
    MODEL | {"nbw": [2, 3, 4], "substrate": ["row_dfm", "bit_parallel"], "prt": [True, False]},
    MODEL | {"group_size": [64, 128, 0], "convert": ["memory", "cores"]},
]
FREE_HITS = """
extends = "sail-n1"
name = "free-hits"
title = "SAIL whose hits take no cycle"
[sources]
[pim]
t_prt = { value = 0, unit = "cycles", source = "a test", kind = "assumed", low = 0, high = 1, note = "x" }
"""
CARD = """
extends = "l4"
name = "mine"
title = "My GPU"
memory_bandwidth = { value = 600, unit = "GB/s", source = "a test", kind = "paper" }
"""


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    """The store of a sweep with every point that the figures need."""
    folder = tmp_path_factory.mktemp("sweep")
    variant = folder / "free-hits.toml"
    variant.write_text(FREE_HITS)
    grids = [*GRIDS, MODEL | {"system": str(variant), "nbw": [2, 4], "prt": [True, False]}]
    gpu = folder / "gpu.toml"
    gpu.write_text(CARD)
    who = runners([gpu])
    points = expand(grids)
    return run_sweep(
        points, partial(evaluate, runners=who), folder / "out", progress=False, inputs=identity(who)
    )


@pytest.fixture(scope="session")
def frame(swept):
    return swept.frame()

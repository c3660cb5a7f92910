"""A small real sweep that the tests of evaluation, figures, claims and report share."""

import pytest

from sailsim.analysis import evaluate
from sailsim.sim import expand, run_sweep

MODEL = {"model": ["smollm2-135m"], "context": 64, "batch": [1, 8]}
GRIDS = [
    MODEL | {"wbits": [2, 4, 8], "threads": [4, 16, 64]},
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


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    """The store of a sweep with every point that the figures need."""
    folder = tmp_path_factory.mktemp("sweep")
    variant = folder / "free-hits.toml"
    variant.write_text(FREE_HITS)
    grids = [*GRIDS, MODEL | {"system": str(variant), "nbw": [2, 4], "prt": [True, False]}]
    return run_sweep(expand(grids), evaluate, folder / "out", progress=False)


@pytest.fixture(scope="session")
def frame(swept):
    return swept.frame()

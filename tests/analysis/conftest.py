"""A small real sweep that the tests of evaluation, figures, claims and report share."""

from dataclasses import replace

import pytest

from sailsim.analysis import evaluate, figure_points
from sailsim.sim import Point, run_sweep

BASE = Point(model="smollm2-135m", context=64)


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    """The store of a sweep with every point that the figures need."""
    grid = [
        replace(BASE, wbits=wbits, batch=batch, threads=threads)
        for wbits in (2, 4, 8)
        for batch in (1, 8)
        for threads in (4, 16, 64)
    ]
    extra = [point for point in figure_points(BASE) if point.batch in (1, 8)]
    return run_sweep(
        list(dict.fromkeys(grid + extra)), evaluate, tmp_path_factory.mktemp("sweep"), progress=False
    )


@pytest.fixture(scope="session")
def frame(swept):
    return swept.frame()

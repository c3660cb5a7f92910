"""Processors in the banks of DRAM: products by hand, tables that have room, and copies of the weights."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.sim.backends.dpu import PHASES, DpuSpec, dpu_time, packings
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point
from sailsim.sim.step.engine import accelerator_of, simulate_step
from sailsim.sim.step.gemv_times import Gemm
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import uniform_format

from .predictions import varied

SYSTEM = load_system("upmem-n1")
TABLES = load_system("upmem-n1-tables")
SECTION, SORTED = SYSTEM.accelerator, TABLES.accelerator
assert isinstance(SECTION, DpuSpec)
assert isinstance(SORTED, DpuSpec)
PLAIN = varied(SORTED, tables="plain")


def test_multiplying_by_hand():
    # 4 units: k in one part, 3 outputs each, 5 rows. Cutting k would double the sums on the way back.
    own = varied(SECTION, units=4, clock=1, multiply=10, dma=1, dma_start=2, inputs=1, results=1e-3, launch=1)
    found = dpu_time(own, Gemm(k=16, n=12, batch=5, wbits=8, abits=8, group=0))
    us = dict(zip(PHASES, (seconds * 1e6 for seconds in found.numbers), strict=True))
    assert us == pytest.approx({
        "link": 1 + 4 * 5 * 16 * 1e-3 + 5 * 12 * 4,
        "slices": 0,
        "multiply": 5 * 3 * 16 * 10 * 1e-3,
    })  # fmt: skip
    assert found.counts == (5 * 3 * 16,)
    assert (found.bytes, found.blocks, found.throttled(1.0)) == (0, 1, found.seconds)
    # Weights that come slower than they are multiplied: a transfer starts every 32 of 48 bytes.
    slow = dpu_time(varied(own, multiply=0.1, dma_most=32), Gemm(16, 12, 5, 8, 8, 0))
    assert slow.numbers[2] == pytest.approx(5 * (2 * 2 + 48) * 1e-9)


def test_tables_have_as_many_products_as_have_room():
    # 2 bits times 2: 16 sums of one product, 256 of two, 4096 of three, a byte each, in 2 KiB.
    small = varied(PLAIN, scratchpad=4096)
    assert [(each.products, each.loaded) for each in packings(small, 2, 2)] == [(1, 16), (2, 256)]
    # Sorted, pairs of four activations are 10 instead of 16, with two orders of 16 weights beside them.
    found = [*packings(varied(SORTED, scratchpad=4096), 2, 2)]
    assert (2, 16 * 10 + 2 * 16, 0) in [(each.products, each.loaded, each.slice) for each in found]
    # Of three, 64 weights by 20 slices and 6 orders.
    assert (3, 64 * (20 + 6), 0) in [(each.products, each.loaded, each.slice) for each in found]
    # What has no room in the scratchpad as a whole lies in the bank, and comes by the slice.
    assert (4, 0, 256 * (1 + 1)) in [(each.products, each.loaded, each.slice) for each in found]
    with pytest.raises(SailsimError, match=r"scratchpad is 64 B; allowed for tables of 4 times 4 bits"):
        [*packings(varied(SORTED, scratchpad=64), 4, 4)]


def test_a_slice_is_brought_for_every_group_of_activations_of_every_row():
    # One unit, so that nothing is dealt out: 4 bits times 4, three products an access of 8 cycles.
    own = varied(SORTED, units=1, clock=1, dma=2, dma_start=0, launch=0, inputs=1e6, results=1e6)
    found = dpu_time(own, Gemm(k=9, n=100_000, batch=2, wbits=4, abits=4, group=0))
    assert found.numbers[1] == pytest.approx(2 * 3 * 4096 * (2 + 2) / 2 * 1e-9)
    assert found.numbers[2] == pytest.approx(2 * 3 * 100_000 * 8e-9)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 64), st.sampled_from([1, 7, 64]))
def test_more_ways_are_never_slower(wbits: int, abits: int, batch: int, copies: int):
    asked = Gemm(k=96, n=300, batch=batch, wbits=wbits, abits=abits, group=0)
    plain, best = dpu_time(PLAIN, asked), dpu_time(SORTED, asked)
    assert best.seconds <= plain.seconds
    assert dpu_time(SORTED, asked._replace(copies=copies)).seconds <= best.seconds


def test_a_step_takes_as_many_copies_as_the_banks_hold():
    model, point = load_model("smollm2-135m"), Point(model="smollm2-135m", batch=32, system="upmem-n1")
    fmt = uniform_format(4, 128)
    held = accelerator_of(SYSTEM).stored(SYSTEM, model, fmt)
    assert held is not None
    assert held.limit == 2556 * 64 * 2**20
    tables = accelerator_of(TABLES).stored(TABLES, model, fmt)
    assert tables == held._replace(limit=held.limit / 2, where=f"the accelerator of system {TABLES.name}")
    # With room for one copy alone every unit works for every row.
    assert isinstance(SECTION, DpuSpec)
    one = varied(SECTION, bank=1.2 * held.needed / 2556 / 2**20)
    small = SYSTEM.model_copy(update={"name": "small", "accelerator": one})
    assert simulate_step(small, model, replace(point)).step_s > simulate_step(SYSTEM, model, point).step_s

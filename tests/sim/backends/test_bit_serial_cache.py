"""A bit-serial multiply-accumulate cache: the paper's cycles, how products lie on bit lines."""

from math import ceil
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.sim.backends.bit_serial_cache import (
    PHASES,
    BitSerialCacheSpec,
    Gemm,
    best_mapping,
    cache_time,
    multiply_cycles,
)
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point
from sailsim.sim.step.engine import accelerator_of, simulate_step
from sailsim.workloads.model_files.load import load_model

from .predictions import varied

SYSTEM = load_system("neural-cache-n1")
SECTION = SYSTEM.accelerator
assert isinstance(SECTION, BitSerialCacheSpec)
SMALL = load_model("smollm2-135m")


def job(slices: int = 14, k: int = 64, n: int = 8, batch: int = 1, wbits: int = 8, abits: int = 8,
        group: int = 0, **values: float) -> Any:  # fmt: skip
    """The job, and its mapping."""
    request = Gemm(k, n, batch, wbits, abits, group, k * ceil(n * wbits / 8))
    mapping, _ = best_mapping(varied(SECTION, **values), slices, request)
    return SimpleNamespace(
        **cache_time(varied(SECTION, **values), slices, request)._asdict(), mapping=mapping
    )


def test_a_multiplication_takes_the_papers_cycles():
    assert [multiply_cycles(SECTION, n, n) for n in (4, 8, 16)] == [n * n + 5 * n - 2 for n in (4, 8, 16)]
    assert multiply_cycles(SECTION, 4, 8) == multiply_cycles(SECTION, 8, 4) == 4 * (8 + 5) - 2
    assert multiply_cycles(SECTION, 1, 1) == 4


def test_a_convolution_of_the_paper_takes_its_rounds_and_cycles():
    """Conv2D_2b: 147 x 147 places, 64 filters of 3 x 3 x 32: 43 rounds of 9 products and a sum over 32."""
    found = job(k=288, n=64, batch=147 * 147, arrays=288)
    assert (found.mapping.lanes, found.mapping.steps, found.mapping.rounds) == (32, 9, 43)
    _, _, multiply, reduce, _ = (round(seconds * 2.5e9) for seconds in found.numbers)
    assert (multiply, reduce) == (43 * 9 * 236, 43 * 660)
    assert found.mapping.sums * 14 <= 4032 * 256 / 32


def test_one_array_by_hand():
    found = job(slices=1, k=4, n=2, arrays=1, cols=8, span=4, multiply_bit=5, accumulate=10, reduce=7, bus=1,
                bank=1, port=1)  # fmt: skip
    # 4 bit lines a sum are 1 product of 102 + 10 cycles and two levels, all 8 lines at once.
    assert found.mapping.lanes == 4
    by_phase = dict(zip(PHASES, (round(seconds * 2.5e9) for seconds in found.numbers), strict=True))
    # 8 bytes of weights, 4 of inputs but 8 rows to write them to, and two sums of 4 bytes in 32 rows.
    assert by_phase == {"load": 8, "inputs": 8, "multiply": 112, "reduce": 14, "write_back": 32}
    assert found.cycles == 174
    assert found.counts == (1, 1, 1, 2)


def test_arrays_of_a_bank_take_turns_at_its_port_and_banks_do_not():
    """A slice that is full: 4 arrays a bank, 256 columns through 8 bytes a cycle, for each row."""
    of_a_bank = job(k=288, n=64, batch=147 * 147, arrays=288)
    alone = job(k=288, n=64, batch=147 * 147, arrays=288, bank=1)
    inputs, alone_inputs = (round(found.numbers[1] * 2.5e9) for found in (of_a_bank, alone))
    assert inputs == 43 * 9 * 8 * 4 * (256 // 64)
    # Then it is the bus: 36 places of a slice have inputs of their own, 288 bytes, 32 a cycle.
    assert alone_inputs == 43 * 36 * 288 // 32
    assert round(of_a_bank.numbers[4] * 2.5e9) == 43 * 32 * 4 * (256 // 64)


def test_weights_come_no_faster_than_they_are_read():
    units: Any = accelerator_of(SYSTEM).units_of(SYSTEM, Point())
    assert units.memory(1).stream_limit == 204.8e9
    accelerator = varied(SECTION, fill=10)
    slow = SYSTEM.model_copy(update={"accelerator": accelerator})
    assert accelerator_of(slow).units_of(slow, Point()).memory(1).stream_limit == 10e9
    point = Point(system="neural-cache-n1", model=SMALL.name)
    weights = simulate_step(slow, SMALL, point).bytes_by_kind["weights"]
    found = simulate_step(slow, SMALL, point).breakdown
    assert found["dram"] + found["load"] == pytest.approx(weights / 10e9, rel=0.05)


shapes = {
    "k": st.integers(1, 20000), "n": st.integers(1, 20000), "batch": st.integers(1, 40),
    "wbits": st.integers(1, 8), "abits": st.integers(1, 16), "group": st.sampled_from([0, 16, 32, 100, 128]),
}  # fmt: skip


@given(slices=st.integers(1, 32), **shapes)  # type: ignore[arg-type]
def test_every_weight_of_a_ragged_product_has_a_place(slices, **shape):
    found = job(slices=slices, **shape)
    m = found.mapping
    assert m.blocks * m.length >= shape["k"]
    assert m.lanes * m.steps >= m.length
    assert m.steps * shape["wbits"] <= 128
    assert m.loads * m.sums * slices >= shape["n"] * m.blocks
    assert m.rounds * m.sums * slices >= shape["n"] * m.blocks * shape["batch"]
    assert 1 <= found.slices <= slices
    assert all(seconds >= 0 for seconds in found.numbers)
    assert sum(found.numbers) == pytest.approx(found.seconds)
    # No bit line makes more than a product in the cycles of one.
    products = shape["k"] * shape["n"] * shape["batch"]
    lines = slices * 115 * 256
    assert found.numbers[2] * 2.5e9 >= products / lines * (
        multiply_cycles(SECTION, shape["wbits"], shape["abits"]) + 134
    ) * (1 - 1e-9)


@given(**shapes)  # type: ignore[arg-type]
def test_wider_numbers_and_more_rows_are_never_faster(**shape):
    base = job(**shape).seconds
    assert job(**shape | {"batch": shape["batch"] + 1}).seconds >= base
    assert job(**shape | {"wbits": min(8, shape["wbits"] + 1)}).seconds >= base * (1 - 1e-12)
    assert job(**shape | {"abits": min(16, shape["abits"] + 1)}).seconds >= base * (1 - 1e-12)


def test_a_step_is_accounted_for_and_its_sums_are_the_cores():
    point = Point(system="neural-cache-n1", model=SMALL.name, threads=4)
    result = simulate_step(SYSTEM, SMALL, point)
    assert tuple(result.breakdown) == ("dram", *PHASES, "cores", "sync")
    assert sum(result.breakdown.values()) == pytest.approx(result.step_s)
    assert any("not modelled" in note and "last-level cache" in note for note in result.notes)
    whole = simulate_step(SYSTEM, SMALL, Point(system="neural-cache-n1", model=SMALL.name, group_size=0))
    grouped = simulate_step(SYSTEM, SMALL, Point(system="neural-cache-n1", model=SMALL.name, group_size=32))
    assert grouped.breakdown["cores"] > whole.breakdown["cores"]


def test_what_does_not_fit_is_refused():
    with pytest.raises(SailsimError, match=r"accelerator.rows is 128 rows, but weights of 8 bits .*allowed"):
        job(rows=128)
    with pytest.raises(SailsimError, match=r"accelerator.accumulator is 15 bits; allowed .* is more"):
        job(accumulator=15)
    with pytest.raises(SailsimError, match=r"substrate is 'row_dfm', which the accelerator .* does not know"):
        simulate_step(SYSTEM, SMALL, Point(system="neural-cache-n1", model=SMALL.name, substrate="row_dfm"))

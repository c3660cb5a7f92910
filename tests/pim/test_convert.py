"""Conversion and scaling of the core against NumPy's rounding and the NumPy programs of lut_gemv."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sailsim import _core
from sailsim.lut_gemv import convert
from sailsim.lut_gemv.reference import scale_blocks
from sailsim.sim.files import load_system

from ..examples import examples


@pytest.mark.parametrize("bits", [2, 3, 8, 17, 23, 24, 25, 32, 33, 48, 62, 63])
def test_int_to_fp32_equals_numpy(bits: int) -> None:
    rng = np.random.default_rng(bits)
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    values = rng.integers(low, high, 5000, endpoint=True) >> rng.integers(0, bits, 5000)
    values = np.concatenate([values, [0, low, high], values >> max(bits - 26, 0) << max(bits - 26, 0)])
    floats, tally = _core.int_to_fp32(values, bits)
    assert floats.tobytes() == values.astype(np.float32).tobytes()
    assert tally == convert.int_to_fp32_program(bits).tally()


@examples(60)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 130)),
    seed=st.integers(0, 2**32),
    with_minimum=st.booleans(),
    data=st.data(),
)
def test_scaling_equals_numpy(
    shape: tuple[int, int, int], seed: int, with_minimum: bool, data: st.DataObject
) -> None:
    blocks, batch, n = shape
    rng = np.random.default_rng(seed)
    sums = rng.integers(-(1 << 31), 1 << 31, shape)
    # All numbers and infinities of 16 bits, by their words; not NaN.
    words = hnp.arrays(np.uint16, (blocks, n), elements=st.integers(0, 0x7C00) | st.integers(0x8000, 0xFC00))
    numbers = words.map(lambda drawn: drawn.view(np.float16))
    scale = data.draw(numbers)
    minimum = data.draw(numbers) if with_minimum else None
    x_sums = rng.integers(-100000, 100000, (blocks, batch)) if with_minimum else None
    act_scale = rng.standard_normal(batch).astype(np.float32)
    y = _core.scale_blocks(sums, scale, act_scale, minimum, x_sums)
    with np.errstate(invalid="ignore", over="ignore"):
        expected = scale_blocks(sums, scale, act_scale, minimum=minimum, x_sums=x_sums)
    assert y.dtype == np.float32
    assert np.array_equal(y, expected, equal_nan=True)


def registers_in_use(bits: int) -> tuple[int, int]:
    """The most registers, and bits of registers, that the reference's program has at a time beside its
    input: a value lives from the step that makes it to the last that reads it."""
    steps = convert.int_to_fp32_program(bits).steps
    alive, after = {"y"}, []
    for step in reversed(steps):
        after.append(frozenset(alive))
        alive.discard(step.target)
        for operand in (step.a, step.b, step.carry_in):
            name = operand[0] if isinstance(operand, tuple) else operand
            if isinstance(name, str):
                alive.add(name)
    widths: dict[str, int] = {}
    most = most_bits = 0
    for step, names in zip(steps, reversed(after), strict=True):
        widths[step.target] = step.keep
        held = [widths[name] for name in names if name not in ("x", "carry")]  # the carry is a latch
        most, most_bits = max(most, len(held)), max(most_bits, sum(held))
    return most, most_bits


@pytest.mark.parametrize("bits", range(16, 64))
def test_a_plan_has_room_for_the_registers_of_the_program(bits: int) -> None:
    """NBW 1, whose table is smaller than any conversion's registers."""
    most, most_bits = registers_in_use(bits)
    shape = (64, 10, 1, 1, 2, 1, 1, 32)
    for substrate, expected in (("row_dfm", most + 2), ("bit_serial", most_bits + 2 * 2 + bits)):
        for rows, fits in ((expected, True), (expected - 1, False)):
            config = load_system("sail-n1").slice_config(
                substrate=substrate, rows=rows, accumulator_bits=bits, convert="memory"
            )
            if fits:
                assert _core.plan_tile(config, *shape, True).rows_needed == expected
            else:
                with pytest.raises(ValueError, match=f"rows is {rows}: the tile needs {expected}"):
                    _core.plan_tile(config, *shape, True)


def test_bad_arguments_are_named() -> None:
    sums = np.zeros((2, 1, 3), np.int64)
    scale, act_scale = np.ones((2, 3), np.float16), np.ones(1, np.float32)
    with pytest.raises(TypeError, match="scale has the wrong dtype: allowed is float16"):
        _core.scale_blocks(sums, scale.astype(np.float32), act_scale)
    with pytest.raises(ValueError, match="scale has 1 elements along axis 0: allowed are 2"):
        _core.scale_blocks(sums, scale[:1], act_scale)
    with pytest.raises(ValueError, match="act_scale has 2 elements"):
        _core.scale_blocks(sums, scale, np.ones(2, np.float32))
    with pytest.raises(ValueError, match="minimum and sums_of_x go together"):
        _core.scale_blocks(sums, scale, act_scale, minimum=scale)
    with pytest.raises(ValueError, match=r"value is 8: allowed are -8\.\.7"):
        _core.int_to_fp32(np.array([8]), 4)
    with pytest.raises(TypeError, match="values has the wrong dtype: allowed is int64"):
        _core.int_to_fp32(np.array([8], np.int32), 8)

"""Descriptors through the core beside the shared oracles: what just fits, and bytes at random."""

from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim import _core
from sailsim.lut_gemv.descriptor import DESCRIPTOR, Flag, Status

from ..examples import examples

BASE, SIZE = 4096, 4096
GOOD = {
    "weights": BASE, "activations": BASE + 1024, "output": BASE + 2048, "completion": BASE + 3072,
    "k": 3, "n": 2, "batch": 1, "wbits": 4, "abits": 8, "nbw": 2,
}  # fmt: skip
MORE = BASE + 3136


def descriptor(**changes: int) -> np.void:
    """That of 3 x 2 nibbles and a row of bytes, with other fields."""
    record = np.zeros(1, DESCRIPTOR)
    for field, value in (GOOD | changes).items():
        record[field] = value % (1 << 8 * record.dtype[field].itemsize)
    return cast(np.void, record[0])


@examples(300)
@given(
    changes=st.dictionaries(
        st.sampled_from(list(DESCRIPTOR.names or ())),
        st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1), st.sampled_from(range(4096, 8192, 64))),
        max_size=4,
    )
)
def test_no_descriptor_does_harm(make_slice, changes):
    """Whatever the fields hold: a known status, and memory outside output and completion stays as it was."""
    d = descriptor(**{"k": 6, "n": 5, "batch": 2, "nbw": 3, "flags": Flag.PRT} | changes)
    memory = np.random.default_rng(1).integers(0, 256, SIZE, dtype=np.uint8)
    before = memory.copy()
    completion = _core.execute_descriptor(make_slice(), d.tobytes(), memory, BASE)
    status = Status(completion.status)
    assert status != Status.PENDING
    allowed = np.zeros(SIZE, bool)
    regions = [(int(d["completion"]), 32)]
    if status == Status.OK:
        regions.append((int(d["output"]), 4 * int(d["batch"]) * int(d["n"])))
    for address, count in regions:
        if BASE <= address <= BASE + SIZE - count:
            allowed[address - BASE : address - BASE + count] = True
    assert np.array_equal(memory[~allowed], before[~allowed])


SCALED = {"flags": Flag.CONVERT, "scales": MORE}
OF_THREE_BITS = {"flags": Flag.CODE_OFFSET | Flag.ACT_UNSIGNED, "wbits": 3, "abits": 5}
OF_BYTES = {"flags": Flag.ACT_UNSIGNED, "wbits": 8, "abits": 16, "n": 1}
BOOK = {"flags": Flag.CODE_BOOK, "codebook": MORE}


@pytest.mark.parametrize(
    ("unit", "fields", "other_unit", "other_fields", "why"),
    [
        ({"accumulator_bits": 13}, {}, {"accumulator_bits": 12}, {}, "OVERFLOW k"),  # 8 * 128 * 3
        # Unscaled, a sum runs over all of K.
        ({"accumulator_bits": 12}, SCALED | {"group_size": 1}, {}, {"flags": 0, "scales": 0}, "OVERFLOW k"),
        ({"accumulator_bits": 16}, {"k": 31}, {}, {"k": 32}, "OVERFLOW k"),  # 8 * 128 * 32 is 2**15
        ({"accumulator_bits": 16}, OF_THREE_BITS | {"k": 151}, {}, {"k": 152}, "OVERFLOW k"),  # 7 * 31 * 151
        # Results are int32 however wide the accumulator: 128 * 65535 * 256 is 2**31 - 2**15.
        ({"accumulator_bits": 48}, OF_BYTES | {"k": 256}, {}, {"k": 257}, "OVERFLOW k"),
        ({}, BOOK | {"k": 511}, {}, {"k": 512}, "OVERFLOW k"),  # of -32768: known once the values are read
        ({"rows": 7}, {}, {"rows": 6}, {}, "CAPACITY nbw"),  # three rows of a table, four for staging
        ({"cols": 32}, SCALED, {"cols": 31}, {}, "CAPACITY flags"),
        # The output may touch the buffers on either side, not enter them.
        ({}, {"k": 64, "output": GOOD["activations"] + 64}, {}, {"batch": 2}, "OVERLAP output"),
        ({}, {"batch": 8, "completion": GOOD["output"] + 64}, {}, {"batch": 9}, "OVERLAP output"),
    ],
)  # fmt: skip
def test_what_just_fits_and_what_does_not(make_slice, unit, fields, other_unit, other_fields, why):
    memory = np.zeros(SIZE, np.uint8)
    memory[MORE - BASE + 1] = 0x80  # as a codebook: code 0 is -32768
    fits, fails = (
        _core.execute_descriptor(make_slice(**u), descriptor(**d).tobytes(), memory, BASE)
        for u, d in ((unit, fields), (unit | other_unit, fields | other_fields))
    )
    assert fits.status == Status.OK
    fields_at = {at: name for name, (_, at, *_) in (DESCRIPTOR.fields or {}).items()}
    assert f"{Status(fails.status).name} {fields_at[fails.detail]}" == f"ERR_{why}"


def test_bad_arguments(make_slice):
    memory = np.zeros(64, np.uint8)
    with pytest.raises(ValueError, match="descriptor has 63 bytes: allowed are 64"):
        _core.execute_descriptor(make_slice(), bytes(63), memory)
    with pytest.raises(TypeError):
        _core.execute_descriptor(make_slice(), bytes(64), memory.astype(np.int16))
    memory.flags.writeable = False
    with pytest.raises(TypeError):
        _core.execute_descriptor(make_slice(), bytes(64), memory)

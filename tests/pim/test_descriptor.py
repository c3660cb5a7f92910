"""Descriptors through the core: the shared oracles, what is refused, and bytes at random."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sailsim import _core
from sailsim.lut_gemv.descriptor import COMPLETION, DESCRIPTOR, Status
from sailsim.lut_gemv.trace import Trace, read_trace, write_trace

from ..examples import examples

MakeSlice = Callable[..., _core.SliceConfig]


def memory_of(trace: Trace) -> NDArray[np.uint8]:
    memory = np.zeros(trace.image_bytes, np.uint8)
    memory[: len(trace.image)] = trace.image
    return memory


def run(
    config: _core.SliceConfig, trace: Trace, index: int, threads: int = 1
) -> tuple[_core.Completion, NDArray[np.uint8], NDArray[np.uint8]]:
    """The completion, the memory afterwards, and the bytes of memory from the completion record on."""
    memory = memory_of(trace)
    record = trace.descriptors[index]
    completion = _core.execute_descriptor(config, record.tobytes(), memory, trace.base, threads)
    start = int(record["completion"]) - trace.base
    return completion, memory, memory[start : start + 32]


def test_oracles(make_slice, oracles, tmp_path):
    cases = oracles.load_oracles()
    write_trace(tmp_path / "t", (case.tile for case in cases))
    trace = read_trace(tmp_path / "t")
    config = make_slice(arrays=64)
    for index, case in enumerate(cases):
        completion, memory, answer = run(config, trace, index, threads=2)
        assert completion.status == Status.OK, case.tile.name
        start = int(trace.descriptors[index]["output"]) - trace.base
        size = case.result.nbytes
        assert memory[start : start + size].tobytes() == case.result.tobytes(), case.tile.name
        expected_hits = case.counts["prt_hits"] if case.tile.prt else 0
        assert (completion.lookups, completion.prt_hits) == (case.counts["lookups"], expected_hits)
        record = answer.view(COMPLETION)[0]
        for field in ("status", "detail", "cycles", "lookups", "prt_hits"):
            assert record[field] == getattr(completion, field)
        assert completion.cycles > 0


def test_refusals(make_slice, oracles, tmp_path):
    (plain,) = (case.tile for case in oracles.load_oracles() if case.tile.name == "plain")
    write_trace(tmp_path / "t", [plain])
    trace = read_trace(tmp_path / "t")
    before = memory_of(trace)
    for row in oracles.load_bad_descriptors():
        write_trace(tmp_path / "bad", [plain])
        oracles.change_descriptor(tmp_path / "bad", 0, row["set"])
        bad = read_trace(tmp_path / "bad")
        completion, memory, _ = run(make_slice(), bad, 0)
        assert Status(completion.status).name == row["status"], row["name"]
        assert completion.detail == DESCRIPTOR.fields[row["field"]][1], row["name"]  # type: ignore[index]
        changed = np.flatnonzero(memory != before)
        start = int(bad.descriptors[0]["completion"]) - bad.base
        assert np.all((changed >= start) & (changed < start + 32)), row["name"]


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
    base, size = 4096, 4096
    record = np.zeros(1, DESCRIPTOR)
    good = {"weights": base, "activations": base + 256, "output": base + 512, "completion": base + 1024}
    widths = {"k": 6, "n": 5, "batch": 2, "wbits": 4, "abits": 8, "nbw": 3, "flags": 8}
    for field, value in {**good, **widths, **changes}.items():
        bits = 8 * record.dtype[field].itemsize
        record[field] = value % (1 << bits)
    memory = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)
    before = memory.copy()
    completion = _core.execute_descriptor(make_slice(), record.tobytes(), memory, base)
    status = Status(completion.status)
    assert status != Status.PENDING
    allowed = np.zeros(size, bool)
    d = record[0]
    regions = [(int(d["completion"]), 32)]
    if status == Status.OK:
        regions.append((int(d["output"]), 4 * int(d["batch"]) * int(d["n"])))
    for address, count in regions:
        if base <= address <= base + size - count:
            allowed[address - base : address - base + count] = True
    assert np.array_equal(memory[~allowed], before[~allowed])


def test_bad_arguments(make_slice):
    memory = np.zeros(64, np.uint8)
    with pytest.raises(ValueError, match="descriptor has 63 bytes: allowed are 64"):
        _core.execute_descriptor(make_slice(), bytes(63), memory)
    with pytest.raises(TypeError):
        _core.execute_descriptor(make_slice(), bytes(64), memory.astype(np.int16))
    memory.flags.writeable = False
    with pytest.raises(TypeError):
        _core.execute_descriptor(make_slice(), bytes(64), memory)

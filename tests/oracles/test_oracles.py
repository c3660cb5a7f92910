"""The shared cases through the levels that Python reaches: reference, C++ core, replay, the core's unit."""

import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sailsim import _core
from sailsim.lut_gemv import reference
from sailsim.lut_gemv.descriptor import COMPLETION, DESCRIPTOR, Status
from sailsim.lut_gemv.fast import lut_gemv, lut_gemv_blocks, pattern_profile
from sailsim.lut_gemv.tile import same_results
from sailsim.lut_gemv.trace_file import DescriptorError, Trace, decode_tile, read_trace, replay, write_trace
from sailsim.sim.machine.system_files import load_system


def test_the_file_is_what_the_script_writes(oracles: ModuleType, make_cases: ModuleType) -> None:
    assert (oracles.FOLDER / "cases.json").read_text() == make_cases.cases_text()


def test_reference(oracles: ModuleType) -> None:
    for oracle in oracles.load_oracles():
        tile = oracle.tile
        y, counts, profile = reference.lut_gemv(tile.x, tile.codes, code=tile.code, **tile.widths)
        assert np.array_equal(y, oracle.y), tile.name
        assert counts.as_dict() == oracle.counts, tile.name
        assert {key: getattr(profile, key).tolist() for key in oracle.profile} == oracle.profile, tile.name
        acc = reference.lut_gemv_blocks(tile.x, tile.codes, code=tile.code, **tile.widths)
        assert tile.finish(acc).tobytes() == oracle.result.tobytes(), tile.name
        assert tile.expected().tobytes() == oracle.result.tobytes(), tile.name


@pytest.mark.parametrize("threads", [1, 3])
def test_core(oracles: ModuleType, threads: int) -> None:
    for oracle in oracles.load_oracles():
        tile = oracle.tile
        y = lut_gemv(tile.x, tile.codes, code=tile.code, threads=threads, **tile.widths)
        assert np.array_equal(y, oracle.y), tile.name
        acc = lut_gemv_blocks(tile.x, tile.codes, code=tile.code, threads=threads, **tile.widths)
        assert tile.finish(acc).tobytes() == oracle.result.tobytes(), tile.name
        profile = pattern_profile(tile.x, threads=threads, **tile.widths)
        assert {key: getattr(profile, key).tolist() for key in oracle.profile} == oracle.profile, tile.name


def test_trace(oracles: ModuleType, tmp_path: Path) -> None:
    cases = oracles.load_oracles()
    write_trace(tmp_path / "cases.trace", (oracle.tile for oracle in cases))
    for oracle, result in zip(cases, replay(read_trace(tmp_path / "cases.trace")), strict=True):
        assert result.matches, oracle.tile.name
        assert result.output is not None
        assert result.output.tobytes() == oracle.result.tobytes(), oracle.tile.name
        assert result.lookups == oracle.counts["lookups"], oracle.tile.name
        assert result.prt_hits == oracle.counts["prt_hits"], oracle.tile.name


@pytest.fixture
def unit() -> _core.SliceConfig:
    """A slice so large that everything takes one pass, as the replay has it."""
    return load_system("sail-n1").slice_config(rows=4096, cols=4096, arrays=4096, slices=1, t_zero=0, t_prt=0)


def memory_of(trace: Trace) -> NDArray[np.uint8]:
    """The memory that a loader makes of a trace: the stored image, then zeros."""
    memory = np.zeros(trace.image_bytes, np.uint8)
    memory[: len(trace.image)] = trace.image
    return memory


def test_unit(oracles: ModuleType, tmp_path: Path, unit: _core.SliceConfig) -> None:
    cases = oracles.load_oracles()
    write_trace(tmp_path / "cases.trace", (oracle.tile for oracle in cases))
    trace = read_trace(tmp_path / "cases.trace")
    memory = memory_of(trace)
    for record, oracle in zip(trace.descriptors, cases, strict=True):
        done = _core.execute_descriptor(unit, record.tobytes(), memory, trace.base)
        assert done.status == Status.OK, oracle.tile.name
        assert done.lookups == oracle.counts["lookups"], oracle.tile.name
        assert done.prt_hits == oracles.hits_of(oracle.tile, unit), oracle.tile.name
        start = int(record["output"]) - trace.base
        result = memory[start : start + oracle.result.nbytes]
        assert result.tobytes() == oracle.result.tobytes(), oracle.tile.name
        start = int(record["completion"]) - trace.base
        written = memory[start : start + COMPLETION.itemsize].view(COMPLETION)[0]
        assert written.item() == (done.status, done.detail, done.cycles, done.lookups, done.prt_hits)


def test_refused_descriptors(oracles: ModuleType, tmp_path: Path, unit: _core.SliceConfig) -> None:
    """The reference and the core's unit refuse alike, and the unit writes nothing but the record."""
    (plain,) = (oracle.tile for oracle in oracles.load_oracles() if oracle.tile.name == "plain")
    path = tmp_path / "plain.trace"
    for row in oracles.load_bad_descriptors():
        write_trace(path, [oracles.without_prt(plain)])
        oracles.change_descriptor(path, 0, row["set"])
        trace = read_trace(path)
        assert DESCRIPTOR.fields is not None
        expected = Status[row["status"]], DESCRIPTOR.fields[row["field"]][1]
        with pytest.raises(DescriptorError) as refusal:
            decode_tile(trace, 0)
        assert (refusal.value.status, refusal.value.detail) == expected, row["name"]
        assert row["field"] in str(refusal.value)
        assert row["status"] in str(refusal.value)

        memory = memory_of(trace)
        record: Any = trace.descriptors[0]
        done = _core.execute_descriptor(unit, record.tobytes(), memory, trace.base)
        assert (done.status, done.detail) == expected, row["name"]
        before = memory_of(trace)
        if row["field"] != "completion":
            start = int(record["completion"]) - trace.base
            before[start : start + COMPLETION.itemsize] = memory[start : start + COMPLETION.itemsize]
        assert np.array_equal(memory, before), row["name"]


def test_damaged_descriptors(oracles: ModuleType, tmp_path: Path, unit: _core.SliceConfig) -> None:
    """Whatever the bytes of a descriptor: reference and unit give the same status, field and result."""
    small = [oracle.tile for oracle in oracles.load_oracles() if oracle.tile.k < 30 and oracle.tile.n < 30]
    write_trace(tmp_path / "small.trace", small)
    trace = read_trace(tmp_path / "small.trace")
    rng = np.random.default_rng(11)
    seen = set()
    for round_ in range(600):
        index = round_ % len(trace)
        raw = bytearray(trace.descriptors[index].tobytes())
        for _ in range(int(rng.integers(1, 3))):
            # Mostly the widths and flags; addresses too.
            at = int(rng.integers(40, 56)) if rng.integers(4) else int(rng.integers(64))
            raw[at] = int(rng.choice([int(rng.integers(256)), int(rng.integers(9)), raw[at] ^ 1]))
        record = np.frombuffer(bytes(raw), DESCRIPTOR)
        changed = dataclasses.replace(trace, descriptors=record)
        memory = memory_of(trace)
        done = _core.execute_descriptor(unit, bytes(raw), memory, trace.base)
        seen.add(Status(done.status))
        status, detail, expected = replayed(changed)
        if status == Status.ERR_FAULT and (done.status, done.detail) != (status, detail):
            # The replay reads the stored image alone; a unit could read where results belong, too.
            continue
        assert (done.status, done.detail) == (status, detail), raw.hex()
        if expected is not None:
            start = int(record["output"][0]) - trace.base
            result = memory[start : start + expected.nbytes].view(expected.dtype).reshape(expected.shape)
            assert same_results(result, expected), raw.hex()
    assert len(seen) >= 9


def replayed(trace: Trace) -> tuple[int, int, NDArray[Any] | None]:
    """Status, detail and the result by plain products of a trace's first descriptor."""
    try:
        return Status.OK, 0, decode_tile(trace, 0).expected()
    except DescriptorError as refusal:
        return refusal.status, refusal.detail, None

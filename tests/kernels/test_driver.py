"""The LUTMM driver under emulation: shared cases, all formats, refused and random descriptors, bad traces."""

import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sailsim import _core
from sailsim.lut_gemv.descriptor import Status
from sailsim.lut_gemv.trace_file import read_trace, replay, write_trace
from sailsim.sim.machine.system_files import load_system

from .conftest import Refused, Report, Run

pytestmark = pytest.mark.aarch64


def changed(good: Path, offset: int, value: bytes | None, folder: Path) -> Path:
    """A trace with other bytes at an offset, or with none from there on."""
    data = bytearray(good.read_bytes())
    data[offset : None if value is None else offset + len(value)] = value or b""
    (folder / "changed.trace").write_bytes(data)
    return folder / "changed.trace"


def test_shared_cases(report: Report, oracles: ModuleType, cases: Path) -> None:
    """Results, look-ups, PRT hits and cycles are those of every other level."""
    oracle_list = oracles.load_oracles()
    *descriptors, summary = report("lutmm_driver", "--trace", cases, "--list", "--check-inputs")
    assert summary["ok"] == summary["emulated"] == summary["descriptors"] == len(oracle_list)
    assert summary["checked_words"] == sum(oracle.result.size for oracle in oracle_list)
    assert (summary["wrong_words"], summary["inputs"]) == (0, "kept")

    trace = read_trace(cases)
    memory = np.zeros(trace.image_bytes, np.uint8)
    memory[: len(trace.image)] = trace.image
    unit = load_system("sail-n1").slice_config()
    for oracle, record, line in zip(oracle_list, trace.descriptors, descriptors, strict=True):
        core = _core.execute_descriptor(unit, record.tobytes(), memory, trace.base)
        assert (line["status"], line["wrong_words"]) == ("OK", 0), oracle.tile.name
        assert line["lookups"] == oracle.counts["lookups"] == core.lookups, oracle.tile.name
        assert line["prt_hits"] == oracles.hits_of(oracle.tile, unit) == core.prt_hits, oracle.tile.name
        assert line["cycles"] == core.cycles, oracle.tile.name


@pytest.mark.parametrize(
    ("threads", "units", "in_flight", "repeats"), [(2, 1, 1, 3), (3, 2, 2, 1), (4, 32, 100, 1)]
)
def test_cores_and_units(
    report: Report, cases: Path, threads: int, units: int, in_flight: int, repeats: int
) -> None:
    """Each pass starts afresh."""
    given = {"--threads": threads, "--units": units, "--in-flight": in_flight, "--repeats": repeats}
    words = [word for pair in given.items() for word in pair]
    (summary,) = report("lutmm_driver", "--trace", cases, *words)
    assert (summary["threads"], summary["units"], summary["in_flight"]) == (threads, units, in_flight)
    assert summary["ok"] == summary["descriptors"] == summary["emulated"] // repeats
    assert summary["wrong_words"] == 0


def test_units_that_the_machine_does_not_have(run: Run, cases: Path) -> None:
    """The system file has 32 slices: descriptors for units 32..63 end in ERR_UNIT with the unit's number."""
    result = run("lutmm_driver", "--trace", cases, "--units", 64, "--list")
    assert result.returncode == 1
    *lines, summary = map(json.loads, result.stdout.splitlines())
    for index, line in enumerate(lines):
        unit = index % 64
        absent = ("ERR_UNIT", unit, 0)
        answer = (line["status"], line["detail"], line["cycles"])
        assert answer == absent if unit >= 32 else answer[0] == "OK", unit
    assert summary["errors"] == sum(index % 64 >= 32 for index in range(len(lines))) > 0
    assert summary["changed_bytes"] == 0


def test_a_trace_that_expects_nothing(report: Report, oracles: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "unexpected.trace"
    write_trace(path, (oracle.tile for oracle in oracles.load_oracles()), expect=False)
    (summary,) = report("lutmm_driver", "--trace", path)
    assert summary["ok"] == summary["descriptors"]
    assert (summary["checked_words"], summary["wrong_words"]) == (0, 0)


def test_every_format_is_exact(report: Report, format_trace: Path) -> None:
    *lines, summary = report("lutmm_driver", "--trace", format_trace, "--list", "--check-inputs")
    trace = read_trace(format_trace)
    assert summary["ok"] == summary["emulated"] == len(trace)
    assert (summary["wrong_words"], summary["inputs"]) == (0, "kept")
    assert summary["checked_words"] == sum(int(d["batch"]) * int(d["n"]) for d in trace.descriptors)
    for line, result in zip(lines, replay(trace), strict=True):
        assert (line["status"], line["lookups"]) == ("OK", result.lookups), result.name
        assert line["prt_hits"] == result.prt_hits, result.name


def test_a_wrong_result_is_found(run: Run, cases: Path, tmp_path: Path) -> None:
    """One bit of one expected word: the driver must say so and end with 1."""
    trace = read_trace(cases)
    at = 4096 + int(trace.expected[5]) - trace.base
    other = bytes([cases.read_bytes()[at] ^ 1])
    result = run("lutmm_driver", "--trace", changed(cases, at, other, tmp_path))
    assert result.returncode == 1
    assert '"wrong_words": 1,' in result.stdout


def test_expected_results_that_are_not_there(refused: Refused, cases: Path, tmp_path: Path) -> None:
    trace = read_trace(cases)
    start = int.from_bytes(cases.read_bytes()[64:72], "little")
    astray = (trace.base + len(trace.image)).to_bytes(8, "little")
    path = changed(cases, start, astray, tmp_path)
    sentence = f"trace {path}: the expected output of descriptor 0 is not in the stored image"
    assert refused("lutmm_driver", "--trace", path) == sentence


def test_refused_descriptors(run: Run, oracles: ModuleType, tmp_path: Path) -> None:
    """All in one trace: each ends in its status, changes nothing, and the next one is served."""
    path = tmp_path / "refused.trace"
    expected = oracles.write_refused_trace(path)
    result = run("lutmm_driver", "--trace", path, "--list", "--check-inputs")
    assert result.returncode == 1
    *lines, summary = map(json.loads, result.stdout.splitlines())
    assert [{key: line[key] for key in expected[0]} for line in lines] == expected
    assert (summary["ok"], summary["changed_bytes"], summary["inputs"]) == (1, 0, "kept")
    assert summary["errors"] + summary["unanswered"] == len(expected) - 1


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [
        (0, b"X", "is no trace"),
        (8, b"\x07", "has version 7; allowed is 1"),
        (12, b"\x09", "has abi_version 9; allowed is 1"),
        (16, b"\x01", "has base 0x1000000001; allowed are multiples of 64 above 0"),
        (24, bytes(8), "has image_bytes 0; allowed are multiples of 64"),
        (32, b"\xff" * 8, "is cut short: the image needs"),
        (40, b"\xff" * 7, "stores 72057594037927935 bytes of an image; allowed are its image_bytes"),
        (48, b"\xff" * 8, "is cut short: the descriptor array needs"),
        (56, bytes(8), "has descriptor_count 0; allowed are 1..2^34"),
        (56, b"\x00\x00\x01", "is cut short: the descriptor array needs"),
        (64, b"\xff" * 8, "is cut short: the array of expected outputs needs"),
        *((length, None, "is cut short") for length in (0, 87, 100, 5000)),
    ],
)
def test_a_damaged_trace_ends_in_one_sentence(
    refused: Refused, cases: Path, tmp_path: Path, offset: int, value: bytes | None, words: str
) -> None:
    assert words in refused("lutmm_driver", "--trace", changed(cases, offset, value, tmp_path))


def test_missing_traces(refused: Refused, tmp_path: Path) -> None:
    assert refused("lutmm_driver") == "--trace is missing; see --help"
    assert refused("lutmm_driver", "--trace", tmp_path / "none") == f"trace {tmp_path}/none cannot be opened"
    refused("lutmm_driver", "--trace", tmp_path)


def test_a_memory_that_cannot_be_written(refused: Refused, cases: Path) -> None:
    words = refused("lutmm_driver", "--trace", cases, "--memory", "/none/x")
    assert words == "--memory /none/x cannot be written"


# No trace is without answers at its end, the emulated unit holds all these tiles, and it has a unit 0.
UNREACHABLE = {Status.PENDING, Status.ERR_CAPACITY, Status.ERR_UNIT}


@pytest.mark.parametrize("seeds", [range(1, 2), pytest.param(range(2, 22), marks=pytest.mark.slow)])
def test_random_descriptors(run: Run, oracles: ModuleType, tmp_path: Path, seeds: range) -> None:
    """Every byte of the image is what it is after the core has had them. With many every status is met; the
    rarest is ERR_OVERFLOW."""
    statuses: Counter[str] = Counter()
    trace, memory = tmp_path / "random.trace", tmp_path / "memory"
    for seed in seeds:
        oracles.write_random_trace(trace, 1000, seed)
        met, expected = oracles.replayed(trace, load_system("sail-n1").slice_config())
        run("lutmm_driver", "--trace", trace, "--in-flight", 1, "--memory", memory)
        assert oracles.differing_words(np.fromfile(memory, np.uint8), expected).size == 0, seed
        statuses += met
    assert statuses["OK"] >= 300 * len(seeds)
    assert len(seeds) == 1 or all(statuses[each.name] >= 5 for each in set(Status) - UNREACHABLE)

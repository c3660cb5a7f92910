import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sailsim import _core
from sailsim.lut_gemv import reference
from sailsim.lut_gemv.codes import WeightCode
from sailsim.sim.machine.system_files import load_system

from .commands import answer, sailsim, sentence_of

RNG = np.random.default_rng(6)
COUNTS = ["lookups", "zero_patterns", "prt_hits", "prt_misses", "table_builds", "table_adds"]
COUNTS += ["row_reads", "row_writes", "conversions", "merges"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.save(tmp_path / "w.npy", RNG.integers(-8, 8, (50, 70)))
    np.save(tmp_path / "x.npy", RNG.integers(-128, 128, (3, 50)))
    return tmp_path


def words(folder: Path, *more: object, **files: str) -> list[object]:
    weights, activations = (folder / files.get(key, f"{key}.npy") for key in ("w", "x"))
    widths: list[object] = [] if "--wbits" in more else ["--wbits", 4]
    return ["gemv", "--weights", weights, "--activations", activations, *widths, "--abits", 8, *more]


def found(folder: Path, *more: object) -> dict[str, Any]:
    return answer(*words(folder, *more))


def test_product_counts_and_cycles(folder: Path) -> None:
    out = found(folder, "--nbw", 3, "--out", folder / "y.npy")
    x, w = np.load(folder / "x.npy"), np.load(folder / "w.npy")
    y = np.load(folder / "y.npy")
    assert y.dtype == np.int64
    assert np.array_equal(y, x @ w)
    assert out["shape"] == {"batch": 3, "k": 50, "n": 70}
    assert out["equal_to_int64_product"] is True
    assert (out["system"], out["substrate"]) == ("sail-n1", "row_dfm")

    config = load_system("sail-n1").slice_config()
    code = WeightCode.twos(4)
    _, counts, profile = reference.lut_gemv(x, code.encode(w), abits=8, code=code, nbw=3)
    assert list(out["counts"]) == COUNTS
    assert out["passes"] == 1
    assert out["counts"] == counts.as_dict()
    # 70 outputs over 32 slices: 24 slices of 3.
    assert (out["outputs_per_slice"], out["slices_used"]) == (3, 24)
    assert out["counts_total"] == {key: 24 * value for key, value in out["counts"].items()}

    in_core = _core.PatternProfile(profile.zero, profile.hits, profile.misses)
    timing = _core.TileTimer(config, (50, 70, 3, 4, 4, 8, 3, 0), scaled=False).time([in_core])[0]
    phases = ["load", "build", "lookup", "convert", "write_back", "total"]
    assert out["cycles"] == {phase: getattr(timing, phase) for phase in phases}
    assert out["cycles"]["total"] == sum(out["cycles"][phase] for phase in phases[:-1])


def test_codebook_weights_are_codes(folder: Path) -> None:
    book = np.array([-127, 3, 50, 113], np.int16)
    codes = RNG.integers(0, 4, (50, 9))
    np.save(folder / "w.npy", codes)
    np.save(folder / "c.npy", book)
    out = found(folder, "--wbits", 2, "--code", folder / "c.npy", "--out", folder / "y.npy")
    assert out["equal_to_int64_product"] is True
    assert np.array_equal(np.load(folder / "y.npy"), np.load(folder / "x.npy") @ book[codes].astype(int))


@pytest.mark.parametrize(
    ("options", "low", "high"),
    [
        (["--wbits", 2, "--code", "ternary"], -1, 1),
        (["--wbits", 4, "--code", "offset:3"], -3, 12),
        (["--wbits", 1], -1, 0),
        (["--wbits", 8, "--unsigned"], -128, 127),
    ],
)
def test_other_codes_take_values(folder: Path, options: list[object], low: int, high: int) -> None:
    np.save(folder / "w.npy", RNG.integers(low, high, (50, 4), endpoint=True))
    if "--unsigned" in options:
        np.save(folder / "x.npy", np.asfortranarray(RNG.integers(0, 256, (3, 50), dtype=np.uint8)))
    out = found(folder, *options, "--out", folder / "y.npy")
    assert out["equal_to_int64_product"] is True
    expected = np.load(folder / "x.npy").astype(int) @ np.load(folder / "w.npy")
    assert np.array_equal(np.load(folder / "y.npy"), expected)


def assert_refused(words: list[object], *said: str) -> None:
    sentence = sentence_of(sailsim(*words))
    assert all(word in sentence for word in said), sentence


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--wbits", 3], ["weights hold", "twos code of 3 bits", "-4"]),
        (["--unsigned"], ["activations hold", "allowed is 0..255"]),
        (["--system", "graviton2"], ["graviton2", "[pim]"]),
        (["--code", "offset:16"], ["zero_point 16"]),
        (["--code", "ternary"], ["wbits is 4; allowed with --code ternary is 2."]),
        (["--code", ""], ["code is ''"]),
    ],
)
def test_bad_options(folder: Path, options: list[object], said: list[str]) -> None:
    """Widths and arrays that are none: tests/lut_gemv."""
    assert_refused(words(folder, *options), *said)


def npy(shape: str, descr: str = "<i8", data: bytes = b"") -> bytes:
    """A file with a header that may promise more than there is."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


WHOLE_ZIP = io.BytesIO()
np.savez(WHOLE_ZIP, a=np.ones(3))
FILES = {
    "empty": b"",
    "not npy": b"GGUF" + bytes(100),
    "a pickle": b"\x80\x04\x95\x10\x00",
    "cut in the magic": b"\x93NUM",
    "cut in the header": npy("(50, 70)")[:40],
    "cut in the data": npy("(50, 70)", data=bytes(100)),
    "huge": npy("(1099511627776, 1048576)", data=bytes(64)),
    "beyond 64 bits": npy("(1" + "0" * 30 + ", 3)"),
    "negative": npy("(-1, 4)"),
    "a header that is no dictionary": b"\x93NUMPY\x01\x00\x04\x00[[[[",
    "a header of brackets": b"\x93NUMPY\x02\x00" + (9000).to_bytes(4, "little") + b"(" * 9000,
    "objects": npy("(2, 2)", "|O", bytes(32)),
    "a zip": WHOLE_ZIP.getvalue(),
    "a damaged zip": b"PK\x03\x04 not really",
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_arrays(folder: Path, name: str) -> None:
    (folder / "bad.npy").write_bytes(FILES[name])
    assert_refused(words(folder, w="bad.npy"), "--weights", "bad.npy", ".npy file")
    assert_refused(words(folder, x="bad.npy"), "--activations")
    assert_refused(words(folder, "--code", folder / "bad.npy"), "--code")

"""Programs that measure: the NEON baselines against their scalar references, and the memory's probes."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import Refused, Report

pytestmark = pytest.mark.aarch64

BLOCK = {"q8_0": 32, "q4_0": 32, "q4_1": 32, "q2": 256}
BITS = {"q8_0": 8.5, "q4_0": 4.5, "q4_1": 5.0, "q2": 2.625}
CODE = {"Block32<8, false>": 62, "Block32<4, false>": 73, "Block32<4, true>": 79, "Q2": 165}
"""Instructions of a pass over a panel at batch 1, by g++ 14. Of the innermost loop, 256 multiply-accumulates,
are 49, 58, 62 and 92."""


@pytest.mark.parametrize("weight_format", BLOCK)
@pytest.mark.parametrize(("blocks", "n", "batch"), [(1, 1, 1), (3, 29, 5), (2, 64, 7)])
def test_every_result_has_the_bits_of_the_scalar_reference(
    report: Report, weight_format: str, blocks: int, n: int, batch: int
) -> None:
    k = blocks * BLOCK[weight_format]
    options = ("--format", weight_format, "--k", k, "--n", n, "--batch", batch, "--check", n, "--repeats", 1)
    (record,) = report("neon_gemv", *options)
    assert record["checked_rows"] == n
    assert record["mismatches"] == 0
    assert record["macs"] == k * n * batch
    assert record["weight_bytes"] == -(-n // 8) * 8 * k * BITS[weight_format] / 8


@pytest.mark.parametrize(
    ("weight_format", "checksum"),
    [
        ("q8_0", "04cb3a7777547948"),
        ("q4_0", "ebf8f560c97af478"),
        ("q4_1", "6c82767a5f99d18a"),
        ("q2", "62b23b998a54992a"),
    ],
)
def test_threads_do_not_change_a_bit_and_the_seed_does(
    report: Report, weight_format: str, checksum: str
) -> None:
    """The results are the same on every machine; the rounding of activations is part of them."""
    options = ("--format", weight_format, "--k", 512, "--n", 100, "--batch", 3, "--repeats", 2)
    checksums = {report("neon_gemv", *options, "--threads", t)[0]["checksum"] for t in (1, 2, 5)}
    assert checksums == {checksum}
    assert report("neon_gemv", *options, "--seed", 2)[0]["checksum"] not in checksums


def test_the_passes_over_a_panel_are_short(programs: Path) -> None:
    nm = next((tool for tool in ("aarch64-linux-gnu-nm", "nm") if shutil.which(tool)), None)
    if nm is None:
        pytest.skip("no nm for AArch64")
    symbols = subprocess.run([nm, "-SC", programs / "neon_gemv"], capture_output=True, text=True, check=True)
    found = re.findall(
        r" (\w+) \w void sailsim::kernels::multiply_panel<sailsim::kernels::(.*), 1>\(", symbols.stdout
    )
    code = {name: int(size, 16) / 4 for size, name in found}
    assert code.keys() == CODE.keys()
    assert all(code[name] <= 1.1 * CODE[name] for name in CODE), code


def test_chase_walks_every_footprint_and_whole_rounds(report: Report) -> None:
    records = report("pointer_chase", "--min", 4096, "--max", 65536, "--loads", 5000)
    assert [record["footprint_bytes"] for record in records] == [4096, 8192, 16384, 32768, 65536]
    for record in records:
        assert record["loads"] >= 5000
        assert record["loads"] % (record["footprint_bytes"] // 64) == 0
        assert record["ns_per_load"] == pytest.approx(record["ns"] / record["loads"], rel=1e-4)


@pytest.mark.parametrize("threads", [1, 3])
def test_bandwidth_counts_the_bytes_of_each_kind(report: Report, threads: int) -> None:
    records = report("bandwidth", "--bytes", 1 << 18, "--threads", threads, "--repeats", 2)
    assert [record["kind"] for record in records] == ["read", "write", "copy", "triad"]
    for arrays, record in zip((1, 1, 2, 3), records, strict=True):
        assert record["bytes"] == arrays << 18
        assert record["mismatches"] == 0
        assert record["gb_per_s"] == pytest.approx(record["bytes"] / record["best_ns"], rel=1e-4)


def test_bandwidth_of_one_kind_with_odd_sizes(report: Report) -> None:
    (record,) = report("bandwidth", "--kind", "write", "--bytes", 5000, "--threads", 3, "--check", 7)
    assert (record["kind"], record["array_bytes"], record["mismatches"]) == ("write", 4992, 0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("neon_gemv", "--format", "q4_0", "--k", 48), "--k is 48; q4_0 needs a multiple of 32"),
        (("neon_gemv", "--format", "q2", "--k", 128), "--k is 128; q2 needs a multiple of 256"),
        (("neon_gemv", "--format", "q3"), "--format is 'q3'; allowed: q8_0|q4_0|q4_1|q2"),
        (("neon_gemv", "--n", "0"), "--n is '0'; allowed: whole numbers 1..1048576"),
        (("neon_gemv", "--n", "12x"), "--n is '12x'; allowed: whole numbers 1..1048576"),
        (("neon_gemv", "--threads", "65"), "--threads is '65'; allowed: whole numbers 1..64"),
        (("neon_gemv", "--colour", "red"), "no option --colour; see --help"),
        (("neon_gemv", "--n"), "--n needs a value"),
        (("neon_gemv", "--m5", "yes"), "--m5 takes no value, got 'yes'"),
        (("neon_gemv", "fast"), "unexpected argument 'fast'; options are --name value"),
        (
            ("pointer_chase", "--max", 4096, "--min", 8192),
            "--min is 8192; allowed: at most --max, which is 4096",
        ),
        (("bandwidth", "--bytes", 63), "--bytes is '63'; allowed: whole numbers 64..17179869184"),
    ],
)
def test_bad_options_end_in_one_sentence(refused: Refused, options: tuple[str, ...], sentence: str) -> None:
    assert refused(*options) == sentence

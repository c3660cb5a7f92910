"""The pointer chase and the bandwidth program: they check their work, this checks that they did it."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.aarch64

Report = Callable[..., list[dict[str, Any]]]
Run = Callable[..., Any]


def test_chase_walks_every_footprint_and_whole_rounds(report: Report) -> None:
    records = report("pointer_chase", "--min", 4096, "--max", 65536, "--loads", 5000)
    assert [record["footprint_bytes"] for record in records] == [4096, 8192, 16384, 32768, 65536]
    for record in records:
        assert record["loads"] >= 5000
        assert record["loads"] % (record["footprint_bytes"] // 64) == 0
        assert record["ns_per_load"] == pytest.approx(record["ns"] / record["loads"], rel=1e-4)


def test_chase_by_pages(report: Report) -> None:
    (record,) = report("pointer_chase", "--min", 65536, "--max", 65536, "--window", 4096)
    assert record["window_bytes"] == 4096


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


def test_bad_options_end_in_one_sentence(run: Run) -> None:
    result = run("pointer_chase", "--min", 8192, "--max", 4096)
    assert (result.returncode, result.stderr) == (
        2,
        "error: --min is 8192; allowed: at most --max, which is 4096\n",
    )
    result = run("pointer_chase", "--window", 100)
    assert (result.returncode, result.stderr) == (2, "error: --window is 100; allowed: multiples of 64\n")
    result = run("bandwidth", "--bytes", 63)
    assert result.returncode == 2

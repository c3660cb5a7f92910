"""What is committed of gem5's measurements: tiles hold what they must, rows say where they come from."""

import csv
from pathlib import Path

import pytest

from sailsim.analysis.results.gem5_steps import decode_rows, with_engine
from sailsim.base.atomic import read_records

ROOT = Path(__file__).parents[2]
FORMATS = ("q8_0", "q4_0", "q4_1", "q2")


def test_the_committed_tiles_hold_what_they_must() -> None:
    data = read_records(ROOT / "analysis" / "data" / "gem5" / "tiles.jsonl")
    tiles = data["tiles"]
    assert {tile["wbits"] for tile in tiles} == set(range(2, 9))
    assert all(tile["correct"] and tile["phases_equal"] for tile in tiles)
    assert max(abs(tile["error"]) for tile in tiles if tile["slices"] == 1) < 0.05
    apart = [tile for tile in tiles if tile["layout"] == "rows"]
    assert sorted(tile["wbits"] for tile in apart) == [2, 4, 8]
    assert max(abs(tile["bare_error"]) for tile in apart) < 0.03
    assert max(abs(tile["error"]) for tile in tiles) < 0.14
    assert [len(each["groups"]) for each in data["timelines"]] == [1024, 1024]
    assert set(data["run"]) >= {"gem5", "commit", "date", "build", "options"}


def test_every_kernel_rate_says_where_it_comes_from() -> None:
    path = ROOT / "analysis" / "data" / "gem5_kernels.csv"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(lines))
    assert {row["format"] for row in rows} == set(FORMATS)
    for row in rows:
        assert row["kind"] == "fitted"
        assert all(row[name] for name in ("gem5_version", "date", "commit", "options"))
        cycles = int(row["ns"]) * 2.5 * int(row["threads"]) / int(row["macs"])  # 2.5 GHz
        assert float(row["cycles_per_mac"]) == pytest.approx(cycles, abs=1e-4)


def test_the_engines_steps_beside_committed_runs_are_todays() -> None:
    """`python research/gem5_data.py engine` writes them anew."""
    on_units = [row for row in decode_rows() if row["linears"] == "lutmm"]
    assert len(on_units) == 29
    for row in on_units:
        assert row["engine_cycles"] == pytest.approx(with_engine(row)["engine_cycles"], rel=1e-12)

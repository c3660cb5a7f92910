"""What is committed of gem5's measurements: pages say what their data says, rows say where they come from."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sailsim.sim.gem5.measure import FORMATS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("script", ["gem5_tiles_page.py", "gem5_kernels_table.py"])
def test_the_page_is_what_its_data_says(script: str) -> None:
    check = [sys.executable, str(ROOT / "tools" / script), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_committed_tiles_hold_what_they_must() -> None:
    data = json.loads((ROOT / "docs" / "gem5-tiles.json").read_text())
    tiles = data["tiles"]
    assert {tile["wbits"] for tile in tiles} == set(range(2, 9))
    assert all(tile["correct"] and tile["phases_equal"] for tile in tiles)
    assert max(abs(tile["error"]) for tile in tiles if tile["slices"] == 1) < 0.05
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
    for fmt in FORMATS:
        own = {(row["weights_in"], row["threads"], row["batch"]) for row in rows if row["format"] == fmt}
        assert own >= {
            ("L2", "1", "1"),
            ("L2", "1", "4"),
            ("L2", "4", "1"),
            ("DRAM", "1", "1"),
            ("DRAM", "4", "1"),
        }

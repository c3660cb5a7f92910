"""What is committed of gem5's measurements, and the engine's side of it."""

import csv
from math import log
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from sailsim.base.atomic import read_records
from sailsim.sim.gem5.stored import ALONE, NeighbourLoad, load_of
from sailsim.sim.gem5.validation import CODES, drawn, drawn_tiles, shared_bandwidth
from sailsim.sim.machine import dram
from sailsim.sim.machine.dram import MAX_QUEUE_LOAD
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.step.tile_time import timed_tile
from sailsim.sim.step.tiles import PimUnits

DATA = Path(__file__).parents[3] / "analysis" / "data"
SAIL = load_system("sail-n1")


def committed(name: str) -> Any:
    return read_records(DATA / "gem5" / name)


def committed_tiles(load: NeighbourLoad) -> list[dict[str, Any]]:
    """Tiles on the machine's own substrate that had so much beside them; all are exact, phase by phase."""
    rows = committed("validation.jsonl")["tiles"]
    rows = [row for row in rows if (row["substrate"], load_of(row)) == ("row_dfm", load)]
    assert all(row["correct"] and row["phases_equal"] for row in rows)
    return rows


def beyond_refreshes(row: dict[str, Any]) -> float:
    """How far off the engine is, less whole refreshes, of which it has the mean."""
    off = abs(row["engine_cycles"] - row["gem5_cycles"])
    return (off - row["refreshes"] * SAIL.memory.timing.trfc.si * SAIL.pim.clock.si) / row["gem5_cycles"]


def test_the_committed_tiles_alone_agree():
    rows = committed_tiles(ALONE)
    small = [row for row in rows if row["gem5_cycles"] < 5000]
    assert (len(rows) >= 204, len(small) >= 100) == (True, True)
    for some in (rows, small):
        errors = [row["error"] for row in some]
        assert median(map(abs, errors)) < 0.02
        assert abs(median(errors)) < 0.005  # not too fast and not too slow
    assert max(map(beyond_refreshes, rows)) < 0.16


@pytest.mark.parametrize(
    ("units", "streams", "offset"), [(1, 16, 0), (1, 16, 1 << 20), (5, 16, 0), (5, 16, 1 << 20), (5, 0, 0)]
)
def test_tiles_beside_others_agree_in_the_median(units, streams, offset):
    """What a unit and a reader lose by closing each other's rows is not modelled: the worst is far off."""
    rows = committed_tiles(NeighbourLoad(units, streams, stream_offset=offset))
    errors = [row["error"] for row in rows]
    assert len(rows) >= 60
    assert median(map(abs, errors)) < 0.07
    assert max(errors) < 0.15  # seldom too slow: conflicts that the engine does not know make gem5 slower
    assert max(map(beyond_refreshes, rows)) < 0.45


def test_the_committed_tiles_of_a_matrix_hold_what_they_must():
    data = committed("tiles.jsonl")
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


def test_every_kernel_rate_says_where_it_comes_from():
    text = (DATA / "gem5_kernels.csv").read_text()
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    assert {row["format"] for row in rows} == {"q8_0", "q4_0", "q4_1", "q2"}
    for row in rows:
        assert row["kind"] == "fitted"
        assert all(row[name] for name in ("gem5_version", "date", "commit", "options"))
        cycles = int(row["ns"]) * 2.5 * int(row["threads"]) / int(row["macs"])  # 2.5 GHz
        assert float(row["cycles_per_mac"]) == pytest.approx(cycles, abs=1e-4)


def test_every_loop_of_an_n1_is_held_to_llvm_mca():
    text = (DATA / "gem5_loops.csv").read_text()
    rows = [r for r in csv.DictReader(text.splitlines()[1:]) if r["core"] == "neoverse-n1"]
    assert len(rows) == 41
    for row in rows:
        gem5, mca, ports = (float(row[name]) for name in ("gem5", "mca", "ports"))
        assert float(row["gem5_over_mca"]) == pytest.approx(gem5 / mca, abs=5e-3)
        assert abs(float(row["gem5_over_mca"]) - 1) <= 0.1, row["loop"]
        assert gem5 <= ports, row["loop"]


def test_the_committed_data_are_of_this_engine():
    """Tiles of the engine as it is now take the cycles that were compared."""
    rows = {row["tile"]: row for row in committed_tiles(ALONE)}
    seed = committed("validation.jsonl")["seed"]
    units = PimUnits(SAIL, substrate=None, convert="memory", prt=True, slices=1, operands="dram")
    for tile in drawn_tiles(drawn(seed, len(rows)), seed + 1000)[::5]:
        timed = timed_tile(units, tile)
        around = timed.kind.overheads["descriptor"] + timed.kind.overheads["record"]
        seconds = timed.throttled(units.dram.rate)[0] - around
        assert rows[tile.name]["engine_cycles"] == pytest.approx(seconds * units.clock, abs=1.1)


def test_the_committed_bandwidths_are_of_this_engine():
    rows = committed("dram.jsonl")["rows"]
    for row in rows:
        case = (row["units"], row["streams"], row["stream_gb_s"])
        found = shared_bandwidth(SAIL, *case, times=row["times"])[0] / 1e9
        assert found == pytest.approx(row["closed_gb_s"], abs=0.01)
    alone = [row for row in rows if not row["streams"]]
    assert max(abs(row["closed_error"]) for row in alone) < 0.1
    # Even bursts that meet five units which ask in step as well: both wait longer than the engine knows.
    beyond = [row for row in rows if abs(row["closed_error"]) >= 0.25]
    assert [(row["units"], row["stream_gb_s"], row["times"]) for row in beyond] == [(5, 8.0, "in-step")]
    # Readers that ask at random times, each for itself, are what the engine takes a step's cores to be.
    random = [row for row in rows if row["streams"] and row["times"] == "random"]
    one = [row for row in random if row["units"] == 1]
    assert len(one) == 6
    assert max(abs(row["error"]) for row in one) < 0.05
    assert median(abs(row["error"]) for row in random) < 0.08


def test_the_load_at_which_waits_end_is_where_one_unit_waits_as_in_gem5(monkeypatch):
    """The fit of `MAX_QUEUE_LOAD`: one unit, which waits for nothing but readers at random times."""
    rows = [row for row in committed("dram.jsonl")["rows"] if row["units"] == 1 and row["times"] == "random"]

    def off(load: float) -> float:
        monkeypatch.setattr(dram, "MAX_QUEUE_LOAD", MAX_QUEUE_LOAD.model_copy(update={"value": load}))
        share = SAIL.memory.read_share.value
        found = [
            shared_bandwidth(SAIL, 1, row["streams"], row["stream_gb_s"], share, "random")[0] for row in rows
        ]
        return sum(log(rate / 1e9 / row["gem5_gb_s"]) ** 2 for rate, row in zip(found, rows, strict=True))

    assert min((0.8, 0.85, 0.9, 0.95, 0.98), key=off) == MAX_QUEUE_LOAD.value == 0.9


def test_tiles_are_drawn_by_their_seed_and_of_all_kinds() -> None:
    shapes = drawn(5, 204)
    assert shapes == drawn(5, 204)
    assert shapes[:20] == drawn(5, 20)
    assert len(set(shapes) - set(drawn(6, 204))) == 204
    ks, ns, batches, wbits, abits, nbws, groups, codes = zip(*shapes, strict=True)
    assert set(codes) == set(CODES)
    assert set(wbits) == set(range(2, 9))
    assert set(abits) == set(range(4, 9))
    assert set(nbws) == {2, 3, 4, 5}
    assert (min(ks) >= 8, max(ks) < 724, min(ns) >= 4, max(ns) < 363, {*batches} == {*range(1, 12)}) == (
        True,
    ) * 5
    assert 80 < sum(size > 0 for size in groups) < 124
    one, other = (drawn_tiles(shapes[:3], seed) for seed in (1, 2))
    assert [tile.name for tile in one] == [tile.name for tile in other]
    assert not (one[0].x == other[0].x).all()

"""The PIM unit and the instruction in gem5 itself."""

import csv
import json
from pathlib import Path

import pytest

from sailsim.lut_gemv.trace_file import IMAGE_OFFSET
from sailsim.sim.gem5.binary import gem5_unit, read_dumps
from sailsim.sim.gem5.stored import NeighbourLoad
from sailsim.sim.gem5.validation import compare, drawn_groups, summary
from sailsim.sim.machine.system_files import load_system, vary

pytestmark = pytest.mark.gem5
GOLDEN = Path(__file__).with_name("golden_stats.json")
BARE = Path(__file__).with_name("bare_replay.py")
TILE_BY_TILE = ("--phase-ends", *range(1, 8))


@pytest.fixture
def bare(script, small_trace, tmp_path):
    """Runs bare_replay.py, whose tiles are exact: when each was answered, and the last tick."""

    def run(*words, to="out"):
        (tmp_path / "unit.txt").write_text(gem5_unit(load_system("sail-n1"), t_zero=0, t_prt=0))
        done = script(BARE, small_trace, "--unit", tmp_path / "unit.txt", *words, to=to)
        last = [line for line in done.stdout.splitlines() if line.startswith("sailsim-gem5: replay done at")]
        assert last, done.stdout[-2000:] + done.stderr[-2000:]
        with (tmp_path / to / "tiles.csv").open(newline="") as file:
            tiles = list(csv.DictReader(file))
        assert [row["good"] for row in tiles] == ["1"] * 8
        return [int(row["answered_ps"]) for row in tiles], last[0]

    return run


def test_replayed_results_are_exact_and_statistics_as_recorded(gem5, small_trace, tmp_path):
    run = gem5.replay(load_system("sail-n1"), small_trace, tmp_path, units=8)
    assert all(tile["good"] for tile in run.tiles())
    golden = json.loads(GOLDEN.read_text())
    found = {name: [run.unit_stat(unit, name) for unit in range(8)] for name in golden}
    assert found == golden


def test_a_wrong_result_is_told(gem5, machine, small_trace, tmp_path):
    """The first tile's weights are 0 and its expected output is not."""
    content = bytearray(small_trace.read_bytes())
    content[IMAGE_OFFSET : IMAGE_OFFSET + 64 * 40 // 2] = bytes(64 * 40 // 2)
    (tmp_path / "wrong.trace").write_bytes(content)
    run = gem5.replay(machine, tmp_path / "wrong.trace", tmp_path / "out")
    assert (run.status, [tile["good"] for tile in run.tiles()]) == (1, [0] + [1] * 7)


def exact(rows):
    return summary(rows)["all_correct"] and summary(rows)["all_phases_equal"]


def drawn(machine, units=1):
    return drawn_groups(machine, units, seed=4, count=48)


def test_phases_equal_the_core_s_and_times_agree(gem5, tmp_path):
    machine = load_system("sail-n1")
    bit_serial = vary(machine, {"pim.substrate": "bit_serial"})
    rows = [each for m in (machine, bit_serial) for each in compare(gem5, m, tmp_path, drawn(m))]
    assert len({(row["substrate"], row["tile"]) for row in rows}) > 80
    assert exact(rows)
    assert summary(rows)["median_error"] < 0.05
    assert summary([row for row in rows if not row["refreshes"]])["worst_error"] < 0.2


@pytest.mark.parametrize(
    "changes",
    [
        {"pim.convert": "unit", "pim.convert_units": 3, "pim.convert_latency": 5, "pim.convert_interval": 2},
        {"pim.dfms": 4, "pim.dfm_split": "n"},
        {"pim.dfms": 4, "pim.dfm_split": "k"},
        {"pim.convert": "unit", "pim.dfms": 2, "pim.dfm_split": "k"},
    ],
    ids=["units convert", "DFMs share outputs", "DFMs share groups", "both"],
)
def test_conversion_units_and_dfms_take_the_core_s_cycles(gem5, tmp_path, changes):
    machine = vary(load_system("sail-n1"), changes)
    rows = compare(gem5, machine, tmp_path, drawn(machine))
    assert exact(rows)
    assert summary(rows)["median_error"] < 0.05


def test_units_that_work_together_have_results_of_their_own(gem5, tmp_path):
    """Five beside readers: each shape once, the slowest of five; all five results are looked at."""
    machine, load = load_system("sail-n1"), NeighbourLoad(units=5, streams=16)
    rows = compare(gem5, machine, tmp_path, drawn(machine, 5), load)
    assert len(rows) == len({row["tile"] for row in rows}) == 48
    assert exact(rows)
    assert summary(rows)["median_error"] < 0.06
    alone = compare(gem5, machine, tmp_path, drawn(machine))
    slower = [both["gem5_cycles"] > one["gem5_cycles"] for both, one in zip(rows, alone, strict=True)]
    assert sum(slower) > 0.9 * len(slower)


@pytest.mark.parametrize("tick", [300_000, 900_000, 2_000_000, 4_000_000])
def test_a_checkpoint_in_the_middle_of_a_tile_ends_at_the_same_tick(bare, tmp_path, tick):
    went_on = bare("--drain", tick, "--checkpoint", tmp_path / "cpt")
    restored = bare("--restore", tmp_path / "cpt", to="restored")
    assert restored == went_on


@pytest.mark.parametrize(
    "words",
    [
        [part for tick in range(100_000, 6_000_000, 100_000) for part in ("--drain", tick)],
        ["--queue", 1],
        ["--mode", "atomic"],
    ],
    ids=["many drains", "a queue of one", "atomic mode"],
)
def test_results_are_exact_however_a_unit_is_hindered(bare, tmp_path, words):
    bare(*words)
    assert (sum(unit_stats(tmp_path / "out", "withheld")) > 0) == ("--queue" in words)


def unit_stats(folder: Path, name: str) -> list[float]:
    """A statistic of both units of bare_replay.py."""
    stats = read_dumps(folder / "stats.txt")[-1]
    return [stats[f"system.units{unit}.{name}"] for unit in range(2)]


def test_the_first_command_after_idling_pays_exactly_the_flush(bare, tmp_path):
    """Capacity mode, tile by tile. The flush is a multiple of the replayer's 100 cycles from poll to poll, so
    that its polls meet the unit's accesses as before."""
    plain, _ = bare(*TILE_BY_TILE, to="plain")
    flushed, _ = bare(*TILE_BY_TILE, "--flush", 1000, to="flushed")
    flush = 1000 * 556  # ps at 1.8 GHz
    later = [after - before for before, after in zip(plain, flushed, strict=True)]
    # Unit 0 has the first tile, unit 1 the second.
    assert later == [flush] + [2 * flush] * 7
    assert unit_stats(tmp_path / "flushed", "flushes") == [1, 1]
    assert unit_stats(tmp_path / "flushed", "stageTicks::flush") == [flush, flush]
    assert unit_stats(tmp_path / "plain", "flushes") == [0, 0]
    for name in ("operands", "groups", "results", "completion"):
        stage = f"stageTicks::{name}"
        assert unit_stats(tmp_path / "flushed", stage) == unit_stats(tmp_path / "plain", stage)


def test_a_substrate_of_ones_own_reaches_the_unit(gem5, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "row_dfm"\nname = "mine"\n'
        'costs.add = { value = [0, 2], unit = "cycles", source = "a test", kind = "paper" }\n'
    )
    plain = load_system("sail-n1")
    mine = vary(plain, {"pim.substrate": str(path)})
    rows = [compare(gem5, machine, tmp_path / "runs", drawn(plain)) for machine in (mine, plain)]
    assert exact([*rows[0], *rows[1]])
    assert all(a["gem5_build"] > b["gem5_build"] for a, b in zip(*rows, strict=True))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("rows 256\n", "", "unit text: rows is missing"),
        ("slices 1", "slices 32", "slices is 32"),
        ("convert memory", "convert cores", "convert is cores"),
    ],
)
def test_a_bad_unit_file_ends_in_one_sentence(script, small_trace, tmp_path, old, new, why):
    unit = tmp_path / "unit.txt"
    text = gem5_unit(load_system("sail-n1"))
    assert old in text
    unit.write_text(text.replace(old, new))
    done = script(BARE, "--unit", unit, small_trace)
    assert done.returncode == 1
    assert sum(why in line for line in done.stderr.splitlines()) == 1
    assert str(unit) in done.stderr


@pytest.mark.parametrize(("settle", "flushes"), [(1, [4, 4]), (1_000_000, [1, 1])])
def test_arrays_hold_lines_again_after_the_settle_time(bare, tmp_path, settle, flushes):
    bare("--flush", 10, "--settle", settle, *TILE_BY_TILE)
    assert unit_stats(tmp_path / "out", "flushes") == flushes
    assert unit_stats(tmp_path / "out", "stageTicks::flush") == [10 * 556 * count for count in flushes]

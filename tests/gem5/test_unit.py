"""The PIM unit and the instruction in gem5 itself."""

import json
import subprocess
from pathlib import Path

import pytest

from sailsim.sim import load_system
from sailsim.sim.agreement import compare, summarise
from sailsim.sim.gem5 import CPU_MODELS

pytestmark = pytest.mark.gem5
GOLDEN = Path(__file__).with_name("golden_stats.json")


def bare(gem5, folder, *arguments):
    """Runs bare_replay.py; the report of the tiles and the last tick."""
    script = Path(__file__).with_name("bare_replay.py")
    done = subprocess.run(
        [str(gem5.path), "-q", "-d", str(folder), str(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    last = [line for line in done.stdout.splitlines() if line.startswith("sailsim-gem5: replay done at")]
    assert last, done.stdout[-2000:] + done.stderr[-2000:]
    return (folder / "tiles.csv").read_text(), last[0]


def test_replayed_results_are_exact_and_statistics_as_recorded(gem5, small_trace, tmp_path):
    run = gem5.replay(load_system("sail-n1"), small_trace, tmp_path, units=8)
    assert all(tile["good"] for tile in run.tiles())
    golden = json.loads(GOLDEN.read_text())
    found = {name: [run.unit_stat(unit, name) for unit in range(8)] for name in golden}
    assert found == golden


def test_phases_equal_the_core_s_and_times_agree(gem5, tmp_path):
    found = summarise(compare(gem5, load_system("sail-n1"), tmp_path, substrates=("row_dfm", "bit_serial")))
    assert found.all_correct
    assert found.all_phases_equal
    assert found.median_error < 0.05
    assert found.worst_error < 0.15


@pytest.mark.parametrize("tick", [300_000, 900_000, 2_000_000, 4_000_000])
def test_a_checkpoint_in_the_middle_of_a_tile_ends_at_the_same_tick(gem5, small_trace, tmp_path, tick):
    went_on = bare(gem5, tmp_path / "a", small_trace, "--drain", tick, "--checkpoint", tmp_path / "cpt")
    restored = bare(gem5, tmp_path / "b", small_trace, "--restore", tmp_path / "cpt")
    assert restored == went_on
    assert [line.split(",")[14] for line in restored[0].splitlines()[1:]] == ["1"] * 8


def test_many_drains_change_no_result(gem5, small_trace, tmp_path):
    drains = [part for tick in range(100_000, 6_000_000, 100_000) for part in ("--drain", tick)]
    report, _ = bare(gem5, tmp_path, small_trace, *drains)
    assert [line.split(",")[14] for line in report.splitlines()[1:]] == ["1"] * 8


def test_a_queue_of_one_holds_stores_back_and_all_tiles_end(gem5, small_trace, tmp_path):
    report, _ = bare(gem5, tmp_path, small_trace, "--queue", 1)
    assert [line.split(",")[14] for line in report.splitlines()[1:]] == ["1"] * 8
    stats = (tmp_path / "stats.txt").read_text()
    withheld = [int(line.split()[1]) for line in stats.splitlines() if ".withheld " in line]
    assert sum(withheld) > 0


def test_atomic_mode_gives_the_same_results(gem5, small_trace, tmp_path):
    report, _ = bare(gem5, tmp_path, small_trace, "--mode", "atomic")
    assert [line.split(",")[14] for line in report.splitlines()[1:]] == ["1"] * 8


@pytest.mark.aarch64
@pytest.mark.parametrize("cpu", CPU_MODELS)
def test_every_core_model_executes_lutmm(gem5, kernels, small_trace, tmp_path, cpu):
    program = [str(kernels / "lutmm_driver"), "--trace", str(small_trace), "--units", "8"]
    run = gem5.run(load_system("sail-n1"), program, tmp_path, cpu=cpu)
    answer = run.json_lines[-1]
    assert run.status == 0
    assert answer["emulated"] == 0
    assert (answer["ok"], answer["wrong_words"]) == (8, 0)


@pytest.mark.aarch64
@pytest.mark.parametrize("cpu", CPU_MODELS)
def test_bad_descriptors_end_in_their_error_code(gem5, kernels, tmp_path, cpu):
    program = [str(kernels / "lutmm_fuzz"), "--count", "100", "--seed", "3"]
    run = gem5.run(load_system("sail-n1"), program, tmp_path, cpu=cpu)
    assert run.status == 0
    assert run.json_lines[-1]["failures"] == 0

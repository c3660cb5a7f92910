"""LUTMM on gem5's core models: results, refusals, full queues, abandoned tiles, many cores, other models."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from sailsim.base.errors import SailsimError
from sailsim.sim.gem5.binary import CPU_MODELS, Gem5, read_dumps
from sailsim.sim.system import System
from sailsim.sim.vary import vary

pytestmark = [pytest.mark.gem5, pytest.mark.aarch64]
every_model = pytest.mark.parametrize("cpu", CPU_MODELS)

FUZZED = {"atomic": 1000, "timing": 1000, "minor": 200, "o3": 200}
"""Random descriptors on each core model, unless SAILSIM_FUZZ says how many."""
large = pytest.mark.skipif(not os.environ.get("SAILSIM_LARGE"), reason="SAILSIM_LARGE is not set")
SLOWEST = {"pim.clock": 1e-3, "pim.queue": 1, "pim.substrate.add": 16}
"""A unit whose first tile outlasts a millisecond."""
STAGES = ("idle", "flush", "descriptor", "operands", "groups", "results", "completion")


def stages(stats: dict[str, float], unit: int = 0) -> dict[str, float]:
    """Simulated ps that a unit spent in each stage."""
    return {name: stats[f"system.units{unit}.stageTicks::{name}"] for name in STAGES}


@every_model
def test_every_core_model_executes_lutmm(gem5, machine, kernels, small_trace, tmp_path, cpu):
    program = [str(kernels / "lutmm_driver"), "--trace", str(small_trace), "--units", "4"]
    run = gem5.run(machine, program, tmp_path, cpu=cpu)
    answer = run.json_lines[-1]
    assert run.status == 0
    assert answer["emulated"] == 0
    assert (answer["ok"], answer["wrong_words"]) == (8, 0)
    for unit in range(4):
        assert sum(stages(run.stats, unit).values()) == run.ticks


def test_a_program_takes_as_long_wherever_its_file_lies(gem5, machine, kernels, tmp_path):
    """The length of its path must move neither stack (arguments) nor heap (what /proc/self/exe tells)."""
    ticks = set()
    for place in ("near", "a/folder/whose/path/is/much/longer"):
        program = tmp_path / place / "bandwidth"
        program.parent.mkdir(parents=True)
        shutil.copy2(kernels / "bandwidth", program)
        command = [str(program), "--kind", "copy", "--bytes", "131072", "--repeats", "1"]
        run = gem5.run(machine, command, tmp_path / place / "out", units=0)
        assert run.status == 0
        ticks.add(run.ticks)
    assert len(ticks) == 1


@every_model
def test_every_refused_descriptor_ends_in_its_status(gem5, machine, kernels, oracles, tmp_path, cpu):
    expected = oracles.write_refused_trace(tmp_path / "refused.trace")
    program = [str(kernels / "lutmm_driver"), "--trace", str(tmp_path / "refused.trace")]
    run = gem5.run(machine, [*program, "--list", "--check-inputs"], tmp_path / "out", cpu=cpu)
    *lines, summary = run.json_lines
    assert [{key: line[key] for key in expected[0]} for line in lines] == expected
    assert (summary["emulated"], summary["ok"], summary["inputs"]) == (0, 1, "kept")


@every_model
def test_units_that_the_machine_does_not_have(gem5, machine, kernels, small_trace, tmp_path, cpu):
    """Tiles 4..7 go to units 4..7 of a machine with four: the first unit answers, and works on."""
    program = [str(kernels / "lutmm_driver"), "--trace", str(small_trace), "--units", "8", "--list"]
    *lines, _ = gem5.run(machine, program, tmp_path, cpu=cpu).json_lines
    answers = [(line["status"], line["detail"]) for line in lines]
    assert answers == [("OK", 0)] * 4 + [("ERR_UNIT", unit) for unit in range(4, 8)]
    stats = read_dumps(tmp_path / "stats.txt")[-1]
    assert stats["system.units0.errors::unit"] == 4
    assert stats["system.units0.tiles"] == 1


@every_model
def test_random_descriptors(gem5, machine, kernels, oracles, tmp_path, cpu):
    """The image in memory is what the core makes of it, cycles in completion records aside."""
    count = int(os.environ.get("SAILSIM_FUZZ", FUZZED[cpu]))
    oracles.write_random_trace(tmp_path / "random.trace", count, seed=3)
    program = [str(kernels / "lutmm_driver"), "--trace", str(tmp_path / "random.trace"), "--in-flight", "1"]
    run = gem5.run(machine, [*program, "--memory", str(tmp_path / "memory")], tmp_path / "out", cpu=cpu)
    assert run.json_lines[-1]["emulated"] == 0
    image = np.fromfile(tmp_path / "memory", np.uint8)
    statuses, expected = oracles.replayed(tmp_path / "random.trace", machine.slice_config(), image)
    assert statuses["OK"] > count / 3
    assert oracles.differing_words(image, expected).size == 0


@every_model
def test_a_unit_that_never_ends_holds_its_cores_and_nothing_else(
    gem5, machine, kernels, small_trace, tmp_path, cpu
):
    """A tile that outlasts the run and one place in the queue: the third LUTMM waits to the end."""
    end = 1_000_000_000
    slow = vary(machine, SLOWEST)
    program = [str(kernels / "lutmm_driver"), "--trace", str(small_trace)]
    with pytest.raises(SailsimError, match=rf"stopped before the end \(simulate\(\) limit reached at {end}"):
        gem5.run(slow, program, tmp_path, cpu=cpu, extra=["--until", f"{end}ps"])
    stats = read_dumps(tmp_path / "stats.txt")[-1]
    spent = stages(stats)
    assert sum(spent.values()) == end
    busy = end - spent["idle"]
    assert busy > 0.3 * end
    assert stats["system.units0.tiles"] == 0
    if cpu == "atomic":  # which cannot hold a store back
        assert stats["system.units0.rings"] == 4
        assert stats["system.units0.withheld"] == 0
    else:
        assert stats["system.units0.rings"] == 3
        assert stats["system.units0.withheld"] == 1
        assert stats["system.units0.heldStores"] * end > 0.8 * busy


@every_model
@pytest.mark.parametrize("gone", ["program", "core", "thread", "memory"])
def test_abandoned_tiles(gem5, machine, kernels, small_trace, tmp_path, cpu, gone):
    program = [str(kernels / "lutmm_abandon"), "--trace", str(small_trace), "--gone", gone, "--units", "2"]
    # A slow unit's queue is full long before its first tile, at which the program ends, is done.
    units = vary(machine, {"pim.clock": 0.1}) if gone == "core" else machine
    run = gem5.run(units, program, tmp_path, cpu=cpu, cores=2)
    assert run.status == 0
    if gone == "program":
        assert run.json_lines == []
        assert sum(run.unit_stat(unit, "rings") for unit in range(2)) == 8
        return
    if gone == "core":  # in atomic mode no store is held back
        assert cpu == "atomic" or sum(run.unit_stat(unit, "withheld") for unit in range(2)) > 0
        return
    (answer,) = run.json_lines
    assert (answer["ok"], answer["wrong_words"], answer["emulated"]) == (8, 0, 0)
    rings = sum(run.unit_stat(unit, "rings") for unit in range(2))
    ended = sum(run.unit_stat(unit, name) for unit in range(2) for name in ("tiles", "unreported"))
    if gone == "thread":
        assert (rings, ended) == (8, 8)
    else:  # of the first eight, some were worked out and some found no descriptor
        assert rings == 16
        assert ended >= 8


@pytest.mark.parametrize("cpu", ["timing", "o3"])
def test_four_cores_share_units(gem5, machine, kernels, small_trace, tmp_path, cpu):
    program = [str(kernels / "lutmm_driver"), "--trace", str(small_trace), "--units", "2"]
    run = gem5.run(machine, [*program, "--threads", "4", "--repeats", "2"], tmp_path, cpu=cpu, cores=4)
    answer = run.json_lines[-1]
    assert (run.status, answer["threads"], answer["ok"], answer["wrong_words"]) == (0, 4, 8, 0)
    assert sum(run.unit_stat(unit, "tiles") for unit in range(2)) == 16


@pytest.mark.parametrize(
    ("cores", "threads", "units"),
    [
        (16, 16, 4),
        # 16 GB, most of it gem5's names of statistics: of every command of every requestor in every cache.
        pytest.param(64, 4, 32, marks=large),
        # A quarter of an hour: gem5 loads the whole program again for each thread, through every cache.
        pytest.param(64, 64, 32, marks=[large, pytest.mark.slow]),
    ],
)
def test_many_cores_and_units(gem5, full_machine, kernels, many_tiles, tmp_path, cores, threads, units):
    machine = vary(full_machine, {"llc.slices": units})
    program = [str(kernels / "lutmm_driver"), "--trace", str(many_tiles), "--units", str(units)]
    run = gem5.run(machine, [*program, "--threads", str(threads)], tmp_path, cpu="timing", cores=cores)
    answer = run.json_lines[-1]
    assert (run.status, answer["threads"], answer["ok"], answer["wrong_words"]) == (0, threads, 128, 0)
    assert all(run.unit_stat(unit, "tiles") == 128 / units for unit in range(units))


def in_first_dump(folder: Path, name: str, units: int) -> float:
    """A statistic of the units, added up, when the model of the cores changed."""
    first = (folder / "stats.txt").read_text().split("End Simulation Statistics")[0]
    lines = dict(line.split()[:2] for line in first.splitlines() if line.startswith("system.units"))
    return sum(float(lines[f"system.units{unit}.{name}"]) for unit in range(units))


@pytest.mark.parametrize(("start", "end"), [("atomic", "timing"), ("atomic", "o3"), ("timing", "minor")])
def test_the_core_model_changes_while_tiles_are_under_way(
    gem5, machine, kernels, many_tiles, tmp_path, start, end
):
    program = [str(kernels / "lutmm_driver"), "--trace", str(many_tiles), "--units", "2", "--m5"]
    run = gem5.run(machine, program, tmp_path, cpu=f"{start},{end},10000000")
    (answer,) = run.json_lines
    assert (answer["ok"], answer["wrong_words"], answer["emulated"]) == (128, 0, 0)
    rung, ended = (in_first_dump(run.folder, name, 2) for name in ("rings", "tiles"))
    assert 0 < ended < rung < 128
    assert ended + sum(run.unit_stat(unit, "tiles") for unit in range(2)) == 128


CHASE = ("--min", "655360", "--max", "655360", "--loads", "60000")


@every_model
def test_without_units_a_program_ends_at_its_first_lutmm(
    gem5: Gem5, machine, kernels, small_trace, tmp_path, cpu
):
    program = [str(kernels / "lutmm_driver"), "--trace", str(small_trace)]
    with pytest.raises(SailsimError, match="LUTMM for unit 0, and this program has no doorbell of it"):
        gem5.run(machine, program, tmp_path, cpu=cpu, units=0)


def test_a_run_that_takes_too_long_is_stopped(gem5: Gem5, machine, kernels, small_trace, tmp_path):
    slow = vary(machine, SLOWEST)
    program = [str(kernels / "lutmm_driver"), "--trace", str(small_trace)]
    with pytest.raises(SailsimError, match="took longer than 4 s"):
        gem5.run(slow, program, tmp_path, cpu="timing", timeout_s=4)


def test_a_program_starts_fast_and_is_measured_on_another_model(
    gem5: Gem5, machine, kernels, small_trace, tmp_path
):
    """The change is at the program's first work item, before its first LUTMM."""
    program = [str(kernels / "lutmm_driver"), "--trace", str(small_trace), "--units", "2", "--m5"]
    run = gem5.run(machine, program, tmp_path, cpu="atomic,o3")
    (answer,) = run.json_lines
    assert (run.status, answer["ok"], answer["wrong_words"]) == (0, 8, 0)
    assert in_first_dump(run.folder, "rings", 2) == 0


def test_capacity_mode_keeps_more_lines_and_the_first_command_pays(
    gem5: Gem5, full_machine: System, kernels, small_trace, tmp_path
):
    """Two slices of 256 KiB, arrays of 64 and 128 KiB: 640 KiB do not fit, fit in part, fit."""
    misses = []
    for arrays, extra in ((16, ()), (8, ("--capacity-mode",)), (16, ("--capacity-mode",))):
        changes = {"llc.slices": 2, "llc.slice_size": 0.25, "l2.size": 64, "pim.arrays": arrays}
        machine = vary(full_machine, changes)
        program = [str(kernels / "pointer_chase"), *CHASE]
        stats = gem5.run(machine, program, tmp_path / str(len(misses)), cpu="atomic", extra=extra).stats
        misses.append(sum(stats[f"system.llc{i}.overallMisses::total"] for i in range(2)))
    assert misses[0] > 1.1 * misses[1] > 1.1 * 1.1 * misses[2]

    program = [str(kernels / "lutmm_driver"), "--trace", str(small_trace), "--units", "2"]
    run = gem5.run(machine, program, tmp_path / "lutmm", cpu="timing", extra=["--capacity-mode"])
    assert (run.json_lines[-1]["ok"], run.json_lines[-1]["wrong_words"]) == (8, 0)
    assert [run.unit_stat(unit, "flushes") for unit in range(2)] == [1, 1]

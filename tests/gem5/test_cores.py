"""LUTMM on gem5's core models: results, refusals, full queues, abandoned tiles, many cores, other models."""

import os
import shutil

import numpy as np
import pytest

from sailsim.base.errors import SailsimError
from sailsim.sim.gem5.binary import Gem5Run, read_dumps
from sailsim.sim.machine.system_files import vary

from .conftest import every_model

pytestmark = [pytest.mark.gem5, pytest.mark.aarch64]

FUZZED = {"atomic": 1000, "timing": 1000, "minor": 200, "o3": 200}
"""Random descriptors on each core model, unless SAILSIM_FUZZ says how many."""
large = pytest.mark.skipif(not os.environ.get("SAILSIM_LARGE"), reason="SAILSIM_LARGE is not set")
SLOWEST = {"pim.clock": 1e-3, "pim.queue": 1, "pim.substrate.add": 16}
"""A unit whose first tile outlasts a millisecond."""
STAGES = ("idle", "flush", "descriptor", "operands", "groups", "results", "completion")


def stages(stats: dict[str, float], unit: int = 0) -> dict[str, float]:
    """Simulated ps that a unit spent in each stage."""
    return {name: stats[f"system.units{unit}.stageTicks::{name}"] for name in STAGES}


def exact(run: Gem5Run, tiles: int) -> bool:
    """Whether the driver's tiles ended well on real units."""
    answer = run.json_lines[-1]
    answers = (run.status, answer["emulated"], answer["ok"], answer["wrong_words"])
    return answers == (0, 0, tiles, 0)


@every_model
def test_every_core_model_executes_lutmm(program, small_trace, cpu):
    run = program("lutmm_driver", "--trace", small_trace, "--units", 4, cpu=cpu)
    assert exact(run, 8)
    for unit in range(4):
        assert sum(stages(run.stats, unit).values()) == run.ticks


def test_a_program_takes_as_long_wherever_its_file_lies(program, kernels, tmp_path):
    """The length of its path must move neither stack (arguments) nor heap (what /proc/self/exe tells)."""
    ticks = set()
    for place in ("near", "a/folder/whose/path/is/much/longer"):
        there = tmp_path / place / "bandwidth"
        there.parent.mkdir(parents=True)
        shutil.copy2(kernels / "bandwidth", there)
        run = program(there, "--kind", "copy", "--bytes", 131072, "--repeats", 1, to=f"{place}/out", units=0)
        assert run.status == 0
        ticks.add(run.ticks)
    assert len(ticks) == 1


@every_model
def test_every_refused_descriptor_ends_in_its_status(program, oracles, tmp_path, cpu):
    trace = tmp_path / "refused.trace"
    expected = oracles.write_refused_trace(trace)
    *lines, summary = program(
        "lutmm_driver", "--trace", trace, "--list", "--check-inputs", cpu=cpu
    ).json_lines
    assert [{key: line[key] for key in expected[0]} for line in lines] == expected
    assert (summary["emulated"], summary["ok"], summary["inputs"]) == (0, 1, "kept")


@every_model
def test_units_that_the_machine_does_not_have(program, small_trace, cpu):
    """Tiles 4..7 go to units 4..7 of a machine with four: the first unit answers, and works on."""
    run = program("lutmm_driver", "--trace", small_trace, "--units", 8, "--list", cpu=cpu)
    answers = [(line["status"], line["detail"]) for line in run.json_lines[:-1]]
    assert answers == [("OK", 0)] * 4 + [("ERR_UNIT", unit) for unit in range(4, 8)]
    assert (run.unit_stat(0, "errors::ERR_UNIT"), run.unit_stat(0, "tiles")) == (4, 1)


@every_model
def test_random_descriptors(program, machine, oracles, tmp_path, cpu):
    """The image in memory is what the core makes of it, cycles in completion records aside."""
    count, trace = int(os.environ.get("SAILSIM_FUZZ", FUZZED[cpu])), tmp_path / "random.trace"
    oracles.write_random_trace(trace, count, seed=3)
    words = ("--trace", trace, "--in-flight", 1, "--memory", tmp_path / "memory")
    assert program("lutmm_driver", *words, cpu=cpu).json_lines[-1]["emulated"] == 0
    image = np.fromfile(tmp_path / "memory", np.uint8)
    statuses, expected = oracles.replayed(trace, machine.slice_config(), image)
    assert statuses["OK"] > count / 3
    assert oracles.differing_words(image, expected).size == 0


@every_model
def test_a_unit_that_never_ends_holds_its_cores_and_nothing_else(
    program, machine, small_trace, tmp_path, cpu
):
    """A tile that outlasts the run and one place in the queue: the third LUTMM waits to the end."""
    end, slow = 1_000_000_000, vary(machine, SLOWEST)
    with pytest.raises(SailsimError, match=rf"stopped before the end \(simulate\(\) limit reached at {end}"):
        program("lutmm_driver", "--trace", small_trace, on=slow, cpu=cpu, extra=["--until", f"{end}ps"])
    stats = read_dumps(tmp_path / "out" / "stats.txt")[-1]
    spent = stages(stats)
    assert sum(spent.values()) == end
    busy = end - spent["idle"]
    assert busy > 0.3 * end
    counts = [stats[f"system.units0.{name}"] for name in ("tiles", "rings", "withheld")]
    assert counts == ([0, 4, 0] if cpu == "atomic" else [0, 3, 1])  # atomic cannot hold a store back
    assert cpu == "atomic" or stats["system.units0.heldStores"] * end > 0.8 * busy


@every_model
@pytest.mark.parametrize("gone", ["program", "core", "thread", "place", "memory"])
def test_abandoned_tiles(program, machine, small_trace, cpu, gone):
    """By a thread whose core another takes ("place") too."""
    # A slow unit's queue is full long before its first tile, at which the program ends, is done; and most of
    # its tiles wait when a second thread begins.
    on = vary(machine, {"pim.clock": 0.1}) if gone in ("core", "place") else machine
    words = ("--trace", small_trace, "--gone", gone, "--units", 2, "--timeout-ms", 5)
    run = program("lutmm_driver", *words, on=on, cpu=cpu, cores=2)
    rings, withheld, tiles, unreported = (
        sum(run.unit_stat(unit, name) for unit in range(2))
        for name in ("rings", "withheld", "tiles", "unreported")
    )
    assert run.status == 0
    if gone == "program":
        assert (run.json_lines, rings) == ([], 8)
        return
    if gone == "core":  # in atomic mode no store is held back
        assert cpu == "atomic" or withheld > 0
        return
    (answer,) = run.json_lines
    assert (answer["ok"], answer["wrong_words"], answer["emulated"]) == (8, 0, 0)
    if gone == "thread":
        assert (rings, tiles + unreported) == (8, 8)
    elif gone == "place":
        assert (tiles, unreported) == (8, 0)
    else:  # of the first eight, some were worked out and some found no descriptor
        assert rings == 16
        assert tiles + unreported >= 8


@pytest.mark.parametrize(
    ("cores", "threads", "units"),
    [
        (4, 4, 2),
        (16, 16, 4),
        # 16 GB, most of it gem5's names of statistics: of every command of every requestor in every cache.
        pytest.param(64, 4, 32, marks=large),
        pytest.param(64, 64, 32, marks=large),
    ],
)
def test_many_cores_and_units(program, full_machine, many_tiles, cores, threads, units):
    on, cpu = vary(full_machine, {"llc.slices": units}), "o3" if cores == 4 else "timing"
    words = ("--trace", many_tiles, "--units", units, "--threads", threads)
    run = program("lutmm_driver", *words, on=on, cpu=cpu, cores=cores)
    assert exact(run, 128)
    assert run.json_lines[-1]["threads"] == threads
    assert all(run.unit_stat(unit, "tiles") == 128 / units for unit in range(units))


@pytest.mark.parametrize(
    "cpu", ["atomic,timing,10000000", "atomic,o3,10000000", "timing,minor,10000000", "atomic,o3"]
)
def test_the_core_model_changes_while_tiles_are_under_way(program, many_tiles, cpu):
    """Or, without a time behind it, for the program's work item, which has all its LUTMM."""
    run = program("lutmm_driver", "--trace", many_tiles, "--units", 2, "--m5", cpu=cpu)
    assert exact(run, 128)
    before = run.dumps[0]
    rung, ended = (sum(before[f"system.units{i}.{name}"] for i in range(2)) for name in ("rings", "tiles"))
    assert rung == ended == 0 if cpu == "atomic,o3" else 0 < ended < rung < 128
    assert ended + sum(run.unit_stat(unit, "tiles") for unit in range(2)) == 128
    assert cpu != "atomic,o3" or run.stats["system.cpus.numCycles"] > 0  # the first model again


def test_the_second_model_can_begin_with_empty_caches(program, machine):
    """What was written before lies in memory; code stays, and a second pass finds what the first one read."""
    words, size = ("--kind", "read", "--repeats", 2, "--m5", "--bytes"), 1 << 18
    read = []
    for extra in ((), ("--empty-caches",)):
        run = program("bandwidth", *words, size, cpu="atomic,o3", extra=extra, units=0, to=str(len(extra)))
        assert run.json_lines[-1]["mismatches"] == 0
        for dump in run.dumps[1:3]:
            read.append(sum(dump[name] for name in dump if name.endswith("dram.bytesRead::total")))
    cached, again, emptied, behind = (of / size for of in read)
    assert max(cached, again, behind) < 0.1 < 1 <= emptied < 1.2

    with pytest.raises(SailsimError, match=r"--empty-caches.*atomic,o3"):
        program("bandwidth", *words, size, extra=("--empty-caches",), units=0)


@every_model
def test_without_units_a_program_ends_at_its_first_lutmm(program, small_trace, cpu):
    with pytest.raises(SailsimError, match="LUTMM for unit 0, and this program has no doorbell of it"):
        program("lutmm_driver", "--trace", small_trace, cpu=cpu, units=0)


def test_capacity_mode_keeps_more_lines_and_the_first_command_pays(program, full_machine, small_trace):
    """Two slices of 256 KiB, arrays of 64 and 128 KiB: 640 KiB do not fit, fit in part, fit."""
    chase = ("--min", 655360, "--max", 655360, "--loads", 60000)
    misses = []
    for arrays, extra in ((16, ()), (8, ("--capacity-mode",)), (16, ("--capacity-mode",))):
        changes = {"llc.slices": 2, "llc.slice_size": 0.25, "l2.size": 64, "pim.arrays": arrays}
        machine, to = vary(full_machine, changes), str(len(misses))
        stats = program("pointer_chase", *chase, on=machine, to=to, cpu="atomic", extra=extra).stats
        misses.append(sum(stats[f"system.llc{i}.overallMisses::total"] for i in range(2)))
    assert misses[0] > 1.1 * misses[1] > 1.1 * 1.1 * misses[2]

    words = ("--trace", small_trace, "--units", 2)
    run = program("lutmm_driver", *words, on=machine, cpu="timing", extra=["--capacity-mode"])
    assert exact(run, 8)
    assert [run.unit_stat(unit, "flushes") for unit in range(2)] == [1, 1]

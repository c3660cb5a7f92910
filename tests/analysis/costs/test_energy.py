"""Energy: dimensions, closed forms, and what must grow or stay."""

from dataclasses import fields, replace

import pytest

from sailsim.analysis.costs.energy import (
    EnergyConstants,
    StepEvents,
    constants_notes,
    energy,
    step_events,
    tokens_of,
)
from sailsim.base.quantity import Quantity
from sailsim.sim.backend import ACTIVITY, COMPUTE, CONVERT, EnergyShape
from sailsim.sim.machine.substrate import load_substrate
from sailsim.sim.machine.system_files import load_system

C = EnergyConstants.default()
NAMES = [field.name for field in fields(EnergyConstants)]
NOTHING = StepEvents(
    step_s=0.0, threads=0, cores=64, busy_s=0.0, channels=8, dram_read_bytes=0,
    units=EnergyShape(256, 32, load_substrate("row_dfm").energy, csram_mib=4),
)  # fmt: skip


def joules(use, constants=C, end="value"):
    """Of all causes."""
    return sum(energy(use, constants, end).values())


def does(**events):
    """A use of nothing but some events of the units."""
    return replace(NOTHING, activity=events)


def charging(use, operations):
    """The same use of units whose operations cost something else."""
    return replace(use, units=use.units._replace(operations=operations))


SI = {name: quantity.si for name, quantity in EnergyConstants.quantities().items()}
ROW = 256


def test_a_cycle_of_computing_is_charged_by_what_it_does_and_where():
    for event in (*COMPUTE.values(), *CONVERT.values()):
        use = does(**{event: 1})
        assert joules(use) == pytest.approx(
            ROW * SI["array_read_fj_bit" if "write" not in event else "array_write_fj_bit"]
        )
        serial = charging(use, load_substrate("bit_serial").energy)
        expected = "array_write_fj_bit" if "write" in event else "array_compute_fj_bit"
        assert joules(serial) == pytest.approx(ROW * SI[expected])


def test_a_substrate_of_its_own_energy_has_its_own_range():
    add = Quantity(value=10, unit="fJ/bit", source="a test", kind="assumed", low=5, high=40, note="why")
    use = charging(does(compute_add_cycles=2), {"add": add, "read": "3 array_read_fj_bit"})
    for end, fj in (("low", 5), ("value", 10), ("high", 40)):
        assert joules(use, EnergyConstants.at(end), end) == pytest.approx(2 * ROW * fj * 1e-15)
    use = replace(use, activity={"array_reads": 1})
    assert joules(use) == pytest.approx(3 * ROW * SI["array_read_fj_bit"])


def test_a_step_in_joules_by_hand():
    """Every term with round constants: 1 to 6 fJ a bit of the arrays and adders, 7 to 9 pJ, and so on."""
    values = (1, 2, 3, 4, 0.5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25)
    constants = replace(C, **dict(zip(NAMES, map(float, values), strict=True)))
    use = StepEvents(
        step_s=3.0, threads=5, cores=7, busy_s=2.0, channels=11,
        dram_read_bytes=100, dram_written_bytes=10,
        activity={
            "array_reads": 1000, "array_writes": 100, "compute_add_cycles": 10, "convert_add_cycles": 20,
            "unit_converts": 30, "entry_add_bits": 40, "accumulates": 50, "patterns": 60, "prt_searches": 70,
            "prt_reads": 80, "prt_writes": 90, "port_bytes": 200, "activation_bytes": 300,
        },
        units=EnergyShape(columns=4, accumulator_bits=6, csram_mib=2, operations={
            "read": "array_read_fj_bit", "write": "array_write_fj_bit", "add": "array_compute_fj_bit",
        }),
    )  # fmt: skip
    expected = {
        # A row has 4 columns: 4 * (1000 of 1 fJ, 100 of 2, 10 of 3) = 4 * 1230 fJ.
        "arrays": 4920e-15,
        # 20 cycles of 4 columns and 3 fJ: 240 fJ; 30 of 7 pJ: 210 pJ.
        "convert": 210.24e-12,
        # Entries: 40 of 4 fJ, 160 fJ. Sums: of 6 bits, each 4 * 1.5 to shift and add and 2 * 6 to hold, 108
        # fJ; 50 of them are 5400 fJ. Patterns: 60 of 8 pJ, 480 pJ.
        "dfm": 485.56e-12,
        # 70 searches of 9 pJ: 630 pJ; 80 + 90 rows of 4 columns and 10 fJ: 6800 fJ.
        "prt": 636.8e-12,
        # 8 bits: 100 + 10 + 200 + 300 bytes of 11 fJ a bit, 6710; 200 + 300 over 13 mm of 12 fJ, 78000.
        "llc": 8 * 84710e-15,
        # 8 bits: 100 + 10 + 300 bytes over 14 mm of 12 fJ, 68880.
        "mesh": 8 * 68880e-15,
        # 8 bits: 100 bytes of 15 + 17 + 18 + 19 = 69 pJ, 10 of 16 + 54 = 70.
        "dram": 8 * 7600e-12,
        # 5 cores, 2 s at 21 W and 1 s at 22 W: 5 * 64.
        "cores": 320,
        # 3 s of 24 W, 11 channels of 20 W, 2 idle cores of 23 W, 2 MiB of 25 mW: 3 * 290.05.
        "static": 870.15,
    }
    assert energy(use, constants) == pytest.approx(expected, rel=1e-12)


def record(**changes):
    """A step's record in numbers that no sum or product of others has."""
    found = {
        "kind": "accelerator", "runner": "sail", "substrate": "row_dfm", "batch": 3, "step_s": 2.0,
        "cores": 16, "dram_bytes": 1e6, "phases": {"cores": 0.25, "sync": 0.125, "units": 1.5},
        "traffic": {"weights": 7000.0, "read": 200.0, "written": 30.0},
        "events": {name: float(i) for i, name in enumerate(ACTIVITY)},
    }  # fmt: skip
    return found | changes


def test_a_use_is_read_from_its_record():
    system = load_system("sail-n1")
    use = step_events(system, record())
    # Cores work in their own phase and while they wait for each other; 7000 + 200 bytes are read.
    assert (use.step_s, use.threads, use.cores, use.busy_s) == (2.0, 16, 64, 0.375)
    assert (use.dram_read_bytes, use.dram_written_bytes, use.channels) == (7200, 30, 8)
    assert (use.units.columns, use.units.accumulator_bits, use.units.csram_mib) == (256, 32, 4.0)
    assert use.activity == {name: i for i, name in enumerate(ACTIVITY)}
    cached = record(traffic={"weights": 7000.0, "read": 200.0, "written": 30.0, "cache": 4.0})
    assert step_events(system, cached).dram_read_bytes == 7204
    alone = step_events(system, record(kind="cores"))
    assert (alone.step_s, alone.threads, alone.cores, alone.busy_s) == (2.0, 16, 64, 2.0)
    assert (alone.dram_read_bytes, alone.dram_written_bytes, alone.channels) == (1e6, 0, 8)
    assert (alone.activity, alone.units.columns, alone.units.csram_mib) == ({}, 0, 0)


def test_tokens_are_one_of_each_sequence_or_all_of_its_prompt():
    assert [tokens_of({"batch": 3, "prompt": prompt}) for prompt in (None, 0, 1, 5)] == [3, 3, 3, 15]
    assert tokens_of({"batch": 3}) == 3


def test_constants_of_another_memory_are_said_to_be_borrowed():
    assert constants_notes(load_system("sail-n1")) == ()
    (said,) = constants_notes(load_system("graviton3"))
    assert "constants of ddr4-3200" in said
    assert "none of ddr5-4800" in said

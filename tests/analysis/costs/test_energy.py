"""Energy: dimensions, closed forms, and what must grow or stay."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.analysis.costs.energy import (
    CAUSES,
    EnergyConstants,
    Use,
    cpu_use,
    energy,
    gpu_bound_j_per_token,
    recorded_use,
)
from sailsim.analysis.results.runs import runs
from sailsim.base.errors import SailsimError
from sailsim.sim import UNITS, Point, Quantity, load_card, load_substrate, load_system, substrate_names
from sailsim.sim.activity import ACTIVITY, COMPUTE, CONVERT
from sailsim.sim.charges import ENERGY_CONSTANTS

C = EnergyConstants.default()
NAMES = [field.name for field in fields(EnergyConstants)]
NOTHING = Use(
    tokens=1,
    step_s=0.0,
    threads=0,
    cores=64,
    busy_s=0.0,
    channels=8,
    dram_read_bytes=0,
    dram_written_bytes=0,
    activity={},
    columns=256,
    accumulator_bits=32,
    csram_mib=4,
    operations=load_substrate("row_dfm").energy,
)


def does(**events):
    """A use of nothing but some events of the units."""
    return replace(NOTHING, activity=events)


uses = st.builds(
    Use,
    tokens=st.integers(1, 64),
    step_s=st.floats(1e-3, 1),
    threads=st.integers(1, 64),
    cores=st.just(64),
    busy_s=st.floats(0, 1e-3),
    channels=st.integers(1, 8),
    dram_read_bytes=st.floats(0, 1e10),
    dram_written_bytes=st.floats(0, 1e9),
    activity=st.fixed_dictionaries({name: st.floats(0, 1e9) for name in ACTIVITY}),
    columns=st.just(256),
    accumulator_bits=st.just(32),
    operations=st.sampled_from([load_substrate(name).energy for name in substrate_names()]),
    csram_mib=st.floats(0, 8),
)


STEP = Point(model="smollm2-135m", batch=4, context=64)


def sail_use(point=STEP):
    """What SAIL's run of a point asks of its machine."""
    sail = next(run for run in runs(point) if run.runner == "sail")
    return recorded_use(load_system(point.system), sail.as_record())


@pytest.fixture(scope="module")
def step():
    return load_system(STEP.system), sail_use()


def test_units_of_the_constants_are_those_of_their_names():
    ends = {"_fj_bit": "fJ/bit", "_pj": "pJ", "_pj_bit": "pJ/bit", "_w": "W", "_mm": "mm", "_factor": "ratio"}
    ends |= {"_fj_bit_mm": "fJ/bit/mm", "_mw_mib": "mW/MiB"}
    for name, quantity in EnergyConstants.quantities().items():
        end = max((end for end in ends if name.endswith(end)), key=len)
        assert quantity.unit == ends[end], name
        assert quantity.unit in UNITS
    assert list(EnergyConstants.quantities()) == NAMES


# One event a cause, in joules from the quantities' SI values: a wrong power of ten shows here.
SI = {name: quantity.si for name, quantity in EnergyConstants.quantities().items()}
ROW, BITS = 256, 8
CLOSED = {
    "arrays": (does(array_reads=3), 3 * ROW * SI["array_read_fj_bit"]),
    "convert": (
        does(convert_add_cycles=7, unit_converts=11),
        7 * ROW * SI["array_read_fj_bit"] + 11 * SI["unit_convert_pj"],
    ),
    "dfm": (
        does(accumulates=5),
        5 * 32 * (3 * SI["add_fj_bit"] + 2 * SI["accumulator_fj_bit"]),
    ),
    "prt": (
        does(prt_searches=2, prt_reads=1, prt_writes=1),
        2 * SI["prt_search_pj"] + 2 * ROW * SI["prt_fj_bit"],
    ),
    "llc": (
        does(port_bytes=10),
        80 * (SI["llc_fj_bit"] + SI["wire_fj_bit_mm"] * SI["port_mm"]),
    ),
    "mesh": (
        replace(NOTHING, dram_written_bytes=10),
        80 * SI["wire_fj_bit_mm"] * SI["mesh_mm"],
    ),
    "dram": (
        replace(NOTHING, dram_read_bytes=10),
        80
        * (
            SI["dram_read_pj_bit"]
            + SI["dram_activate_pj_bit"]
            + SI["dram_pins_pj_bit"]
            + SI["dram_controller_pj_bit"]
        ),
    ),
    "cores": (
        replace(NOTHING, threads=4, step_s=2.0, busy_s=0.5),
        4 * (0.5 * SI["core_active_w"] + 1.5 * SI["core_waiting_w"]),
    ),
    "static": (
        replace(NOTHING, step_s=2.0, threads=4),
        2
        * (
            SI["uncore_w"]
            + 8 * SI["dram_idle_w"]
            + 60 * SI["core_idle_w"]
            + SI["csram_leakage_mw_mib"] * 4 * 2**20
        ),
    ),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_each_cause_alone_in_joules(cause):
    use, joules = CLOSED[cause]
    assert energy(use).by_cause[cause] == pytest.approx(joules)
    assert joules > 0


def test_a_cycle_of_computing_is_charged_by_what_it_does_and_where():
    for event in (*COMPUTE.values(), *CONVERT.values()):
        use = does(**{event: 1})
        assert energy(use).joules == pytest.approx(
            ROW * SI["array_read_fj_bit" if "write" not in event else "array_write_fj_bit"]
        )
        serial = replace(use, operations=load_substrate("bit_serial").energy)
        expected = "array_write_fj_bit" if "write" in event else "array_compute_fj_bit"
        assert energy(serial).joules == pytest.approx(ROW * SI[expected])


def test_a_computing_cycle_of_two_rows_takes_so_many_reads_as_its_source_says():
    low, high = (EnergyConstants.at(end) for end in ("low", "high"))
    for constants, ratio in ((low, 1.2), (C, 1.8), (high, 2.5)):
        assert constants.array_compute_fj_bit == pytest.approx(ratio * constants.array_read_fj_bit)
    assert pytest.approx(1.8, rel=0.01) == 15.4 / 8.6


def test_a_substrate_of_its_own_energy_has_its_own_range():
    add = Quantity(value=10, unit="fJ/bit", source="a test", kind="assumed", low=5, high=40, note="why")
    use = replace(does(compute_add_cycles=2), operations={"add": add, "read": "3 array_read_fj_bit"})
    for end, fj in (("low", 5), ("value", 10), ("high", 40)):
        assert energy(use, EnergyConstants.at(end), end).joules == pytest.approx(2 * ROW * fj * 1e-15)
    use = replace(use, activity={"array_reads": 1})
    assert energy(use).joules == pytest.approx(3 * ROW * SI["array_read_fj_bit"])


def test_what_files_may_share_are_constants_of_their_unit():
    for name in ENERGY_CONSTANTS:
        assert EnergyConstants.quantities()[name].unit == "fJ/bit"


def test_dram_constants_follow_from_the_currents_of_their_source():
    read, write, active = 135e-3, 123e-3, 43e-3
    rate = 2400e6 * 64
    assert SI["dram_read_pj_bit"] == pytest.approx((read - active) * 1.2 * 8 / rate, rel=0.01)
    assert SI["dram_write_pj_bit"] == pytest.approx((write - active) * 1.2 * 8 / rate, rel=0.01)
    opened = (48e-3 * 46.16e-9 - 43e-3 * 32e-9 - 34e-3 * 14.16e-9) * 1.2 * 8
    assert SI["dram_activate_pj_bit"] == pytest.approx(opened / 8192, rel=0.02)
    assert SI["dram_pins_pj_bit"] == pytest.approx(1.2**2 / 82 / 2 / 3.2e9, rel=0.02)
    refresh = (250 - 43) * 1e-3 * 350 / 7800 * 1.2 * 16
    assert SI["dram_idle_w"] == pytest.approx(16 * active * 1.2 + refresh, rel=0.02)


@given(use=uses, name=st.sampled_from(NAMES), more=st.floats(1, 5))
def test_no_constant_lowers_the_energy_when_it_grows(use, name, more):
    grown = replace(C, **{name: getattr(C, name) * more})
    before, after = energy(use).by_cause, energy(use, grown).by_cause
    assert all(after[cause] >= before[cause] for cause in CAUSES)


@given(use=uses, many=st.integers(1, 9))
def test_many_steps_need_as_many_times_the_energy(use, many):
    scaled = replace(
        use,
        **{
            name: getattr(use, name) * many
            for name in ("tokens", "step_s", "busy_s", "dram_read_bytes", "dram_written_bytes")
        },
        activity={name: value * many for name, value in use.activity.items()},
    )
    once, often = energy(use), energy(scaled)
    assert often.joules == pytest.approx(many * once.joules)
    assert often.joules_per_token == pytest.approx(once.joules_per_token)
    assert once.joules == pytest.approx(sum(once.by_cause.values()))


@given(use=uses)
def test_the_ends_of_the_ranges_enclose_the_nominal(use):
    low, high = (energy(use, EnergyConstants.at(end)).joules for end in ("low", "high"))
    assert low <= energy(use).joules <= high


def test_a_prt_saves_the_reads_that_it_spares_less_what_it_costs(step):
    _, use = step
    with_prt = energy(use)
    without = energy(sail_use(replace(STEP, prt=False)))
    pim = ("arrays", "prt")
    saved = sum(without.by_cause[cause] - with_prt.by_cause[cause] for cause in pim)
    assert without.by_cause["prt"] == 0
    assert with_prt.prt_saved_j == pytest.approx(saved, rel=1e-6)
    assert with_prt.prt_saved_j > 0
    # Entries in an SRAM like the arrays' save nothing.
    dear = replace(C, prt_fj_bit=C.array_read_fj_bit)
    assert energy(use, dear).prt_saved_j < 0


def test_the_parts_of_a_step_are_all_there(step):
    system, use = step
    found = energy(use)
    assert tuple(found.by_cause) == CAUSES
    assert all(joules > 0 for joules in found.by_cause.values())
    assert found.tokens == 4
    alone = energy(cpu_use(system.baseline(), 16, 4, 0.1, 1e8))
    assert {cause for cause in CAUSES if alone.by_cause[cause] == 0} == {"arrays", "convert", "dfm", "prt"}
    # The same server: what runs whether there is work or not differs by the C-SRAM's leakage alone.
    leak = C.csram_leakage_mw_mib * 1e-3 * 4
    assert found.by_cause["static"] / found.step_s - alone.by_cause["static"] / 0.1 == pytest.approx(leak)


def test_bad_input_names_the_field(step):
    system, _ = step
    with pytest.raises(SailsimError, match=r"core_active_w is -1.*at least 0"):
        replace(C, core_active_w=-1)
    with pytest.raises(SailsimError, match=r"uncore_w is nan"):
        replace(C, uncore_w=float("nan"))
    with pytest.raises(SailsimError, match="allowed is at most all"):
        energy(replace(NOTHING, threads=65))
    with pytest.raises(SailsimError, match=r"event array_reads.*allowed is a run"):
        recorded_use(system, {"batch": 1})


def test_a_card_is_bound_by_its_board_power():
    assert gpu_bound_j_per_token(load_card("v100"), 0.02, 2) == pytest.approx(300 * 0.01)


def test_a_record_follows_from_its_events():
    system = load_system("sail-n1")
    found = {run.runner: run for run in runs(Point(model="smollm2-135m", batch=2, context=64))}
    sail, cores = found["sail"], found["cores"]
    again = energy(recorded_use(system, sail.as_record()))
    assert sail.energy == again.by_cause
    assert sail.energy_j == pytest.approx(again.joules)
    # More than what runs all the time, less than the design's.
    assert 25 < cores.energy_j / cores.step_s < 105
    assert cores.energy["dram"] / cores.dram_bytes / 8 == pytest.approx(12.87e-12)
    assert found["v100"].energy_high_j == pytest.approx(300 * found["v100"].step_s)


def test_a_processor_at_full_load_stays_within_its_design_power():
    """64 cores and all of the bandwidth, DRAM devices and their pins left out: Arm's reference has 105 W."""
    system = load_system("sail-n1")
    bandwidth = system.memory.read_bandwidth.si
    full = energy(cpu_use(system, 64, 1, 1.0, bandwidth)).by_cause
    devices = C.dram_read_pj_bit + C.dram_activate_pj_bit + C.dram_pins_pj_bit
    outside = bandwidth * 8 * devices * 1e-12 + C.dram_idle_w * system.memory.channels.whole
    assert 85 < sum(full.values()) - outside <= 105

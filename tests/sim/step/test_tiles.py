"""GEMVs as the PIM units see them."""

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.counts import TILE_PHASES
from sailsim.lut_gemv.tile import Scales, Tile
from sailsim.lut_gemv.trace_file import read_trace, write_trace
from sailsim.sim.gem5 import validation
from sailsim.sim.machine.pim import NBWS
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system, vary
from sailsim.sim.step.gemv_times import GemvTimes
from sailsim.sim.step.patterns import InputRows, PatternCache, PatternProfile, PatternScan
from sailsim.sim.step.tile_time import time_tile
from sailsim.sim.step.tiles import (
    COUNTS,
    PimUnits,
    TileRequest,
    TileShape,
    TileTable,
    _tables_of,
    activity,
    fastest_times,
)
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.traces import replay_timed

SAIL = load_system("sail-n1")


def test_a_table_has_what_each_of_its_tiles_has_alone(captured):
    units = PimUnits(SAIL, substrate=None, convert=None, prt=True)
    scan = units.scan(8, True, 4, 128)
    rows = [InputRows("attn_in", layer, 32, 2048, 2, 0) for layer in (0, 11, 31)]
    profiles = [PatternCache().captured(captured, each, scan) for each in rows]
    request = TileRequest(TileShape(2048, 3000, 2, 4, 4, 8, 4, 128), 4e6)
    table = units.table(request, profiles)
    assert len(table.seconds) == 3
    for at, profile in enumerate(profiles):
        alone = units.table(request, [profile])
        timing = _core.TileTimer(units.config, request.shape, True).time([profile.counts])[0]
        assert table.counts[at].tolist() == [getattr(timing, name) for name in COUNTS]
        assert sum(alone.numbers[0, : len(TILE_PHASES)]) == pytest.approx(alone.seconds[0])
        events = activity(units.config, table.kind.plan, alone.timings[0], request.shape)
        assert table.numbers[at].tolist() == [*alone.numbers[0, : len(TILE_PHASES)], *events.values()]


def test_a_product_of_several_passes_comes_in_tiles_of_one(captured):
    machine, own = load_system("sail-next"), load_system("sail-n1-neon-host").pim.one_pass
    ahead = PimUnits(machine, substrate=None, convert=None, prt=True)
    machine = machine.model_copy(update={"pim": machine.pim.model_copy(update={"one_pass": own})})
    units = PimUnits(machine, substrate=None, convert=None, prt=True)
    scan = units.scan(8, True, 4, 128)
    profiles = [PatternCache().captured(captured, InputRows("attn_in", 0, 32, 2048, 2, 0), scan)]
    request = TileRequest(TileShape(2048, 8000, 2, 4, 4, 8, 4, 128), 8e6)
    whole, product = units.table(request, profiles), units.product(request, profiles)
    plan = whole.kind.plan
    assert plan.passes > 2
    assert plan.owned % plan.outputs_per_pass > 0
    assert (product.rounds, product.slices, product.blocks) == (plan.passes, whole.slices, whole.blocks)
    assert product.bytes == pytest.approx(whole.bytes)
    wide = plan.outputs_per_pass * units.config.slices
    parts = [wide] * (plan.passes - 1) + [8000 - wide * (plan.passes - 1)]
    tiles = [
        units.table(request._replace(shape=request.shape._replace(n=n), weight_bytes=n * 1e3), profiles)
        for n in parts
    ]
    assert [tile.kind.plan.passes for tile in tiles] == [1] * plan.passes
    assert product.seconds[0] == pytest.approx(sum(tile.seconds[0] for tile in tiles))
    assert product.counts[0].tolist() == sum(tile.counts[0] for tile in tiles).tolist()
    slow = [max(tile.throttled(1e10)[0], tile.seconds[0]) for tile in tiles]
    assert product.throttled(1e10)[0] == pytest.approx(sum(slow))
    narrow = request._replace(shape=request.shape._replace(n=wide))
    for of, asked in ((units, narrow), (ahead, request)):  # one pass; weights that are on chip
        assert isinstance(of.product(asked, profiles), TileTable)


def every_nbw(machine: System, captured: Activations, batch: int = 6) -> tuple[PimUnits, list[GemvTimes]]:
    """The same tiles of four layers with each NBW, and the units that timed them."""
    units, cache = PimUnits(machine, substrate=None, convert=None, prt=True), PatternCache()

    def profiles(shape: TileShape) -> list[PatternProfile]:
        scan = units.scan(8, True, shape.nbw, shape.group_size)
        rows = [InputRows("ffn_out", layer, 32, shape.k, shape.batch, 0) for layer in (0, 11, 21, 31)]
        return [cache.captured(captured, each, scan) for each in rows]

    request = TileRequest(TileShape(2048, 4096, batch, 4, 4, 8, 0, 128), 4.5e6)
    return units, units.every_nbw(request, profiles)


def test_each_tile_has_the_nbw_that_is_the_fastest_for_it(captured):
    machine = vary(SAIL, {"pim.t_zero": 0, "pim.t_prt": 1})  # where patterns cost different times
    units, tables = every_nbw(machine, captured)
    assert [table.nbw[0] for table in tables] == list(NBWS)
    found = fastest_times(tables, units.weights_rate)
    best = [min(tables, key=lambda table: table.seconds[at]) for at in range(len(found.seconds))]
    assert len(set(best)) > 1
    assert [found.nbw[at] for at in range(len(found.seconds))] == [table.nbw[0] for table in best]
    for name in ("seconds", "bytes", "cycles", "counts", "numbers"):
        own = [getattr(table, name)[at] for at, table in enumerate(best)]
        assert getattr(found, name).tolist() == np.array(own).tolist(), name
    for rate in (1e10, 1e15):
        assert found.throttled(rate).tolist() == [table.throttled(rate)[at] for at, table in enumerate(best)]
    assert (found.slices, found.blocks) == (tables[0].slices, tables[0].blocks)


# --- One function times a tile; what the commands print are its answers ---


def tile(k: int = 512, n: int = 96, batch: int = 2, wbits: int = 4, scaled: bool = True, **more: Any) -> Tile:
    random = np.random.default_rng(k + n)
    group = 128 if scaled else 0
    blocks = -(-k // group) if group else 1
    scales = Scales(np.ones((blocks, n), np.float16), np.ones(batch, np.float32)) if scaled else None
    return Tile(
        x=random.integers(-128, 128, (batch, k), dtype=np.int8),
        codes=random.integers(0, 1 << wbits, (k, n), dtype=np.uint8),
        code=WeightCode.twos(wbits),
        abits=8,
        group_size=group,
        scales=scales,
        **{"nbw": 4} | more,
    )


@given(
    k=st.integers(1, 700),
    n=st.integers(1, 200),
    batch=st.integers(1, 9),
    wbits=st.integers(2, 8),
    scaled=st.booleans(),
    prt=st.booleans(),
)
def test_the_nearer_the_weights_the_quicker(**shape):
    port, chip, dram = (time_tile(SAIL, tile(**shape), memory) for memory in ("port", "chip", "dram"))
    assert port.working <= chip.working * (1 + 1e-12) <= dram.working * (1 + 1e-9)
    assert chip.overheads == dram.overheads
    assert (port.overheads, port.waiting, chip.waiting) == ({}, 0.0, 0.0)
    assert dram.waiting >= -1e-6
    assert all(cycles > 0 for cycles in chip.overheads.values())
    assert dram.seconds == pytest.approx(dram.cycles / 1.8e9)
    for phase in ("build", "lookup", "convert", "write_back"):
        assert port.phases[phase] == chip.phases[phase] == dram.phases[phase]


def test_the_port_is_what_replay_prints(tmp_path):
    tiles = [tile(), tile(n=31, scaled=False), tile(k=63, prt=False)]
    write_trace(tmp_path / "t.trace", tiles)
    printed = replay_timed(read_trace(tmp_path / "t.trace"), SAIL.slice_config(slices=1))
    for one, (_, cycles) in zip(tiles, printed, strict=True):
        assert cycles is not None
        assert time_tile(SAIL, one, "port").cycles == cycles["total"]


def test_what_is_no_way_is_refused():
    with pytest.raises(SailsimError, match="memory is 'llc'; allowed is one of port, chip, dram"):
        time_tile(SAIL, tile(), "llc")  # type: ignore[arg-type]
    with pytest.raises(SailsimError, match=r"no enabled \[pim\] section"):
        time_tile(load_system("graviton2"), tile())


@pytest.mark.parametrize("memory", ["chip", "dram"])
def test_weights_behind_a_codebook_are_asked_for_when_it_is_here(memory):
    """Without one they are under way while the operands come: a whole latency less to wait for."""
    plain = tile(64, 16, 1, scaled=False)
    book = tile(64, 16, 1, scaled=False)
    object.__setattr__(book, "code", WeightCode.book(plain.code.values.tolist()))
    times = [time_tile(SAIL, each, memory) for each in (plain, book)]
    units = validation.PimUnits(
        SAIL, substrate=None, convert=SAIL.unit_convert, prt=True, slices=1, operands="dram"
    )
    waits = times[1].working - times[0].working
    latency = units.chip.latency if memory == "chip" else units.operands.latency
    assert waits == pytest.approx(latency * units.clock, abs=3)


# --- Profiles of captured rows: however they are found, they are those of the rows themselves ---

CAPTURED = Activations.load()
CACHE = PatternCache()


@given(
    st.sampled_from(["attn_in", "ffn_out", "head"]),
    st.integers(1, 4000),
    st.sampled_from([1, 3, 8, 40]),
    st.integers(1, 6),
    st.sampled_from([0, 8, 30, 32, 60, 128]),
    st.sampled_from([0, 4, 15, 63]),
    st.sampled_from(["lru", "fifo", "direct"]),
    st.sampled_from([(4, True), (8, True), (8, False), (12, True)]),
)
def test_profiles_are_those_of_the_rows(role, k, batch, nbw, group_size, entries, policy, width):
    """Whole groups or not, evictions or none, a pool that suffices or not."""
    layer = 0 if role == "head" else 7
    for columns in (k, k // nbw * nbw or nbw):
        rows = InputRows(role, layer, 32, columns, batch, 3)
        scan = PatternScan(*width, nbw, group_size, entries, policy)
        found = CACHE.captured(CAPTURED, rows, scan).counts
        exact = scan.profile(CAPTURED.quantized(*rows, abits=scan.abits, signed=scan.signed))
        for name in ("zero", "hits", "misses"):
            assert (getattr(found, name) == getattr(exact, name)).all(), name


def test_the_fastest_nbw_counts_the_time_to_read_weights_again(captured: Activations) -> None:
    """From NBW 4 on the activations of 32 rows have no room: two chunks, each of which reads all weights."""
    fields = {"pim.activation_buffer": 0.22, "pim.accumulator_buffer": 84, "pim.convert": "cores"}
    units, tables = every_nbw(vary(SAIL, fields | {"memory.channels": 1}), captured, 32)
    assert [table.bytes[0] / 4.5e6 for table in tables] == pytest.approx([1, 1, 1, 2, 2, 2])
    on_chip = [float(table.seconds[0]) for table in tables]
    assert on_chip.index(min(on_chip)) == 3
    assert fastest_times(tables, units.weights_rate).nbw[0] == 3


def test_what_units_leave_behind_is_in_no_circle(captured: Activations) -> None:
    """Nobody searches for circles between the machines of a study (`give_back`)."""
    machine = vary(SAIL, {"pim.rows": 64, "pim.t_zero": 0})
    gc.collect()
    gc.disable()
    try:
        units, tables = every_nbw(machine, captured)
        assert 0 < len(tables) < len(NBWS)  # some do not fit, which is an error on the way
        found = fastest_times(tables, units.weights_rate)
        left = [weakref.ref(each) for each in (units, found, *tables)]
        del units, tables, found
        _tables_of.cache_clear()
        assert not any(each() for each in left)
    finally:
        gc.enable()

"""GEMVs as the PIM units see them."""

import gc
import weakref

import numpy as np
import pytest

from sailsim import _core
from sailsim.sim.activity import activity
from sailsim.sim.files import load_system
from sailsim.sim.patterns import InputRows, Profile, ProfileCache
from sailsim.sim.pim import NBWS
from sailsim.sim.system import System
from sailsim.sim.tiles import COUNTS, FastestTiles, PimUnits, Shape, TileRequest, TileTable, _tables_of
from sailsim.sim.vary import vary
from sailsim.workloads.activations import Activations

SAIL = load_system("sail-n1")


@pytest.fixture(scope="module")
def captured() -> Activations:
    return Activations.load()


def test_units_time_equal_tiles_once(captured: Activations) -> None:
    units = PimUnits(SAIL, substrate=None, convert=None, prt=True)
    cache = ProfileCache()
    scan = units.scan(8, True, 4, 128)
    profile = cache.captured(captured, InputRows("attn_in", 0, 32, 4096, 1, 0), scan)
    shape = Shape(4096, 4096, 1, 4, 4, 8, 4, 128)
    tile = units.tile(shape, profile, 9e6)
    request = TileRequest(shape, 9e6)
    assert units.table(request, [profile]) is units.table(request, [profile])
    # At half the rate of the work, weights alone take twice its time; conversions come on top.
    slow = tile.throttled(9e6 / tile.seconds / 2)
    assert 2 * tile.seconds <= slow <= 3 * tile.seconds
    # However fast they could come: the first group has DRAM's latency, of which the operands' hides a part.
    late = units.dram.latency - units.operands.latency + 4 * 128 / 2 / units.dram.rate
    assert tile.seconds <= tile.throttled(1e15) <= tile.seconds + late + 1 / units.clock


def test_tiles_that_are_slowed_together_take_what_each_takes_alone(captured: Activations) -> None:
    shape = Shape(2048, 4096, 2, 4, 4, 8, 4, 128)
    machine = vary(SAIL, {"pim.t_zero": 0})  # where patterns cost different times

    def timed(layers: list[int]) -> TileTable:
        _tables_of.cache_clear()  # else they are the tiles that equal units have timed already
        units = PimUnits(machine, substrate=None, convert=None, prt=True)
        scan = units.scan(8, True, 4, 128)
        rows = [InputRows("attn_in", layer, 32, 2048, 2, 0) for layer in layers]
        profiles = [ProfileCache().captured(captured, each, scan) for each in rows]
        return units.table(TileRequest(shape, 5e6), profiles)

    layers, rates = [0, 11, 21, 31], (1e10, 5e10, 1e15)
    together, alone = timed(layers), [timed([layer])[0] for layer in layers]
    slow = [[tile.throttled(rate) for rate in rates] for tile in alone]
    assert np.transpose([together.throttled(rate) for rate in rates]).tolist() == slow
    assert len({tuple(seconds) for seconds in slow}) == len(layers)  # their patterns differ


def test_a_table_has_what_each_of_its_tiles_has_alone(captured: Activations) -> None:
    units = PimUnits(SAIL, substrate=None, convert=None, prt=True)
    scan = units.scan(8, True, 4, 128)
    rows = [InputRows("attn_in", layer, 32, 2048, 2, 0) for layer in (0, 11, 31)]
    profiles = [ProfileCache().captured(captured, each, scan) for each in rows]
    request = TileRequest(Shape(2048, 3000, 2, 4, 4, 8, 4, 128), 4e6)
    table = units.table(request, profiles)
    assert len(table) == 3
    assert table[-1].seconds == table[2].seconds
    with pytest.raises(IndexError):
        table[3]
    for at, profile in enumerate(profiles):
        alone = units.table(request, [profile])[0]
        timing = _core.time_tile(units.config, *request.shape, profile.counts, True)
        assert table[at].counts == alone.counts == tuple(getattr(timing, name) for name in COUNTS)
        assert table[at].phases == alone.phases
        assert sum(alone.phases) == pytest.approx(alone.seconds)
        events = activity(
            units.config, table.kind.plan, alone.timing, n=3000, k=2048, batch=2, value_bits=4, abits=8
        )
        assert table[at].numbers == (*alone.phases, *events.values())


def every_nbw(machine: System, captured: Activations, batch: int = 6) -> tuple[PimUnits, list[TileTable]]:
    """The same tiles of four layers with each NBW, and the units that timed them."""
    units, cache = PimUnits(machine, substrate=None, convert=None, prt=True), ProfileCache()

    def profiles(shape: Shape) -> list[Profile]:
        scan = units.scan(8, True, shape.nbw, shape.group_size)
        rows = [InputRows("ffn_out", layer, 32, shape.k, shape.batch, 0) for layer in (0, 11, 21, 31)]
        return [cache.captured(captured, each, scan) for each in rows]

    request = TileRequest(Shape(2048, 4096, batch, 4, 4, 8, 0, 128), 4.5e6)
    return units, units.every_nbw(request, profiles)


def test_each_tile_has_the_nbw_that_is_the_fastest_for_it(captured: Activations) -> None:
    machine = vary(SAIL, {"pim.t_zero": 0, "pim.t_prt": 1})  # where patterns cost different times
    tables = every_nbw(machine, captured)[1]
    assert [table.kind.shape.nbw for table in tables] == list(NBWS)
    found = FastestTiles(tables)
    best = [min((table[at] for table in tables), key=lambda tile: tile.seconds) for at in range(len(found))]
    assert len({tile.nbw for tile in best}) > 1
    assert [found[at].nbw for at in range(len(found))] == [tile.nbw for tile in best]
    for name in ("seconds", "bytes", "cycles", "counts", "numbers"):
        own = [getattr(tile, name) for tile in best]
        assert getattr(found, name).tolist() == np.array(own).tolist(), name
    for rate in (1e10, 1e15):
        assert found.throttled(rate).tolist() == [tile.throttled(rate) for tile in best]
    assert (found.slices, found.blocks, found.shares) == (best[0].slices, best[0].blocks, best[0].slices)


def test_the_fastest_nbw_counts_the_time_to_read_weights_again(captured: Activations) -> None:
    """From NBW 4 on the activations of 32 rows have no room: two chunks, each of which reads all weights."""
    fields = {"pim.activation_buffer": 0.22, "pim.accumulator_buffer": 84, "pim.convert": "cores"}
    tables = every_nbw(vary(SAIL, fields | {"memory.channels": 1}), captured, 32)[1]
    assert [table.kind.plan.batch_chunks for table in tables] == [1, 1, 1, 2, 2, 2]
    on_chip = [float(table.seconds[0]) for table in tables]
    assert on_chip.index(min(on_chip)) == 3
    assert FastestTiles(tables)[0].nbw == 3


def test_what_units_leave_behind_is_in_no_circle(captured: Activations) -> None:
    """Nobody searches for circles between the machines of a study (`give_back`)."""
    machine = vary(SAIL, {"pim.rows": 64, "pim.t_zero": 0})
    gc.collect()
    gc.disable()
    try:
        units, tables = every_nbw(machine, captured)
        assert 0 < len(tables) < len(NBWS)  # some do not fit, which is an error on the way
        found = FastestTiles(tables)
        left = [weakref.ref(each) for each in (units, found, *tables)]
        del units, tables, found
        _tables_of.cache_clear()
        assert not any(each() for each in left)
    finally:
        gc.enable()

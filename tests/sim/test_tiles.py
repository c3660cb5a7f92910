"""GEMVs as the PIM units see them."""

import pytest

from sailsim.sim import load_system, vary
from sailsim.sim.patterns import InputRows, ProfileCache
from sailsim.sim.tiles import PimUnits, Shape, TileRequest, TimedTile, _tiles_of
from sailsim.workloads import Activations

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
    assert units.tile(shape, profile, 9e6) is tile
    # At half the rate of the work, weights alone take twice its time; conversions come on top.
    slow = tile.throttled(9e6 / tile.seconds / 2)
    assert 2 * tile.seconds <= slow <= 3 * tile.seconds
    # However fast they could come: the first group has DRAM's latency, of which the operands' hides a part.
    late = units.dram.latency - units.operands.latency + 4 * 128 / 2 / units.dram.rate
    assert tile.seconds <= tile.throttled(1e15) <= tile.seconds + late + 1 / units.clock


def test_tiles_that_are_slowed_together_take_what_each_takes_alone(captured: Activations) -> None:
    shape = Shape(2048, 4096, 2, 4, 4, 8, 4, 128)
    machine = vary(SAIL, {"pim.t_zero": 0})  # where patterns cost different times

    def timed(layers: list[int]) -> list[TimedTile]:
        _tiles_of.cache_clear()  # else they are the tiles that equal units have timed already
        units = PimUnits(machine, substrate=None, convert=None, prt=True)
        scan = units.scan(8, True, 4, 128)
        rows = [InputRows("attn_in", layer, 32, 2048, 2, 0) for layer in layers]
        request = TileRequest(shape, 5e6)
        return units.tiles([(request, ProfileCache().captured(captured, each, scan)) for each in rows])

    layers = [0, 11, 21, 31]
    together, alone = timed(layers), [tile for layer in layers for tile in timed([layer])]
    slow = [[tile.throttled(rate) for rate in (1e10, 5e10, 1e15)] for tile in together]
    assert slow == [[tile.throttled(rate) for rate in (1e10, 5e10, 1e15)] for tile in alone]
    assert len({tuple(seconds) for seconds in slow}) == len(layers)  # their patterns differ

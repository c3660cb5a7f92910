"""CACTI as an optional cross-check: the recorded numbers, and what happens without it."""

import importlib.util

import cacti
import pytest

installed = pytest.mark.skipif(
    importlib.util.find_spec("zigzag") is None, reason="the package zigzag-dse (CACTI 7) is not installed"
)


def test_recorded_numbers_are_of_the_memories_that_are_run():
    found = list(cacti.recorded())
    assert [estimate.memory for estimate in found] == list(cacti.MEMORIES)
    arrays = {e.memory.node_nm: e for e in found if e.memory.name == "C-SRAM array"}
    for finer, coarser in ((22, 32), (32, 45)):
        for name in ("read_pj", "write_pj", "area_mm2", "access_ns", "leakage_mw"):
            assert getattr(arrays[finer], name) < getattr(arrays[coarser], name)
    assert all(0 < e.efficiency < 1 for e in found)


@installed
def test_a_run_gives_the_recorded_numbers():
    recorded = next(e for e in cacti.recorded() if e.memory == cacti.MEMORIES[0])
    found = cacti.estimate(cacti.MEMORIES[0])
    for name in ("read_pj", "write_pj", "leakage_mw", "area_mm2", "access_ns", "efficiency"):
        assert getattr(found, name) == pytest.approx(getattr(recorded, name), rel=1e-5)

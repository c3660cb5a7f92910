"""Fields of a system that no step depends on are told where another value is asked for, and are no others."""

from typing import Any

import pytest

from sailsim import compare, simulate
from sailsim.base.quantity import Quantity
from sailsim.sim.machine.system_files import leaves, load_system
from sailsim.sim.point import Point
from sailsim.sim.step.engine import NOT_READ

SYSTEMS = ("sail-n1", "sail-v2")


def told(system: str) -> list[str]:
    """The notes of a step that speak of fields that it does not depend on."""
    notes = simulate(Point(system=system, model="smollm2-135m")).notes
    return [note for note in notes if "gem5" in note]


def numbers(system: str, **point: Any) -> dict[str, tuple[Any, ...]]:
    """What of each runner a field could move."""
    found = compare(Point(system=system, model="smollm2-135m", **point))["runs"]
    names = ("tokens_per_s", "low", "high", "energy_j", "energy_low_j", "tokens_per_usd", "reason")
    return {name: tuple(run[each] for each in names) for name, run in found.items()}


@pytest.mark.parametrize("system", SYSTEMS)
def test_nothing_depends_on_them(system):
    known = leaves(load_system(system))
    changes = []
    for field in NOT_READ:
        leaf = known[field]
        assert isinstance(leaf, Quantity)
        changes.append(f":{field}={2 * leaf.value}")
    for point in ({"batch": 8}, {"phase": "prefill", "prompt": 64}):
        assert numbers(system + "".join(changes), **point) == numbers(system, **point)


def test_they_are_told_where_they_are_asked_for():
    assert told("sail-n1") == told("sail-n1:llc.slices=16") == []
    assert told("sail-n1:cores.rob=99:llc.slices=16:l1d.size=32") == [
        "not modelled: what another cores.rob, l1d.size would change; only `sailsim gem5` can tell"
    ]

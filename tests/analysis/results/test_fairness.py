"""SAIL's cores and the CPU baseline's are the same cores with the same software: equal constants."""

import pytest

from sailsim.analysis import fits
from sailsim.sim import load_system


@pytest.mark.parametrize(("system", "software"), [("sail-n1", "llama.cpp"), ("sail-n1-fast-host", "ampere")])
def test_host_constants_are_those_of_the_baseline(system: str, software: str) -> None:
    machine, fitted = load_system(system), fits().software(software)
    reads = fitted.value("read_share") * machine.memory.read_bandwidth.si / machine.memory.peak_bandwidth.si
    assert machine.host.attention_rate.value == pytest.approx(fitted.value("attention_rate"), rel=2e-3)
    assert machine.host.barrier.value == pytest.approx(fitted.value("barrier"), rel=2e-3)
    assert machine.memory.core_share.value == pytest.approx(reads, rel=5e-3)
    for quantity in (machine.host.attention_rate, machine.memory.core_share):
        assert quantity.kind == "fitted"

"""The machine on which a few megabytes come from memory."""

import pytest

from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.sim.gem5.measure import BANDWIDTH_RUNS, CORES, STREAMED_OUTPUTS, scaled


def test_a_share_of_the_machine_with_small_caches() -> None:
    whole, part = load_system("sail-n1"), scaled(load_system("sail-n1"))
    assert (part.llc.slices.whole, part.memory.channels.whole) == (8, 2)
    assert part.memory.peak_bandwidth.si == pytest.approx(whole.memory.peak_bandwidth.si / 4)
    assert part.llc.latency == whole.llc.latency
    assert part.digest != whole.digest
    for threads, size in BANDWIDTH_RUNS:
        assert size > 2 * (threads * (part.l1d.size.si + part.l2.size.si) + part.llc.size)
    bytes_of = {"q8_0": 34, "q4_0": 18, "q4_1": 20, "q2": 21}  # 32 weights, 64 for q2
    for name, outputs in STREAMED_OUTPUTS.items():
        weights = outputs * 4096 * bytes_of[name] / (64 if name == "q2" else 32)
        assert weights > 4 * (part.l1d.size.si + part.l2.size.si) + part.llc.size


def test_a_machine_that_does_not_divide_is_refused() -> None:
    with pytest.raises(SailsimError, match=r"memory\.channels is 8"):
        scaled(load_system("sail-n1"), CORES // 8 * 2)

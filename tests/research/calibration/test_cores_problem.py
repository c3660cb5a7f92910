"""The fits of later cores: what they rest on, and that the machines have what came out."""

import pytest

from sailsim.sim.machine.system_files import load_system
from sailsim.sim.software.fitted import core_of, fitted_constants


@pytest.mark.parametrize("name", ["graviton2", "graviton3", "graviton4", "cobalt100", "axion"])
def test_the_cores_of_a_machine_run_what_the_baseline_runs(name: str) -> None:
    system = load_system(name)
    found = fitted_constants().software("llama.cpp", core_of(system))
    for field in ("attention_rate", "barrier", "product_overhead"):
        assert getattr(system.host, field).value == pytest.approx(found.value(field), rel=2e-3), field
    share = found.value("read_share") * float(system.memory.read_share.value)
    assert system.memory.core_share.value == pytest.approx(share, rel=2e-3)
    rate = found.value("kernel_rate_q4_k_m")
    assert system.host.float_rate.value == pytest.approx(rate, rel=2e-3)
    assert system.host.grid_rate.value == pytest.approx(rate / 2, rel=2e-3)

"""Which core a machine has, and what is known of software on it."""

import pytest

from sailsim.analysis.baselines.core_kinds import CORES, N1, core_of
from sailsim.analysis.baselines.cpu import constants, cpu_tokens_per_s
from sailsim.analysis.baselines.fitted import fitted_constants
from sailsim.analysis.baselines.predict import baseline
from sailsim.analysis.results.runs import evaluate
from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system, system_names
from sailsim.sim.point import Point
from sailsim.sim.vary import vary
from sailsim.workloads.formats import uniform_format, weight_format
from sailsim.workloads.load import load_model

LLAMA = load_model("llama-7b")
Q4 = weight_format("q4_k_m")
LATER = {"graviton3": "neoverse-v1", "graviton4": "neoverse-v2", "axion": "neoverse-v2",
         "cobalt100": "neoverse-n2", "sail-v2": "neoverse-v2"}  # fmt: skip


@pytest.mark.parametrize("name", system_names())
def test_every_machine_has_a_core_that_something_is_known_of(name: str) -> None:
    core = core_of(load_system(name))
    assert core == LATER.get(name, N1)
    assert core in CORES
    assert "llama.cpp" in fitted_constants().known_on(core)


def test_half_of_the_vector_pipes_make_another_core() -> None:
    assert core_of(vary(load_system("graviton4"), {"cores.simd_pipes": 2})) == "neoverse-n2"


def test_constants_are_those_of_the_core() -> None:
    kernels = {core: float(constants("llama.cpp", Q4, core=core)[0].kernel_rate) for core in CORES}
    known = fitted_constants()
    for core, rate in kernels.items():
        assert rate == known.software("llama.cpp", core).value("kernel_rate_q4_k_m")
    assert kernels[N1] < kernels["neoverse-n2"] < kernels["neoverse-v2"]
    older = cpu_tokens_per_s(load_system("graviton2"), LLAMA, Q4, 16)
    newer = cpu_tokens_per_s(load_system("graviton3"), LLAMA, Q4, 16)
    assert newer.tokens_per_s > 1.3 * older.tokens_per_s


def test_a_format_keeps_its_ratio_and_says_where_it_was_measured() -> None:
    q8 = weight_format("q8_0")
    ratio = [float(constants("llama.cpp", q8, core=core)[1].relative) for core in (N1, "neoverse-v1")]
    assert ratio[0] == ratio[1]
    notes = cpu_tokens_per_s(load_system("graviton3"), LLAMA, q8, 16).notes
    assert any("that on neoverse-n1" in note for note in notes)


def test_a_core_that_was_not_measured_says_so_and_has_a_wider_band() -> None:
    cobalt = cpu_tokens_per_s(load_system("cobalt100"), LLAMA, Q4, 16)
    graviton = cpu_tokens_per_s(load_system("graviton4"), LLAMA, Q4, 16)
    assert any("not measured on neoverse-n2" in note for note in cobalt.notes)
    assert not any("not measured" in note for note in graviton.notes)
    assert cobalt.high / cobalt.low > graviton.high / graviton.low


def test_tables_on_a_later_core_are_assumed() -> None:
    four = uniform_format(4, 128)
    notes = cpu_tokens_per_s(load_system("graviton4"), LLAMA, four, 16, software="t-mac").notes
    assert any("T-MAC was not measured on neoverse-v2" in note for note in notes)
    assert any("is assumed" in note for note in notes)
    rate = fitted_constants().software("t-mac", "neoverse-v2").constants["lut_rate"]
    assert rate.kind == "assumed"


@pytest.mark.parametrize("machine", ["graviton3", "graviton4", "axion", "cobalt100"])
def test_the_fork_is_refused_where_it_was_not_measured(machine: str) -> None:
    with pytest.raises(SailsimError, match=r"ampere, allowed on neoverse-.* is one of llama.cpp, t-mac"):
        baseline(machine, LLAMA, Q4, 16, software="ampere")


def test_sail_on_todays_server_runs_beside_what_is_known_there() -> None:
    found = {run["runner"]: run for run in evaluate(Point(system="sail-v2", model="llama-2-7b", batch=8))}
    assert found["sail"]["tokens_per_s"] > found["cores"]["tokens_per_s"]
    assert found["cores-ampere"]["tokens_per_s"] is None
    assert "not measured on neoverse-v2" in found["cores-ampere"]["reason"]
    assert found["cores-best"]["tokens_per_s"] == found["cores-lut"]["tokens_per_s"]
    assert any("constants of ddr4-3200" in note for note in found["sail"]["notes"])

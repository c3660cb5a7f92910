"""Machines with the CHI protocol (gem5-configs/chi.py): units are right, and see what caches hold."""

import re
from pathlib import Path
from types import ModuleType

import pytest

from sailsim.base.errors import SailsimError
from sailsim.sim import System
from sailsim.sim.gem5 import Gem5
from sailsim.sim.vary import vary

from .test_cores import stages

pytestmark = pytest.mark.gem5
CHI = ("--coherence", "chi")
every_model = pytest.mark.parametrize("cpu", ["timing", "minor", "o3"])


@pytest.fixture(scope="module")
def chi(gem5: Gem5) -> Gem5:
    if not gem5.chi:
        pytest.skip("this gem5 was built without Ruby's CHI protocol")
    return gem5


@every_model
def test_the_driver_on_every_core_model_that_ruby_has(
    chi: Gem5, machine: System, kernels: Path, small_trace: Path, tmp_path: Path, cpu: str
) -> None:
    program = [str(kernels / "lutmm_driver"), "--trace", str(small_trace), "--units", "4"]
    run = chi.run(machine, program, tmp_path, cpu=cpu, extra=CHI)
    answer = run.json_lines[-1]
    assert (run.status, answer["emulated"], answer["ok"], answer["wrong_words"]) == (0, 0, 8, 0)
    for unit in range(4):
        assert run.unit_stat(unit, "tiles") == 2
        assert sum(stages(run.stats, unit).values()) == run.ticks


@every_model
def test_units_read_what_only_the_cores_caches_hold(
    chi: Gem5, machine: System, kernels: Path, tmp_path: Path, cpu: str
) -> None:
    """The example works out its operands and checks results by plain loops. Memory gets what the units write,
    some lines; of the cores' 8 KiB of weights it has seen nothing when all is read and right."""
    run = chi.run(machine, [str(kernels / "example_gemv"), "4"], tmp_path, cpu=cpu, extra=CHI)
    assert re.search(r"^64 outputs right, \d+ cycles a tile, 0 tiles by emulation$", run.output, re.M)
    assert run.totals()["dram_bytesWritten"] < 2048
    assert sum(run.unit_stat(unit, "tiles") for unit in range(4)) == 4


def test_a_full_queue_holds_a_core_and_nothing_else(
    chi: Gem5, machine: System, kernels: Path, small_trace: Path, tmp_path: Path
) -> None:
    short = vary(machine, {"pim.queue": 1})
    program = [str(kernels / "lutmm_driver"), "--trace", str(small_trace)]
    run = chi.run(short, program, tmp_path, cpu="o3", extra=CHI)
    assert (run.json_lines[-1]["ok"], run.json_lines[-1]["wrong_words"]) == (8, 0)
    assert run.unit_stat(0, "withheld") > 0


def test_cores_that_share_units(
    chi: Gem5, machine: System, kernels: Path, small_trace: Path, tmp_path: Path
) -> None:
    program = [str(kernels / "lutmm_driver"), "--trace", str(small_trace), "--units", "2"]
    words = [*program, "--threads", "4", "--repeats", "2"]
    run = chi.run(machine, words, tmp_path, cpu="timing", cores=4, extra=CHI)
    answer = run.json_lines[-1]
    assert (run.status, answer["threads"], answer["ok"], answer["wrong_words"]) == (0, 4, 8, 0)
    assert sum(run.unit_stat(unit, "tiles") for unit in range(2)) == 16


def test_every_refused_descriptor_ends_in_its_status(
    chi: Gem5, machine: System, kernels: Path, oracles: ModuleType, tmp_path: Path
) -> None:
    expected = oracles.write_refused_trace(tmp_path / "refused.trace")
    program = [str(kernels / "lutmm_driver"), "--trace", str(tmp_path / "refused.trace")]
    words = [*program, "--list", "--check-inputs"]
    run = chi.run(machine, words, tmp_path / "out", cpu="timing", extra=CHI)
    *lines, summary = run.json_lines
    assert [{key: line[key] for key in expected[0]} for line in lines] == expected
    assert (summary["emulated"], summary["ok"], summary["inputs"]) == (0, 1, "kept")


def test_random_descriptors(chi: Gem5, machine: System, kernels: Path, tmp_path: Path) -> None:
    program = [str(kernels / "lutmm_fuzz"), "--count", "100", "--seed", "5", "--machine-units", "4"]
    program += ["--units", "2", "--units-protect", "--timeout-ms", "20"]
    run = chi.run(machine, program, tmp_path, cpu="timing", extra=CHI)
    answer = run.json_lines[-1]
    assert (run.status, answer["descriptors"], answer["failures"]) == (0, 100, 0)


@pytest.mark.parametrize("streams", [0, 2])
def test_a_replay_gives_the_results_of_the_trace(
    chi: Gem5, machine: System, small_trace: Path, tmp_path: Path, streams: int
) -> None:
    """The phases that do not depend on memory take what they take on the classic machine."""
    runs = [
        chi.replay(machine, small_trace, tmp_path / name, streams=streams, extra=("--coherence", name))
        for name in ("chi", "classic")
    ]
    for run in runs:
        assert [(row["status"], row["good"]) for row in run.tiles()] == [(1, 1)] * 8
    for phase in ("build", "lookup", "convert", "writeBack"):
        of_chi, of_classic = ([run.unit_stat(unit, f"{phase}Cycles") for unit in range(4)] for run in runs)
        assert of_chi == of_classic


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--capacity-mode",), "capacity-mode is given beside coherence chi"),
        (("--start-with", "timing"), "start-with is given beside coherence chi"),
        (("--checkpoint-at", "5"), "checkpoint-at is given beside coherence chi"),
    ],
)
def test_what_a_chi_machine_cannot_follow(
    chi: Gem5, machine: System, kernels: Path, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    with pytest.raises(SailsimError, match=says):
        chi.run(machine, [str(kernels / "example_gemv")], tmp_path, cpu="timing", extra=(*CHI, *words))


def test_more_nodes_than_this_gem5_can_name(
    chi: Gem5, full_machine: System, small_trace: Path, tmp_path: Path
) -> None:
    """32 slices, 32 units and the replayer; a gem5 as it comes has 64 bits in a set of nodes."""
    with pytest.raises(SailsimError, match=r"65 CHI nodes .* and this gem5 names 64; take fewer"):
        chi.replay(full_machine, small_trace, tmp_path, extra=CHI)


def test_a_gem5_without_chi_says_so(gem5: Gem5, machine: System, kernels: Path, tmp_path: Path) -> None:
    if gem5.chi:
        pytest.skip("this gem5 has Ruby's CHI protocol")
    with pytest.raises(SailsimError, match="this gem5 has no Ruby with CHI; build it with RUBY=y"):
        gem5.run(machine, [str(kernels / "example_gemv")], tmp_path, cpu="timing", extra=CHI)

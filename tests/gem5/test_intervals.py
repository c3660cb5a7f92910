"""Parts of a long program: block vectors, checkpoints on the way, short runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sailsim.base.errors import SailsimError
from sailsim.sim.gem5.binary import BASIC_BLOCK_VECTORS, Gem5, Gem5Run
from sailsim.sim.machine.system import System

pytestmark = pytest.mark.gem5
INTERVAL = 20_000
PLACES = (100_000, 400_000)


@pytest.fixture(scope="module")
def part(
    gem5: Gem5, machine: System, kernels: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Gem5Run]:
    """Runs a program with options of `sailsim gem5 run`. It waits for nothing, so that it has as many
    instructions however long they take."""
    program = [str(kernels / "bandwidth"), "--kind", "copy", "--bytes", "131072", "--repeats", "1"]

    def run(*words: object, cpu: str = "atomic") -> Gem5Run:
        folder = tmp_path_factory.mktemp("part")
        return gem5.run(machine, program, folder, cpu=cpu, units=0, extra=list(map(str, words)))

    return run


@pytest.fixture(scope="module")
def profiled(part: Callable[..., Gem5Run]) -> Gem5Run:
    return part("--simpoint-interval", INTERVAL, "--checkpoint", ",".join(map(str, PLACES)))


def right(run: Gem5Run) -> bool:
    return run.status == 0 and [line["kind"] for line in run.json_lines] == ["copy"]


def test_a_vector_for_every_interval(profiled):
    """An interval ends with the block that fills it, and the next is as much shorter."""
    assert right(profiled)
    lines = (profiled.folder / BASIC_BLOCK_VECTORS).read_text().splitlines()
    assert profiled.basic_block_vectors == len(lines) == profiled.totals()["instructions"] // INTERVAL
    ended = 0
    for i, line in enumerate(lines, 1):
        assert line.startswith("T:")
        ended += sum(int(field.split(":")[2]) for field in line[1:].split())
        assert 0 <= ended - i * INTERVAL < 1000


def test_checkpoints_lie_after_so_many_instructions(profiled, part):
    assert [path.name for path in profiled.checkpoints] == [f"instruction-{place}" for place in PLACES]
    for path, place in zip(profiled.checkpoints, PLACES, strict=True):
        rest = part("--restore", path)
        assert right(rest)
        assert rest.totals()["instructions"] == profiled.totals()["instructions"] - place


def test_an_interval_on_another_core_model(profiled, part):
    last = ("--restore", profiled.checkpoints[-1])
    whole = part(*last, cpu="o3")
    assert right(whole)
    run = part(*last, "--until", INTERVAL, cpu="o3")
    assert run.json_lines == []
    assert INTERVAL <= run.totals()["instructions"] < INTERVAL + 16  # O3 commits some at once
    assert run.ticks < whole.ticks


def test_a_program_that_ends_before_its_checkpoint(part):
    with pytest.raises(SailsimError, match=r"last active thread context, before instruction 1000000000 of"):
        part("--checkpoint", 1000000000)


@pytest.mark.parametrize("count", [2, 1234])
def test_an_atomic_core_stops_exactly(part, count):
    assert part("--until", count).totals()["instructions"] == count

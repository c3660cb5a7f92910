"""Parts of a long program: block vectors, checkpoints on the way, short runs."""

from pathlib import Path

import pytest

from sailsim.base.errors import SailsimError
from sailsim.sim.gem5.binary import BASIC_BLOCK_VECTORS, Gem5, Gem5Run
from sailsim.sim.system import System

pytestmark = pytest.mark.gem5
INTERVAL = 20_000
PLACES = (100_000, 400_000)


@pytest.fixture(scope="module")
def program(kernels: Path) -> list[str]:
    """It waits for nothing, so that it has as many instructions however long they take."""
    return [str(kernels / "bandwidth"), "--kind", "copy", "--bytes", "131072", "--repeats", "1"]


@pytest.fixture(scope="module")
def profiled(
    gem5: Gem5, machine: System, program: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Gem5Run:
    folder = tmp_path_factory.mktemp("profiled")
    extra = ["--simpoint-interval", str(INTERVAL), "--checkpoint", ",".join(map(str, PLACES))]
    return gem5.run(machine, program, folder, cpu="atomic", units=0, extra=extra)


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


def test_checkpoints_lie_after_so_many_instructions(profiled, gem5, machine, program, tmp_path):
    assert [path.name for path in profiled.checkpoints] == [f"instruction-{place}" for place in PLACES]
    for path, place in zip(profiled.checkpoints, PLACES, strict=True):
        extra = ["--restore", str(path)]
        rest = gem5.run(machine, program, tmp_path / path.name, cpu="atomic", units=0, extra=extra)
        assert right(rest)
        assert rest.totals()["instructions"] == profiled.totals()["instructions"] - place


def test_an_interval_on_another_core_model(profiled, gem5, machine, program, tmp_path):
    last = ["--restore", str(profiled.checkpoints[-1])]
    whole = gem5.run(machine, program, tmp_path / "whole", cpu="o3", units=0, extra=last)
    assert right(whole)
    part = gem5.run(
        machine, program, tmp_path / "part", cpu="o3", units=0, extra=[*last, "--until", str(INTERVAL)]
    )
    assert part.json_lines == []
    assert INTERVAL <= part.totals()["instructions"] < INTERVAL + 16  # O3 commits some at once
    assert part.ticks < whole.ticks


def test_a_program_that_ends_before_its_checkpoint(gem5, machine, program, tmp_path):
    with pytest.raises(SailsimError, match=r"last active thread context, before instruction 1000000000 of"):
        gem5.run(machine, program, tmp_path, cpu="atomic", units=0, extra=["--checkpoint", "1000000000"])


def test_an_atomic_core_stops_exactly(
    gem5: Gem5, machine: System, program: list[str], tmp_path: Path
) -> None:
    for count in (2, 1234):
        run = gem5.run(
            machine,
            program,
            tmp_path / str(count),
            cpu="atomic",
            units=0,
            extra=["--until", str(count)],
        )
        assert run.totals()["instructions"] == count

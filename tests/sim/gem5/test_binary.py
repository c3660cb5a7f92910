"""What is read out of gem5's output and statistics."""

from pathlib import Path

import pytest

from sailsim.sim.gem5.binary import Gem5Run, in_lines, last_tick, read_dumps

END = "sailsim-gem5: exiting with last active thread context at 42 ps, exit status 0"


@pytest.mark.parametrize(
    "line", [END, "measured part begins after 1.50 s of processor time", "checkpoint at 5 ps in a"]
)
def test_a_line_of_ours_behind_one_that_did_not_end_is_a_line_of_its_own(line: str) -> None:
    assert in_lines(f"7{line}\nx\n{line}\n") == f"7\n{line}\nx\n{line}\n"
    assert last_tick(in_lines(f"4242{END}\n")) == 42


@pytest.mark.parametrize("text", ["", "42", f"{END}\n", "a\nsailsim-gem5\n", "see checkpoint at dawn\n"])
def test_all_else_stays_as_it_is(text: str) -> None:
    assert in_lines(text) == text


def test_lines_that_only_look_like_json_are_left_out() -> None:
    output = 'a line\n{not json\n{"x": 1}\n{\n' + '{"y":' * 100_000 + "\n"
    assert Gem5Run(0, output, 0, 0.0, [], Path()).json_lines == [{"x": 1}]


def test_dumps_of_statistics(tmp_path: Path) -> None:
    path = tmp_path / "stats.txt"
    begin, end = (f"---------- {word} Simulation Statistics   ----------\n" for word in ("Begin", "End"))
    begin = begin.replace("   -", " -")
    first = f"{begin}system.units0.tiles   1   # Tiles (Count)\n{end}"
    second = f"\n{begin}system.units0.tiles   3   # (Count)\nsystem.text   word   # text\n"
    path.write_text(first + second + end)
    assert read_dumps(path) == [{"system.units0.tiles": 1}, {"system.units0.tiles": 3}]
    path.write_text(first + second)  # cut off
    assert read_dumps(path) == []
    assert read_dumps(tmp_path / "absent") == []


def test_totals_of_the_statistics() -> None:
    stats = {
        "simInsts": 7.0,
        "system.cpus0.numCycles": 5.0,
        "system.cpus1.numCycles": 9.0,
        "system.units00.tiles": 1.0,
        "system.units01.tiles": 2.0,
        "system.units00.prtHitRate": 0.5,
        "system.units00.queueLength": 0.1,
        "system.units01.stageTicks::groups": 4.0,
        "system.memory0.dram.bytesRead::total": 64.0,
        "system.memory1.dram.bytesRead::total": 64.0,
        "system.llc0.demandMisses::units": 3.0,
        "system.units00.errors::fault": 1.0,
    }
    assert Gem5Run(0, "", 1, 1.0, [stats], Path()).totals() == {
        "instructions": 7,
        "core_cycles": 9,
        "unit_tiles": 3,
        "unit_groupsTicks": 4,
        "dram_bytesRead": 128,
    }

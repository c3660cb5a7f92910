"""What is read out of gem5's output."""

import pytest

from sailsim.sim.gem5.outcome import in_lines, last_tick

END = "sailsim-gem5: exiting with last active thread context at 42 ps, exit status 0"


@pytest.mark.parametrize(
    "line", [END, "measured part begins after 1.50 s of processor time", "checkpoint at 5 ps in a"]
)
def test_a_line_of_ours_behind_one_that_did_not_end_is_a_line_of_its_own(line: str) -> None:
    assert in_lines(f"7{line}\nx\n{line}\n") == f"7\n{line}\nx\n{line}\n"


@pytest.mark.parametrize("text", ["", "42", f"{END}\n", "a\nsailsim-gem5\n", "see checkpoint at dawn\n"])
def test_all_else_stays_as_it_is(text: str) -> None:
    assert in_lines(text) == text


def test_a_program_that_ends_in_the_middle_of_a_line_has_ended() -> None:
    assert last_tick(in_lines(f"4242{END}\n")) == 42

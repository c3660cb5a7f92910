"""The example of docs/start.md does what the page says."""

import doctest
from pathlib import Path


def test_the_worked_example() -> None:
    page = Path(__file__).parents[2] / "docs" / "start.md"
    results = doctest.testfile(str(page), module_relative=False)
    assert results.attempted >= 6
    assert results.failed == 0

"""A table of one run's times, printed at its end: ratios within one run are what can be compared."""

from collections.abc import Iterator

import pytest


class Table:
    """Rows of (what, milliseconds); the first row is the unit of the ratios."""

    def __init__(self) -> None:
        self.rows: dict[str, float] = {}

    def add(self, what: str, seconds: float) -> None:
        """Record the best time of something."""
        self.rows[what] = 1e3 * seconds

    def ratio(self, what: str, to: str) -> float:
        """How many times longer ``what`` took than ``to``."""
        return self.rows[what] / self.rows[to]

    def text(self) -> str:
        """The table, every time also as a multiple of the first."""
        width = max(map(len, self.rows))
        first = next(iter(self.rows.values()))
        lines = [f"{what:<{width}}  {ms:>9.3f} ms  {ms / first:>8.2f} x" for what, ms in self.rows.items()]
        return "\n".join(lines)


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    """The module's table; printed when its tests are done."""
    table = Table()
    yield table
    if table.rows:
        print(f"\n\n{table.text()}\n")

"""The tables of docs/backends.md: accelerators against published figures and against simulators."""

from __future__ import annotations

from collections.abc import Sequence

from sailsim.analysis.render.markdown import table
from sailsim.analysis.results.accelerators import (
    MODEL,
    Checked,
    Simulated,
    Simulator,
    checked,
    citation,
    figures,
    simulated,
    simulators,
)
from sailsim.workloads import load_model


def backends_parts() -> dict[str, str]:
    """The tables by their names."""
    return {"published": published(), "simulators": _simulators()}


def published() -> str:
    """Every published figure beside ours, whatever comes out."""
    rows = [checked(figure) for figure in figures()]
    lines = [
        (
            row.machine.title,
            row.figure.what,
            f"{row.figure.published.value:g} {_unit(row)}".strip(),
            f"{row.ours:.3g}",
            _signed(row.error, 0),
            row.figure.why,
        )
        for row in rows
    ]
    sources = dict.fromkeys(row.figure.published.source for row in rows)
    told = "\n".join(f"- {citation(source)}." for source in sources)
    return (
        table(("machine", "figure", "published", "ours", "error", "why"), lines, "lllrrl")
        + f"\n\nOf {len(rows)} figures {sum(_near(row) for row in rows)} are within 10 %; "
        f"{sum(row.figure.fitted for row in rows)} of them went into its machine's file.\n\n{told}"
    )


def _near(row: Checked) -> bool:
    return abs(row.error) <= 0.1


def _unit(row: Checked) -> str:
    return "" if row.figure.published.unit == "ratio" else row.figure.published.unit


def _simulators() -> str:
    """A table a simulator."""
    return "\n\n".join(_of_simulator(simulator, simulated(simulator)) for simulator in simulators())


def _of_simulator(simulator: Simulator, rows: Sequence[Simulated]) -> str:
    lines: list[tuple[object, ...]] = [
        (
            f"{r.shape.k} x {r.shape.n}",
            r.times,
            r.theirs * 1e3,
            None if r.copies is None else r.copies * 1e3,
            r.ours * 1e3,
            _error(r.ours, r.theirs),
        )
        for r in rows
    ]
    theirs, ours = (sum(r.times * getattr(r, name) for r in rows) * 1e3 for name in ("theirs", "ours"))
    copied = [r.times * r.copies * 1e3 for r in rows if r.copies is not None]
    copies = sum(copied) if len(copied) == len(rows) else None
    lines.append((f"a token of {load_model(MODEL).title}", "", theirs, copies, ours, _error(ours, theirs)))
    header = ("k x n", "in a token", "its commands, ms", "its copies, ms", "ours, ms", "error")
    kind = "Comparable" if simulator.comparable else "Not comparable"
    return (
        f"**{simulator.title}** ({simulator.version}; `{simulator.options}`; {simulator.date}; "
        f"`{simulator.machine}`). {kind}: {simulator.why}\n\n" + table(header, lines, "lrrrrr")
    )


def _error(ours: float, theirs: float) -> str:
    return _signed(ours / theirs - 1, 1)


def _signed(share: float, decimals: int) -> str:
    """A deviation with its sign; none before a zero."""
    text = f"{share:+.{decimals}%}"
    return text if any(digit in text for digit in "123456789") else text[1:]

"""What `sailsim run` prints of a point's runs: a table that fits 80 columns, or all there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from sailsim.analysis.baselines.kinds import FASTEST
from sailsim.analysis.costs.energy import CAUSES
from sailsim.cli._point import reasons, thousands
from sailsim.cli._table import echo, print_table, say

Runs = Mapping[str, dict[str, Any]]
COLUMNS = ("tokens/s", "band", "speedup", "ktok/USD", "value", "mJ/tok")
"""Of numbers in the table of runners, in decoding; in prefill the time to the first token comes first."""
NOT_MODELLED = "not modelled"
"""How a note begins that says so: those are always told."""


def print_runs(console: Console, runs: Runs, *, prefill: bool, tokens: float, wide: bool) -> None:
    """The runners beside each other, where an accelerator's step goes, and what is chosen by tensor; with
    ``wide`` every runner, who pays for what, and the energy by cause."""
    shown = runs if wide else _strongest(runs)
    console.print(_table(shown, prefill))
    if len(shown) < len(runs):
        echo(f"Of each card the fastest software; {len(runs) - len(shown)} more with --wide.")
    if wide:
        console.print(_payments(shown))
    for name, entry in runs.items():
        if entry["kind"] == "accelerator" and entry["step_s"] is not None:
            console.print(_phases(name, entry))
    for name, entry in runs.items():
        if entry["chosen"]:
            console.print(_nbws(name, entry["chosen"]))
    if wide:
        _print_energy(tokens, runs)


def print_notes(found: dict[str, Any], everything: bool) -> None:
    """What is not modelled and who cannot run it; what was assumed too, or how to see that."""
    notes = found["notes"]
    told = {note: names for note, names in notes.items() if everything or note.startswith(NOT_MODELLED)}
    if everything:
        say(f"Prices: {found['prices'] or 'none of these machines'}.")
        for note, names in found["price_notes"].items():
            say(f"- {', '.join(names)}: {note}")
        say(f"- {found['patterns']}")
    for note, names in told.items():
        say(f"- {', '.join(names)}: {note}")
    for line in reasons(found["runs"] if everything else _strongest(found["runs"])):
        say(line)
    if not everything:
        echo(f"{len(notes) - len(told)} notes on what was assumed, and the prices: --notes.")


def _strongest(runs: Runs) -> Runs:
    """All runners but, of each card, those that are not its fastest."""
    best: dict[str, str] = {}
    for name, entry in runs.items():
        if entry["kind"] == "card":
            before = best.get(entry["hardware"])
            if before is None or (entry["tokens_per_s"] or 0) > (runs[before]["tokens_per_s"] or 0):
                best[entry["hardware"]] = name
    return {
        name: entry
        for name, entry in runs.items()
        if entry["kind"] != "card" or best[entry["hardware"]] == name
    }


def _table(runs: Runs, prefill: bool) -> Table:
    """A line a runner: its rate with its band, SAIL's speedup over it, its dollars and its joules."""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        caption=f"{'TTFT: time to the first token; ' if prefill else ''}band: nine of ten measurements;\n"
        "ktok/USD: for the vCPUs of threads, memory or bandwidth, whichever are most;\n"
        "speedup, value: SAIL's tokens/s, and tokens/USD so paid, over the runner's",
    )
    table.add_column("runner", no_wrap=True, max_width=22)
    # In prefill the time to the first token has the room of the joules.
    names = ("TTFT, s", *COLUMNS[:-1]) if prefill else COLUMNS
    for title in names:
        table.add_column(title, justify="right", no_wrap=True)
    for entry in runs.values():
        if entry["tokens_per_s"] is None:
            table.add_row(entry["title"], "-" if entry["fits"] else "no room")
            continue
        band = "" if entry["low"] is None else f"{_short(entry['low'])}..{_short(entry['high'])}"
        speedup = "" if entry["speedup"] is None else f"{entry['speedup']:.2f}x"
        cells = [f"{entry['tokens_per_s']:.1f}", band, speedup, *_dollars(entry)]
        cells = [f"{entry['ttft_s']:.3g}", *cells] if prefill else [*cells, _joules(entry)]
        table.add_row(entry["title"], *cells)
    return table


def _payments(runs: Runs) -> Table:
    """What each runner pays for, and how much."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("runner", no_wrap=True, max_width=22)
    table.add_column("USD/h", justify="right", no_wrap=True)
    table.add_column("pays for")
    for entry in runs.values():
        if entry["tokens_per_usd"] is not None:
            table.add_row(entry["title"], f"{entry['usd_per_hour']:.3f}", entry["paid"])
    return table


def _short(rate: float) -> str:
    """A rate in as few digits as a band needs."""
    return f"{rate:.0f}" if rate < 1e4 else f"{rate / 1e3:.0f}k"


def _dollars(entry: dict[str, Any]) -> list[str]:
    if entry["tokens_per_usd"] is None:
        return ["no price", ""]
    ratio = entry["usd_ratio_bandwidth"]
    return [thousands(entry["tokens_per_usd"]), "" if ratio is None else f"{ratio:.2f}x"]


def _joules(entry: dict[str, Any]) -> str:
    """Millijoules of a token; of a card what its board takes at most."""
    if entry["j_per_token"] is not None:
        return _millijoules(entry["j_per_token"])
    most = entry["j_per_token_high"]
    return "-" if most is None else f"<{_millijoules(most)}"


def _phases(name: str, entry: dict[str, Any]) -> Table:
    title = "where SAIL's step goes" if name == "sail" else f"where the step of {name} goes"
    phases = Table(box=box.SIMPLE_HEAD, title=title)
    phases.add_column("phase")
    phases.add_column("ms", justify="right")
    phases.add_column("share", justify="right")
    for phase, seconds in entry["phases"].items():
        phases.add_row(phase, f"{seconds * 1e3:.3f}", f"{seconds / entry['step_s']:.1%}")
    return phases


def _nbws(name: str, chosen: dict[str, int]) -> Table:
    """Which NBW each kind of tensor has where it was chosen for each: "4", or "3 (10 tensors), 4 (22)"."""
    kinds: dict[str, list[tuple[str, int]]] = {}
    for key, tensors in chosen.items():
        kind, _, nbw = key.rpartition(" ")
        kinds.setdefault(kind, []).append((nbw, int(tensors)))
    table = Table(box=box.SIMPLE_HEAD, title=f"NBW of {name}'s tensors")
    table.add_column("tensor")
    table.add_column("NBW")
    for kind, found in kinds.items():
        (first, tensors), *others = sorted(found, key=lambda each: -each[1])
        cells = [f"{first} ({tensors} tensors)", *(f"{nbw} ({count})" for nbw, count in others)]
        table.add_row(kind, ", ".join(cells) if others else first)
    return table


def _print_energy(tokens: float, runs: Runs) -> None:
    """Joules of a token by cause, of all that can run it but cards, and the cards' bounds.

    The fastest software is one of the others, which have columns of their own.
    """
    shown = {n: e for n, e in runs.items() if e["kind"] != "card" and e["software"] != FASTEST}
    used = {n: e for n, e in shown.items() if e["tokens_per_s"] is not None}
    if not used:
        return
    rows = []
    for cause in CAUSES:
        each = [entry["energy"].get(cause) for entry in used.values()]
        # The cores alone have no arrays and no PRT: nothing, not a model's 0.
        rows.append([cause, *(_modelled(j and 1e3 * j / tokens, ".3g") if j != 0 else "-" for j in each)])
    rows.append(["all", *(_millijoules(entry["j_per_token"]) for entry in used.values())])
    ends = ([_millijoules(entry[f"j_per_token_{end}"]) for end in ("low", "high")] for entry in used.values())
    rows.append(["range", *("..".join(dict.fromkeys(pair)) for pair in ends)])
    rows.append(["mean power, W", *(_modelled(entry["power_w"], ".0f") for entry in used.values())])
    names = ("mJ a token", *used)
    print_table([dict(zip(names, row, strict=True)) for row in rows], names, numbers=list(used))
    bounds = [
        f"{name} {1e3 * entry['j_per_token_high']:.0f}"
        for name, entry in runs.items()
        if entry["kind"] == "card" and entry["energy_high_j"] is not None
    ]
    if bounds:
        say(f"At most, by board power all the time, mJ a token: {', '.join(bounds)}.")


def _millijoules(joules: float | None) -> str:
    return _modelled(joules and 1e3 * joules, ".0f")


def _modelled(value: float | None, form: str) -> str:
    return "not modelled" if value is None else f"{value:{form}}"

"""Tables of `sailsim run`: a short form that fits 80 columns, and with `--wide` everything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sailsim.analysis.costs.energy import CAUSES
from sailsim.analysis.runs.compare import mixes_host_software
from sailsim.analysis.runs.runs import AS_FILED, LEGEND, runner_names
from sailsim.analysis.runs.verdict import strongest
from sailsim.cli.common.table import echo, print_numbers, say
from sailsim.sim.backends.cores import FASTEST

Runs = Mapping[str, dict[str, Any]]
COLUMNS = ("tokens/s", "interval", "SAIL vs it", "(interval)", "ktok/USD")
"""Columns of numbers in the table of runners; in prefill the time to the first token stands before them."""
MORE = ("USD vs it", "mJ/tok")
"""Further columns of the wide table."""
NOT_MODELLED = "not modelled"
"""Beginning of the notes that are always printed."""
_TITLE = 22
"""Most characters of a runner's title, so that a table has room for its numbers."""


def print_runs(runs: Runs, *, prefill: bool, tokens: float, wide: bool) -> None:
    """Print the table of runners, the phases of the accelerator's step (without one, of the cores'), and
    choices by tensor; with ``wide`` every runner, all phases, and the energy by cause."""
    shown = runs if wide else _strongest(runs)
    names = (*(("TTFT, s",) if prefill else ()), *COLUMNS, *MORE)
    if not wide:  # in prefill the time to the first token has the room of the dollars
        names = names[: len(COLUMNS)]
    _print(("runner", *names), ((_title(e), *_numbers(e, prefill)[: len(names)]) for e in shown.values()))
    first = "TTFT: time to the first token. " if prefill else ""
    say(
        f"{first}Intervals are of 90 %. SAIL vs it: SAIL's median tokens/s over the row's, with the row's "
        "attention on both sides. ktok/USD: paid for the vCPUs of threads, memory or bandwidth, the most of "
        f"the three.{' USD vs it: the same of tokens/USD.' if wide else ''} {LEGEND}."
    )
    mixed = ", ".join(
        name for name, entry in shown.items() if entry["speedup"] and mixes_host_software(entry)
    )
    if mixed:
        say(f"SAIL runs other attention than these rows: {mixed}.")
    for entry in shown.values():
        if entry["median"] is not None and (wide or entry["host_software"] == AS_FILED):
            say(
                f"The interval of {entry['title']} covers 90 % of machines drawn from the ranges of all "
                f"that is not published. Their median is {entry['median']:.1f} tokens/s; the nominal machine "
                f"above is faster than {entry['percentile']:.0f} % of them."
            )
    if len(shown) < len(runs):
        echo(f"Each GPU has its fastest software here; --wide shows {len(runs) - len(shown)} more rows.")
    ran = {name: entry for name, entry in runs.items() if entry["step_s"] is not None}
    own = {name: entry for name, entry in ran.items() if wide or entry["host_software"] == AS_FILED}
    accelerators = [name for name, entry in own.items() if entry["kind"] == "accelerator"]
    for name in accelerators or list(ran)[:1]:
        steps = "where SAIL's step goes" if name == "sail" else f"where the step of {name} goes"
        parts, whole = ran[name]["phases"], ran[name]["step_s"]
        cells = ((phase, f"{s * 1e3:.3f}", f"{s / whole:.1%}") for phase, s in parts.items())
        _print((steps, "ms", "share"), cells)
    for name, entry in own.items():
        if entry["chosen"]:
            _print((f"NBW of {name}'s tensors", "NBW"), _nbws(entry["chosen"]), words="NBW")
    if wide:
        for kind in ("cores", "gpu"):
            others = [entry for entry in ran.values() if entry["kind"] == kind]
            phases = dict.fromkeys(phase for entry in others for phase in entry["phases"])
            rows = [(_title(e), *(f"{e['phases'].get(p, 0) * 1e3:.3f}" for p in phases)) for e in others]
            _print(("ms a step", *phases), rows)
        _print_energy(tokens, runs)


def print_dollars(answer: dict[str, Any]) -> None:
    """Print the cost of each runner: nominal dollars and their range, the paid resource, and the prices."""
    rows = []
    for entry in answer["runs"].values():
        if entry["tokens_per_s"] is None:
            cells = ["-" if entry["fits"] else "does not fit", "", "", "", ""]
        elif entry["tokens_per_usd"] is None:
            cells = [f"{entry['tokens_per_s']:.1f}", "no price", "", "", ""]
        else:
            ends = (thousands(entry[f"tokens_per_usd_{end}"]) for end in ("low", "high"))
            dollars = (f"{entry['usd_per_hour']:.3f}", thousands(entry["tokens_per_usd"]), "..".join(ends))
            cells = [f"{entry['tokens_per_s']:.1f}", *dollars, entry["paid"]]
        rows.append((_title(entry), *cells))
    _print(("runner", "tokens/s", "USD/h", "ktok/USD", "range", "pays for"), rows, words="pays for")
    say(f"{LEGEND}.")
    _print_prices(answer)
    _print_reasons(answer["runs"])


def print_notes(answer: dict[str, Any], everything: bool) -> None:
    """Print effects that are not modelled and runners that cannot run the point; with ``everything`` also
    assumptions and prices."""
    notes = answer["notes"]
    shown = {note: names for note, names in notes.items() if everything or note.startswith(NOT_MODELLED)}
    if everything:
        _print_prices(answer)
        say(f"- {answer['patterns']}")
    for note, names in shown.items():
        say(f"- {', '.join(names)}: {note}")
    _print_reasons(answer["runs"] if everything else _strongest(answer["runs"]))
    if not everything:
        echo(f"--wide shows {len(notes) - len(shown)} notes on assumptions, and the prices.")


def _print_reasons(runs: Runs) -> None:
    """Print why runners have no number, a line each."""
    for name, entry in runs.items():
        if entry["reason"]:
            say(f"- {name}: {entry['reason']}")


def _print_prices(answer: dict[str, Any]) -> None:
    say(f"Prices: {answer['prices'] or 'none of these machines'}.")
    for note, names in answer["price_notes"].items():
        say(f"- {', '.join(names)}: {note}")


def _strongest(runs: Runs) -> Runs:
    """Runs of the strongest runners (`strongest`) and of those that `--against` added."""
    shown = {*strongest(runs), *(runs.keys() - {*runner_names()})}
    return {name: run for name, run in runs.items() if name in shown}


def _print(names: Sequence[str], rows: Iterable[Sequence[str]], words: str = "") -> None:
    if print_numbers(names, rows, words):
        echo()


def _title(entry: dict[str, Any]) -> str:
    title = str(entry["title"])
    return title if len(title) <= _TITLE else f"{title[: _TITLE - 1]}…"


def _numbers(entry: dict[str, Any], prefill: bool) -> list[str]:
    """A runner's rate with its interval, SAIL's speedup over it with its interval, its dollars and its
    joules."""
    cells = ["-" if entry["fits"] else "no room", *[""] * (len(COLUMNS) + len(MORE) - 1)]
    if entry["tokens_per_s"] is not None:
        interval = "" if entry["low"] is None else f"{_short(entry['low'])}..{_short(entry['high'])}"
        dollars = "no price" if entry["tokens_per_usd"] is None else thousands(entry["tokens_per_usd"])
        faster, cheaper = (_times(entry[f"{name}_median"]) for name in ("speedup", "usd_ratio_bandwidth"))
        rate = f"{entry['tokens_per_s']:.1f}"
        cells = [rate, interval, faster, _ratios(entry), dollars, cheaper, _joules(entry)]
    first = "" if entry["ttft_s"] is None else f"{entry['ttft_s']:.3g}"
    return [first, *cells] if prefill else cells


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}x"


def _ratios(entry: dict[str, Any]) -> str:
    """90 % interval of the ratio of SAIL's rate to a runner's; empty if it has no width."""
    ends = [entry[f"speedup_{end}"] for end in ("low", "high")]
    if None in ends or ends[0] == ends[1]:
        return ""
    return "..".join(
        f"{end:.3f}" if end < 0.1 else f"{end:.2f}" if end < 10 else f"{end:.0f}" for end in ends
    )


def thousands(tokens: float) -> str:
    """A number of tokens in thousands."""
    return f"{tokens / 1e3:,.0f}" if tokens >= 1e5 else f"{tokens / 1e3:.1f}"


def _short(rate: float) -> str:
    return f"{rate:.0f}" if rate < 1e4 else f"{rate / 1e3:.0f}k"


def _joules(entry: dict[str, Any]) -> str:
    """Millijoules per token; for a GPU the bound from its board power."""
    if entry["j_per_token"] is not None:
        return _millijoules(entry["j_per_token"])
    most = entry["j_per_token_high"]
    return "-" if most is None else f"<{_millijoules(most)}"


def _nbws(chosen: dict[str, int]) -> list[tuple[str, str]]:
    """Rows of a kind of tensors and its chosen NBW: "4", or "3 (10 tensors), 4 (22)"."""
    kinds: dict[str, list[tuple[str, int]]] = {}
    for key, tensors in chosen.items():
        kind, _, nbw = key.rpartition(" ")
        kinds.setdefault(kind, []).append((nbw, int(tensors)))
    rows = []
    for kind, counted in kinds.items():
        (first, tensors), *rest = sorted(counted, key=lambda each: -each[1])
        cells = [f"{first} ({tensors} tensors)", *(f"{nbw} ({count})" for nbw, count in rest)]
        rows.append((kind, ", ".join(cells) if rest else first))
    return rows


def _print_energy(tokens: float, runs: Runs) -> None:
    """Print joules per token by cause for all runners but GPUs, and the GPUs' bounds.

    The runner "fastest software" has no column, because it equals one of the others.
    """
    shown = {n: e for n, e in runs.items() if e["kind"] != "gpu" and e["software"] != FASTEST}
    used = {n: e for n, e in shown.items() if e["tokens_per_s"] is not None}
    if not used:
        return
    rows = []
    for cause in CAUSES:
        each = [entry["energy"].get(cause) for entry in used.values()]
        # A dash for cores alone, which have no arrays and no PRT; a number would look modelled.
        rows.append([cause, *(_modelled(j and 1e3 * j / tokens, ".3g") if j != 0 else "-" for j in each)])
    rows.append(["all", *(_millijoules(entry["j_per_token"]) for entry in used.values())])
    ends = ([_millijoules(entry[f"j_per_token_{end}"]) for end in ("low", "high")] for entry in used.values())
    rows.append(["range", *("..".join(dict.fromkeys(pair)) for pair in ends)])
    rows.append(["mean power, W", *(_modelled(entry["power_w"], ".0f") for entry in used.values())])
    print_numbers(("mJ a token", *used), rows)
    gpus = {n: e for n, e in runs.items() if e["kind"] == "gpu" and e["energy_high_j"] is not None}
    bounds = ", ".join(f"{name} {1e3 * entry['j_per_token_high']:.0f}" for name, entry in gpus.items())
    if bounds:
        say(f"GPUs take at most, at board power, mJ a token: {bounds}.")


def _millijoules(joules: float | None) -> str:
    return _modelled(joules and 1e3 * joules, ".0f")


def _modelled(value: float | None, form: str) -> str:
    return "not modelled" if value is None else f"{value:{form}}"

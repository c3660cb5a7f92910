#!/usr/bin/env python3
"""Golden numbers: what the product answers to a fixed set of questions, kept and compared to the last bit.

    python research/golden.py record FILE [--only SECTION ...]          (FILE.gz: compressed)
    python research/golden.py compare FILE [NEWER] [--only SECTION ...]
    python research/golden.py show ITEM

It stands outside the product and its tests, so that both may be rearranged. All that it knows of the product
is in `golden_doors.py`, where a renamed door is one line; the questions are in `golden.toml`. `compare` asks
those of a recorded file again, or reads a newer file, and ends with status 1 and a table where anything
differs. `show` prints all that one question gives now, also what is not kept.

Kept are numbers, hashes of arrays and refusals; no prose. What the product adds up through BLAS, and what it
has NumPy take exponentials of, differs in the last bit from processor to processor, and a running model makes
other tokens of that. `PLAIN` has both do without newer instructions, on one thread, so that x86-64 machines
with FMA and one version of glibc give the same.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

PLAIN = {
    "OPENBLAS_CORETYPE": "Nehalem",
    "OPENBLAS_NUM_THREADS": "1",
    # The names of NumPy 2.4, and those before; it passes over names that it does not know.
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR "
    "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL",
}
os.environ.update(PLAIN)  # before NumPy is loaded
sys.path.append(str(Path(__file__).parent / "experiments"))

import golden_doors as doors  # noqa: E402
from golden_doors import GONE, HELD, NOW_CALLED, NOW_SAID, Answer, Draw, attempt  # noqa: E402

# ---- The questions ----------------------------------------------------------------------------------------
ASKED: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
RATIOS = {
    *("speedup", "speedup_median", "speedup_low", "speedup_high", "tokens_per_j"),
    *("usd_per_million_tokens", "power_w", "paid"),
    *("j_per_token", "j_per_token_low", "j_per_token_high"),
    *(f"tokens_per_usd_{way}" for way in ("used", "bandwidth", "llc", "whole")),
    *(f"usd_ratio_{way}" for way in ("used", "bandwidth", "llc", "whole")),
    *(f"usd_ratio_bandwidth_{end}" for end in ("median", "low", "high")),
}
"""What follows from other values of a run: kept of the prices alone."""
DOLLARS = {"tokens_per_usd", "tokens_per_usd_low", "tokens_per_usd_high", "usd_per_hour", "instance"}
WORDS = {
    *("title", "kind", "hardware", "software", "format", "pays", "overhead", "curves", "priced_as", "notes"),
    *("price_date", "price_source", "fits", "host_software", "converted", "speedup_of"),
}
"""What a run says of its runner, or in prose: not kept."""


OF_SERVER = ("cache", "instances", "threads")
"""What a prediction takes of cores and not of cards."""


class Item(NamedTuple):
    """A question: its name, what is asked, who answers, and the parts of the answer that are not kept."""

    name: str
    asked: Any
    answer: Callable[[], Answer]
    without: frozenset[str] | set[str] = frozenset()


def drawn(name: str, over: str = "") -> list[dict[str, Any]]:
    """A table's combinations, with another table's lists where it has none; values evenly often."""
    choices = {**ASKED[over or name], **ASKED[name]}
    count, columns = choices.pop("count"), []
    for choice, values in choices.items():
        column = [None if value == "-" else value for value in islice(cycle(values), count)]
        Draw(f"{name} {choice}").shuffle(column)
        columns.append(column)
    return [dict(zip(choices, row, strict=True)) for row in zip(*columns, strict=True)]


def point_of(row: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """A drawn row as fields of a point, without what its other choices rule out; and who stands beside."""
    (attention, kv_bits), units = row.pop("attention"), row["system"].startswith("sail")
    fields, unit_fields, beside = (row.pop(name) for name in ("fields", "unit_fields", "beside"))
    row["system"] = ":".join(filter(None, [row["system"], fields, unit_fields if units else None]))
    row |= {"attention": attention if units else "cores", "kv_bits": kv_bits}
    row["overlap"] &= units and row["batch"] > 1 and row["phase"] == "decode"
    if not units:
        row |= dict.fromkeys(("nbw", "substrate", "convert"))
    if row["weights"] == "file" and row["model"] != "@gguf":
        row["weights"] = "q4_0"
    if row["phase"] == "prefill":  # which takes its time with many rows, and with every NBW for each tensor
        row["context"] = min(row["context"], max(1, 512 // row["batch"]))
        row["nbw"] = None if row["nbw"] == "auto" else row["nbw"]
    return {name: value for name, value in row.items() if value is not None}, beside


def points() -> Iterator[Item]:
    """Every runner at points that are drawn from all choices; cores and cards alone."""
    for at, row in enumerate(drawn("point")):
        fields, beside = point_of(row)
        asked = {**fields, "beside": beside}
        yield Item(f"points/{at:03d}", asked, partial(doors.run_all, fields, beside), RATIOS | WORDS)
    for at, row in enumerate(drawn("alone")):
        server, *card = (row.pop(name) for name in ("server", "card", "card_software"))
        of_server = {key: row.pop(key) for key in OF_SERVER}
        row["machine"], row["software"] = server if at % 2 else card
        if at % 2:
            row |= of_server if row["prompt"] is None else of_server | {"instances": 1}
        yield Item(f"points/alone-{at:02d}", row, partial(doors.predict, **row), {"notes"})


def prefills() -> Iterator[Item]:
    """Every runner at prompts."""
    for at, row in enumerate(drawn("prefill", "point")):
        fields, beside = point_of(row)
        answer = partial(doors.run_all, fields, beside)
        yield Item(f"prefills/{at:02d}", {**fields, "beside": beside}, answer, RATIOS | WORDS)


def serving() -> Iterator[Item]:
    """Requests on servers, from arrival to the last token; some at the highest rate that meets a level."""
    for at, row in enumerate(drawn("serve")):
        yield Item(f"serving/{at:02d}", row, partial(doors.served, **row), WORDS)


def explored() -> Iterator[Item]:
    """Searches of machines: their trials, fronts and waterfalls."""
    for at, row in enumerate(drawn("explore")):
        limits = {name: value for name, value in row.items() if value is not None}
        yield Item(f"explored/{at}", row, partial(doors.explored, **limits))


def prices() -> Iterator[Item]:
    """Dollars and ratios of runs, and areas."""

    def dollars(fields: Answer) -> Answer:
        return {
            who: {name: run[name] for name in run if name in RATIOS | DOLLARS}
            for who, run in doors.run_all(fields, None).items()
        }

    for at, row in enumerate(drawn("price", "point")):
        fields, _ = point_of(row)
        yield Item(f"prices/{at:02d}", fields, partial(dollars, fields))
        if fields["system"].startswith("sail"):
            yield Item(f"prices/area-{at:02d}", fields["system"], partial(doors.area_of, fields["system"]))


def tiles() -> Iterator[Item]:
    """Tiles on the core, by the specification, on one unit and on a whole machine; and those of a model."""

    def answer(make: Callable[[], Any], machine: str, policy: str, entries: int) -> Answer:
        tile = make()
        found = {by: doors.products(by, tile, policy, entries) for by in ("core", "reference")}
        for memory in ("port", "chip", "dram"):
            found[memory] = attempt(partial(doors.cycles, machine, tile, memory))
        return found | {"trace": attempt(lambda: doors.replayed(doors.written([tile, tile]), machine))}

    for at, asked in enumerate(drawn("tile")):
        row = dict(asked)
        policy, entries, costs = (row.pop(name) for name in ("policy", "entries", "substrate"))
        machine = f"sail-n1:pim.substrate={costs}:pim.prt_policy={policy}:pim.prt_entries={entries}"
        machine = ":".join(filter(None, [machine, row.pop("fields")]))
        make = partial(doors.make_tile, Draw(f"tile {at}"), **row)
        yield Item(f"tiles/{at:03d}", asked, partial(answer, make, machine, policy, entries))
    for at, asked in enumerate(ASKED["model_trace"]):
        own = partial(doors.model_trace, **asked)
        yield Item(f"tiles/model-{at}", asked, lambda own=own: doors.replayed(own(), "sail-n1"))


def claims() -> Iterator[Item]:
    """Every reading of every claim on machines of the priors, and what a search says of some."""
    for name, count in ASKED["claims"].items():
        within, machines = doors.prior(name, count)
        for at, machine in machines.items():
            yield Item(f"claims/{name}-{at}", dict(machine.values), partial(doors.claims_of, within, machine))
    for at, row in enumerate(drawn("search")):
        yield Item(f"claims/search-{at:02d}", row, partial(doors.searched, **row))


def conversion() -> Iterator[Item]:
    """Integers to fp32 at every width, 10^5; quantizers; packed codes."""

    for name, of, widths in (
        ("floats", doors.to_floats, (2, 64)),
        ("quantized", doors.quantized, (1, 9)),
    ):
        for bits in range(*widths):
            yield Item(f"conversion/{name}-{bits:02d}", None, partial(of, Draw(f"{name} {bits}"), bits))


def running() -> Iterator[Item]:
    """What the installed model thinks of a text."""
    for attention, kv_bits in (("cores", 16), ("units", 8), ("units", 3)):
        answer = partial(doors.quality, "file", attention=attention, kv_bits=kv_bits)
        yield Item(f"running/quality-{attention}-{kv_bits}", None, answer)


def gem5() -> Iterator[Item]:
    """Cycles of tiles on gem5's unit."""
    rows = drawn("gem5", "tile")
    for row in rows:
        for name in ("policy", "entries", "substrate", "fields"):
            del row[name]
    found = doors.gem5_rows([doors.make_tile(Draw(f"gem5 {at}"), **row) for at, row in enumerate(rows)])
    for at, row in enumerate(rows):
        yield Item(f"gem5/{at:02d}", row, lambda at=at: found[at])


SECTIONS: dict[str, Callable[[], Iterator[Item]]] = {
    **{"points": points, "prefills": prefills, "serving": serving, "explored": explored},
    **{"prices": prices, "tiles": tiles, "claims": claims},
    **{"conversion": conversion, "running": running, "gem5": gem5},
}

# ---- Recording and comparing ------------------------------------------------------------------------------
NUMBERS = re.compile(r"\d[\d.e+-]*")
SHOWN = 60
"""Rows of a comparison's table; all are counted."""


def flat(found: Any, without: frozenset[str] | set[str], name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value by the names that lead to it, with dots between; no None and no empty word."""
    if isinstance(found, Mapping | list | tuple):
        for key, value in found.items() if isinstance(found, Mapping) else enumerate(found):
            if key not in without:
                called = NOW_CALLED.get(str(key), str(key))
                yield from flat(value, without, f"{name}.{called}" if name else called)
    elif found is not None and found != "":
        plain = found.item() if hasattr(found, "item") else found
        yield name, NOW_SAID.get(plain, plain) if isinstance(plain, str) else plain


def answers(sections: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every item of some sections with its values."""
    for section in sections:
        count, refused, crashed = 0, 0, []
        for item in SECTIONS[section]():
            values = dict(sorted(flat(attempt(item.answer), item.without)))
            crashed += [f"{item.name} {name}: {said}" for name, said in values.items() if "crashed" in name]
            count, refused = count + 1, refused + ("refused" in values)
            yield {"item": item.name, "asked": item.asked, "values": values}
        print(f"{section}: {count} items, {refused} of them refused", *crashed, sep="\n    ", file=sys.stderr)


def askable(sections: Sequence[str]) -> list[str]:
    """Those of some sections that this machine can answer."""
    if "gem5" in sections and not os.environ.get("SAILSIM_GEM5"):
        print("gem5: left out, as SAILSIM_GEM5 names none", file=sys.stderr)
        return [section for section in sections if section != "gem5"]
    return list(sections)


def record(path: Path, sections: Sequence[str]) -> int:
    """Write a file: a head with commit and date, then an item a line."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    head = {"commit": commit, "date": f"{datetime.now(UTC):%Y-%m-%d}", "sections": sections}
    lines = [json.dumps(line, separators=(",", ":")) for line in (head, *answers(sections))]
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data, 9, mtime=0) if path.suffix == ".gz" else data)
    print(f"{path}: {len(lines) - 1} items, {path.stat().st_size:,} bytes")
    return 0


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A recorded file: its head, its items."""
    data = path.read_bytes()
    head, *items = map(json.loads, (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines())
    return head, items


def same(old: Any, new: Any) -> bool:
    """Whether values are equal to the bit; 1 and 1.0 are one number, and so is every NaN.

    A refusal is the same where its numbers are: its words may become better ones.
    """
    if isinstance(old, str) and isinstance(new, str) and " " in old:
        return NUMBERS.findall(old) == NUMBERS.findall(new)
    numbers = isinstance(old, int | float) and isinstance(new, int | float)
    if numbers and (isinstance(old, float) or isinstance(new, float)):
        return float(old).hex() == float(new).hex()
    return bool(old == new)


def compared(path: Path, newer: Path | None, only: Sequence[str]) -> int:
    """Print what differs from a recorded file; 1 if anything does."""
    head, items = read(path)
    wanted = [section for section in head["sections"] if section in (only or SECTIONS)]
    wanted = wanted if newer else askable(wanted)

    def by_name(found: Iterator[Any] | list[Any]) -> dict[str, dict[str, Any]]:
        return {one["item"]: one["values"] for one in found if one["item"].split("/")[0] in wanted}

    mine, theirs = by_name(items), by_name(answers(wanted) if newer is None else read(newer)[1])
    rows, none = [], "(none)"
    for item in dict.fromkeys([*mine, *theirs]):
        old, new = mine.get(item, {}), theirs.get(item, {})
        for name in dict.fromkeys([*old, *new]):
            known = any(fnmatchcase(f"{item} {name}", pattern) for pattern in GONE)
            if not known and not (name in old and name in new and same(old[name], new[name])):
                rows.append((item, name, old.get(name, none), new.get(name, none)))
    count = sum(map(len, mine.values()))
    print(
        f"{path}, {head['commit']} of {head['date']}: {len(mine)} items, {count} values, {len(rows)} differ"
    )
    for item, name, was, now in rows[:SHOWN]:
        numbers = was and isinstance(was, int | float) and isinstance(now, int | float)
        print(f"{item:18} {name:36} {was!s:24} {now!s:24} {f'{now / was - 1:+.2e}' if numbers else ''}")
    names = Counter(f"{item.split('/')[0]} {name.rpartition('.')[2]}" for item, name, *_ in rows)
    if len(rows) > SHOWN:
        print(f"... {len(rows) - SHOWN} more; by section and last name:", dict(names.most_common(SHOWN)))
    return int(bool(rows))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Golden numbers: record them, compare with them.")
    parser.add_argument("command", choices=("record", "compare", "show"))
    parser.add_argument("what", help="the file, or the item to show")
    parser.add_argument("newer", nargs="?", type=Path, help="compare with this file in place of the product")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=[], help="sections")
    given = parser.parse_args()
    if given.command == "compare":
        return compared(Path(given.what), given.newer, given.only)
    if given.command == "record":
        return record(Path(given.what), askable(given.only or list(SECTIONS)))
    item = next(item for item in SECTIONS[given.what.split("/")[0]]() if item.name == given.what)
    print(json.dumps({"asked": item.asked, "gives": dict(flat(attempt(item.answer), set()))}, indent=1))
    return 0


if __name__ == "__main__":
    with HELD:
        sys.exit(main())

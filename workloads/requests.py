"""Requests to a server: arrivals, prompt lengths and answer lengths, from files or at random.

Four layouts of files are read and written: Azure's CSV (a clock, tokens), Mooncake's lines of JSON (ms,
tokens, hashes of blocks of 512 tokens of the prompt), Vidur's CSV (s, tokens) and LLMServingSim's lines of
JSON (ns, tokens). None has texts, but Mooncake's hashes show which prompts share a prefix.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import read_text

HASHED_TOKENS = 512
"""Tokens in a prompt's block that has one of Mooncake's hashes, which covers all tokens up to its end."""
MOST_TOKENS = 1 << 24
"""Most tokens of a prompt or an answer, as of a point."""
MOST_SECONDS = 1e9
"""Longest time between the first arrival and the last: 32 years."""
MOST_BYTES = 1 << 30
"""Largest file of requests."""
MOST_REQUESTS = 10_000_000
Layout = Literal["azure", "mooncake", "vidur", "llmservingsim"]


class Request(NamedTuple):
    """One request."""

    arrival_s: float
    """Time of arrival after the first request's, s."""
    prompt: int
    """Tokens of the prompt."""
    output: int
    """Tokens of the answer, the first one included."""
    hashes: tuple[int, ...] = ()
    """Hashes of a prompt's blocks of `HASHED_TOKENS`, each of all tokens up to its end; empty: not shared."""


def checked_requests(requests: Iterable[Request], where: str = "requests") -> tuple[Request, ...]:
    """Check that requests are in order and of possible sizes.

    Args:
        requests: any number, 1 to `MOST_REQUESTS`.
        where: their origin, for errors.

    Raises:
        SailsimError: for the first request that is not.
    """
    sound: list[Request] = []
    last = -math.inf
    for at, request in enumerate(requests, 1):
        for name in ("prompt", "output"):
            tokens = getattr(request, name)
            if type(tokens) is not int or not 1 <= tokens <= MOST_TOKENS:
                raise SailsimError(
                    f"{where}, request {at}: {name} is {tokens!r}; allowed are 1..{MOST_TOKENS} tokens."
                )
        time = request.arrival_s
        if not 0 <= time <= MOST_SECONDS:
            raise SailsimError(
                f"{where}, request {at}: arrival is {time:g} s; allowed is 0..{MOST_SECONDS:g} s after the "
                "first one."
            )
        if time < last:
            raise SailsimError(
                f"{where}, request {at}: arrival is {time:g} s, before {last:g} s of the one above; allowed "
                "are arrivals in order."
            )
        if request.hashes and len(request.hashes) != -(-request.prompt // HASHED_TOKENS):
            raise SailsimError(
                f"{where}, request {at}: hash_ids has {len(request.hashes)} of a prompt of {request.prompt} "
                f"tokens; allowed is one for every {HASHED_TOKENS} tokens, or none."
            )
        last = time
        sound.append(request)
        if at > MOST_REQUESTS:
            raise SailsimError(f"{where} has more than {MOST_REQUESTS} requests; allowed are as many.")
    if not sound:
        raise SailsimError(f"{where} has no request; allowed is one or more.")
    return tuple(sound)


# ---- Files ------------------------------------------------------------------------------------


def _number(row: Mapping[str, Any], name: str) -> float:
    """Read a field of a row as a number. Raises ValueError with the problem."""
    value = row.get(name)
    if value is None or value == "" or isinstance(value, bool):
        raise ValueError(f"{name} is missing; allowed is a number.")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {str(value)[:40]!r}; allowed is a number.") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} is {value!r}; allowed is a finite number.")
    return number


def _tokens(row: Mapping[str, Any], name: str) -> int:
    number = _number(row, name)
    if number != int(number) or not 1 <= number <= MOST_TOKENS:
        raise ValueError(f"{name} is {row[name]!r}; allowed are 1..{MOST_TOKENS} tokens.")
    return int(number)


_EPOCH = datetime(2000, 1, 1)


def _clock(row: Mapping[str, Any], name: str) -> float:
    """Read a date and time as seconds, with any number of digits after the second."""
    text = str(row.get(name) or "")
    whole, _, part = text.partition(".")
    try:
        seconds = (datetime.fromisoformat(whole) - _EPOCH) / timedelta(seconds=1)
        return seconds + (float(f"0.{part}") if part else 0.0)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {text[:40]!r}; allowed is a time like 2023-11-16 18:15:46.68.") from None


def _hashes(row: Mapping[str, Any], name: str) -> tuple[int, ...]:
    value = row.get(name, [])
    if not isinstance(value, list) or any(type(each) is not int for each in value):
        raise ValueError(f"{name} is {str(value)[:40]!r}; allowed is a list of whole numbers.")
    return tuple(value)


class _FileLayout(NamedTuple):
    """Layout of a file: names of its fields, functions for its times, and whether it is CSV."""

    time: str
    prompt: str
    output: str
    read: Callable[[Mapping[str, Any], str], float]
    """Reads a time in seconds."""
    write: Callable[[float], Any]
    is_csv: bool
    hashes: str = ""


def _as_clock(seconds: float) -> str:
    whole = math.floor(seconds)
    digits = round((seconds - whole) * 10**7)
    return f"{_EPOCH + timedelta(seconds=whole + digits // 10**7)}.{digits % 10**7:07d}"


_LAYOUTS: Mapping[Layout, _FileLayout] = {
    "azure": _FileLayout("TIMESTAMP", "ContextTokens", "GeneratedTokens", _clock, _as_clock, True),
    "mooncake": _FileLayout(
        "timestamp",
        "input_length",
        "output_length",
        lambda row, name: _number(row, name) / 1e3,
        lambda seconds: seconds * 1e3,
        False,
        "hash_ids",
    ),
    "vidur": _FileLayout("arrived_at", "num_prefill_tokens", "num_decode_tokens", _number, float, True),
    "llmservingsim": _FileLayout(
        "arrival_time_ns",
        "input_toks",
        "output_toks",
        lambda row, name: _number(row, name) / 1e9,
        lambda seconds: round(seconds * 1e9),
        False,
    ),
}
LAYOUTS: tuple[Layout, ...] = tuple(_LAYOUTS)


SHIPPED = {"azure-conv": "azure-conv.csv", "mooncake-conv": "mooncake-conv.jsonl"}
"""Shipped files of requests by name."""


def read_requests(path: str | Path) -> tuple[Request, ...]:
    """Read a file of one of `LAYOUTS`, recognized by its first line; the first request arrives at 0 s.

    ``path`` may be the name of a shipped file (`SHIPPED`).

    Raises:
        SailsimError: one sentence with the line, the field, the value and what is allowed.
    """
    where = f"requests {path}"
    shipped = SHIPPED.get(str(path))
    file = Path(path) if shipped is None else files(__package__) / "data" / shipped
    fields, rows = _rows(read_text(file, "requests", MOST_BYTES), where)
    requests: list[Request] = []
    begin: float | None = None
    for line, row in rows:
        try:
            time = fields.read(row, fields.time)
            begin = time if begin is None else begin
            prompt, output = _tokens(row, fields.prompt), _tokens(row, fields.output)
            hashes = _hashes(row, fields.hashes) if fields.hashes else ()
            requests.append(Request(time - begin, prompt, output, hashes))
        except ValueError as problem:
            raise SailsimError(f"{where}, line {line}: {problem}") from None
    return checked_requests(requests, where)


def _rows(text: str, where: str) -> tuple[_FileLayout, Iterator[tuple[int, Mapping[str, Any]]]]:
    """Layout of a text by its first line, and its rows with their line numbers."""
    lines = [(at, line) for at, line in enumerate(text.splitlines(), 1) if line and line[0] != "#"]
    first = lines[0][1] if lines else ""
    for fields in _LAYOUTS.values():
        names = (fields.time, fields.prompt, fields.output)
        if fields.is_csv and set(names) <= {name.strip() for name in first.split(",")}:
            return fields, _csv_rows(lines)
        if not fields.is_csv and first.startswith("{") and any(f'"{name}"' in first for name in names):
            return fields, _json_rows(lines, where)
    known = "; ".join(",".join(fields[:3]) for fields in _LAYOUTS.values())
    raise SailsimError(f"{where} begins with {first[:40]!r}; allowed are fields {known}.")


def _csv_rows(lines: Sequence[tuple[int, str]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    names, *rows = csv.reader(line for _, line in lines)
    names = [name.strip() for name in names]
    for (at, _), row in zip(lines[1:], rows, strict=False):
        yield at, dict(zip(names, row, strict=False))


def _json_rows(lines: Sequence[tuple[int, str]], where: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for at, line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise SailsimError(f"{where}, line {at} is {line[:40]!r}; allowed is an object of JSON.")
        yield at, row


def write_requests(path: str | Path, requests: Iterable[Request], layout: Layout) -> None:
    """Write requests as a file of a layout, whole or not at all.

    Only Mooncake's layout has a field for hashes. Azure's has a clock, which begins with the year 2000.
    Raises SailsimError for an unknown layout and for bad requests.
    """
    if layout not in _LAYOUTS:
        raise SailsimError(f"layout is {layout!r}; allowed are {', '.join(LAYOUTS)}.")
    fields, out = _LAYOUTS[layout], StringIO()
    names = [fields.time, fields.prompt, fields.output, *filter(None, [fields.hashes])]
    table = csv.writer(out, lineterminator="\n")
    if fields.is_csv:
        table.writerow(names)
    for time, prompt, output, hashes in checked_requests(requests):
        row = [fields.write(time), prompt, output, *([list(hashes)] if fields.hashes else [])]
        if fields.is_csv:
            table.writerow(row)
        else:
            out.write(json.dumps(dict(zip(names, row, strict=True))) + "\n")
    write_whole(Path(path), out.getvalue().encode())


# ---- Random arrivals ------------------------------------------------------------------------------------


def arrivals(count: int, rate: float, seed: int = 0, burst: float = 1.0) -> np.ndarray[Any, Any]:
    """Draw times of arrival, s, shape `(count,)`, the first at 0, of `rate` requests/s on average.

    The gaps have a gamma distribution with a squared coefficient of variation of ``burst``: 1 is a Poisson
    process, more is bursty, 0 is even. Raises SailsimError for a value out of range.
    """
    for name, value, least in (("rate", rate, 0), ("burst", burst, -1e-300)):
        if not (isinstance(value, int | float) and least < value <= 1e6):
            words = "above 0" if name == "rate" else "0 or more"
            raise SailsimError(f"{name} is {value!r}; allowed is a number {words}, at most 1e6.")
    if type(count) is not int or not 1 <= count <= MOST_REQUESTS:
        raise SailsimError(f"requests is {count!r}; allowed are 1..{MOST_REQUESTS}.")
    if type(seed) is not int or not 0 <= seed < 1 << 32:
        raise SailsimError(f"seed is {seed!r}; allowed is a whole number 0..{(1 << 32) - 1}.")
    random = np.random.default_rng(seed)
    gaps = random.gamma(1 / burst, burst / rate, count) if burst > 1e-9 else np.full(count, 1 / rate)
    gaps[0] = 0.0
    return np.asarray(np.cumsum(gaps))


def at_rate(
    requests: Sequence[Request], rate: float, seed: int = 0, burst: float = 1.0, count: int | None = None
) -> tuple[Request, ...]:
    """Give requests new times from `arrivals`, repeating them in order if ``count`` is larger.

    Each repetition gets hashes of its own, so that its prompts share as much with each other as the trace's
    own, and nothing with an earlier repetition.
    """
    times = arrivals(len(requests) if count is None else count, rate, seed, burst)
    step = 1 + max((max(each.hashes, default=0) for each in requests), default=0)
    repeated = []
    for at, time in enumerate(times.tolist()):
        turn, place = divmod(at, len(requests))
        _, prompt, output, hashes = requests[place]
        repeated.append(Request(time, prompt, output, tuple(each + turn * step for each in hashes)))
    return checked_requests(repeated)

"""The verdict on a workload, in words: the fastest runner, its lead, and the part of a step that decides.

`sailsim run`, the end of a sweep, the report and `compare` all use it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sailsim.analysis.runs.ratios import ratio_interval
from sailsim.analysis.runs.runs import SAIL, SIGN
from sailsim.sim.backends.cores import FASTEST
from sailsim.sim.point import NUMBERS
from sailsim.sim.software.records import shipped_records

Run = Mapping[str, Any]
"""One runner at a point, as `compare` gives it."""
Ratio = Mapping[str, float]
"""``median``, ``low`` and ``high`` of one rate over another's."""
RunsByName = Mapping[str, Run]
"""The runs of a point by their runners' names."""
Points = Sequence[tuple[Mapping[str, Any], RunsByName]]
"""Points of a study, each with its runs."""
MOST_COMMON = "llama.cpp"
"""Most common software, which SAIL is compared with after equally tuned software."""
FLAT = 1.05
"""Factor between rates along an axis below which the axis hardly matters."""
PHASES = {
    "dram": "waiting for weights from memory",
    "load": "loading the arrays",
    "build": "building tables in the units",
    "lookup": "looking up in the units",
    "convert": "converting sums",
    "write_back": "writing sums back",
    "cores": "attention and all else on the cores",
    "sync": "handing over between cores and units",
    "weights": "reading weights",
    "kernels": "multiplying",
    "attention": "attention",
    "kv_cache": "reading the cache",
    "synchronisation": "waiting at barriers",
    "launches": "launching kernels",
}
"""Words for the phases of a step on any backend; other phases have their own names."""
AXES = {
    "wbits": "bits of a weight",
    "abits": "bits of an activation",
    "batch": "batch",
    "threads": "threads",
    "context": "tokens of context",
    "prompt": "tokens of a prompt",
    "group_size": "weights that share a scale",
    "kv_bits": "bits of the cache",
}
"""Numbers of a point along which a rate may change, in words."""
OUTCOMES = {"ahead": "SAIL is faster", "open": "either may win", "behind": "SAIL is slower"}
"""Outcomes by the interval of SAIL's rate over tuned software's: above 1, on both sides of 1, below 1."""
_CAPITALS = {"tune": "Tune", "the ": "The "}
"""Beginnings of sentences that get a capital; names stay as they are."""
_WHOLE_FROM = 20.0
"""Smallest ratio that is written as a whole number."""


class Peer(NamedTuple):
    """The strongest software on the same cores as SAIL, and the ratio of SAIL's rate to its rate."""

    name: str
    run: Run
    ratio: Ratio

    @property
    def outcome(self) -> str:
        """Key of `OUTCOMES`."""
        return "ahead" if self.ratio["low"] > 1 else "behind" if self.ratio["high"] < 1 else "open"


def verdict(runs: RunsByName) -> dict[str, Any]:
    """The verdict on the runs of one point, by their runners' names.

    Returns:
        ``sentences``, the verdict in words; ``runner``, the one that they are about; ``fastest``, the runner
        with the highest rate; ``peer``, the strongest software on the same cores, and ``outcome``, a key of
        `OUTCOMES`; ``decides``, the longest ``phase`` of a runner's step and its ``share``; ``rests_on``, the
        runners whose runs it is computed from. All is empty where no runner has a rate.
    """
    ran = {name: run for name, run in runs.items() if run["tokens_per_s"] is not None}
    if not ran:
        nothing: dict[str, Any] = dict.fromkeys(("runner", "fastest", "peer", "outcome"), "")
        return {"sentences": [], **nothing, "decides": {}, "rests_on": []}
    first = _first(ran)
    lead, peer = ran[first], _peer(ran, first)
    fastest = max(ran, key=lambda name: float(ran[name]["tokens_per_s"]))
    sentences = [_same_cores(lead, peer)] if peer else _alone(lead, len(ran) == 1)
    known = {first, *([peer.name] if peer else [])}
    common = next((name for name in _on_same_cores(ran, first) if ran[name]["software"] == MOST_COMMON), None)
    own = _is_own(ran[fastest], lead)
    gpus = [name for name in ran if ran[name]["kind"] == "gpu"]
    gpu = max(gpus, key=lambda name: float(ran[name]["tokens_per_s"]), default=None)
    for name in dict.fromkeys((common, gpu, None if own or fastest in known else fastest)):
        if name is not None and name not in known:
            sentences.append(_of_two(lead, ran[name], _ratio(ran, first, name), name == fastest))
            known.add(name)
    if len(ran) > 1 and (own or not any(" is the fastest, " in each for each in sentences)):
        nominally = " nominally" if ran[fastest]["kind"] == "accelerator" else ""
        sentences.append(f"{_name(ran[fastest])} is the fastest{nominally}.")
    about = first if peer is None else _partner(ran, first, peer.run)
    known |= {about, fastest}
    phase, share, why = _why(ran[about], peer)
    return {
        "sentences": [f"{_CAPITALS.get(each[:4], each[:4])}{each[4:]}" for each in (*sentences, *why)],
        "runner": first,
        "fastest": fastest,
        "peer": peer.name if peer else "",
        "outcome": peer.outcome if peer and lead["kind"] == "accelerator" else "",
        "decides": {"runner": about, "phase": phase, "share": share} if why else {},
        "rests_on": [name for name in ran if name in known],
    }


def study_verdict(points: Points, start: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict of a study: on its point ``start``, and on all of its points.

    In addition to `verdict` it has ``point`` and the stored ``key`` of its runs, and ``outcomes``, the number
    of points by key of `OUTCOMES`. More sentences say along which axis the rate changes, and these numbers.
    """
    at = next(runs for point, runs in points if all(point[name] == start[name] for name in start))
    first = verdict(at)
    outcomes = Counter(verdict(runs)["outcome"] for _, runs in points)
    outcomes.pop("", None)
    more = _sensitivity(points, start, first["runner"], first["decides"])
    if sum(outcomes.values()) > 1:
        counts = ", ".join(f"{OUTCOMES[name]} at {outcomes[name]}" for name in OUTCOMES if outcomes[name])
        more.append(f"Compared with equally tuned software, {counts} of {sum(outcomes.values())} points.")
    sentences = [*first["sentences"], *more]
    key = next((run.get("key", "") for run in at.values()), "")
    point = {name: value for name, value in start.items() if "." not in name}
    return first | {"sentences": sentences, "point": point, "key": key, "outcomes": dict(outcomes)}


def peer_of(runs: RunsByName) -> Peer | None:
    """The strongest software on SAIL's cores at a point; None where SAIL or such software has no rate."""
    ran = {name: run for name, run in runs.items() if run["tokens_per_s"] is not None}
    first = _first(ran) if ran else ""
    return _peer(ran, first) if ran and ran[first]["kind"] == "accelerator" else None


def _first(ran: RunsByName) -> str:
    """Name of the runner that a verdict is about: SAIL, else the fastest accelerator, cores or GPU."""
    if SAIL in ran:
        return SAIL
    for kind in ("accelerator", "cores"):
        own = [name for name in ran if ran[name]["kind"] == kind and ran[name]["pays"] == "used"]
        if own:
            return max(own, key=lambda name: float(ran[name]["tokens_per_s"]))
    return max(ran, key=lambda name: float(ran[name]["tokens_per_s"]))


def _is_own(run: Run, lead: Run) -> bool:
    """Whether a run is of the leader's units, with any host software."""
    return run is lead or (
        lead["kind"] == run["kind"] == "accelerator" and run["hardware"] == lead["hardware"]
    )


def _on_same_cores(ran: RunsByName, first: str) -> list[str]:
    lead = ran[first]
    return [
        name
        for name, run in ran.items()
        if name != first
        and (run["kind"], run["hardware"], run["cores"]) == ("cores", lead["hardware"], lead["cores"])
        and run["pays"] == "used"
        and run["software"] != FASTEST
        and run["provenance"] != "claimed"
    ]


def _peer(ran: RunsByName, first: str) -> Peer | None:
    """The fastest software on the same cores that this project tuned, else the fastest measured one."""
    names = _on_same_cores(ran, first)
    tuned = [name for name in names if ran[name]["provenance"] == "simulated"] or names
    best = max(tuned, key=lambda name: float(ran[name]["tokens_per_s"]), default=None)
    return None if best is None else Peer(best, ran[best], _ratio(ran, first, best))


def _ratio(ran: RunsByName, first: str, other: str) -> Ratio:
    """The leader's rate over another's, with the other's attention on both sides where SAIL can have it."""
    lead = _partner(ran, first, ran[other])
    sides = ({**ran[name], "runner": name} for name in (lead, other))
    return {end: float(value or 0) for end, value in ratio_interval(*sides).items()}


def _partner(ran: RunsByName, first: str, other: Run) -> str:
    partner = other["speedup_of"]
    return partner if partner in ran and _is_own(ran[partner], ran[first]) else first


def _same_cores(lead: Run, peer: Peer) -> str:
    simulated = peer.run["provenance"] == "simulated"
    name = _name(lead)
    if lead["kind"] == "accelerator":
        kind = "tuned software" if simulated else "the fastest measured software"
        other = (
            f"{kind} on the same {lead['cores']} cores ({_name(peer.run)}{', only simulated' * simulated})"
        )
    else:
        other = f"{_name(peer.run)} on the same {lead['cores']} cores"
    if peer.outcome == "open":
        return f"{name} is {_times(peer.ratio)} as fast as {other}: either may win."
    if peer.outcome == "ahead":
        return f"{name} beats {other} by {_times(peer.ratio)}."
    return f"{other} beats {name} by {_times(_inverse(peer.ratio))}."


def _alone(lead: Run, only: bool) -> list[str]:
    """Sentences on a leader on whose cores no other software ran."""
    cores = f" on {lead['cores']} cores" if lead["cores"] else ""
    others = "Nothing else ran." if only else "No other software ran on them." if cores else ""
    return [f"{_name(lead)} gives {rate(lead)} tokens/s{cores}.", *([others] if others else [])]


def _of_two(lead: Run, other: Run, ratio: Ratio, fastest: bool) -> str:
    faster, slower = (lead, other) if ratio["median"] >= 1 else (other, lead)
    more = _times(ratio if faster is lead else _inverse(ratio))
    first = " the fastest," if fastest and faster is other else ""
    subject, object_ = (
        f"{_name(run)}{' (only simulated)' * (run is other and _is_only_simulated(run))}"
        for run in (faster, slower)
    )
    return f"{subject} is{first} {more} as fast as {object_}."


def _is_only_simulated(run: Run) -> bool:
    """Whether software on cores has run on no machine; what accelerators are is known."""
    return bool(run["kind"] == "cores" and run["provenance"] != "measured")


def _name(run: Run) -> str:
    if run["software"] == FASTEST:
        return f"the fastest measured software on {'all ' * (run['pays'] == 'whole')}{run['cores']} cores"
    title = str(run["title"]).removesuffix(f" {SIGN}").removeprefix("cores, ")
    name, _, more = title.partition(", ")
    return f"{name} ({more})" if more else name


def _why(run: Run, peer: Peer | None) -> tuple[str, float, list[str]]:
    """The phase that takes most of a step, its share of it, and sentences on the longest phases."""
    shares = _shares(run)
    if not shares:
        return "", 0.0, []
    sentences = [_spends(run, shares[:2])]
    if peer is not None and (theirs := _shares(peer.run)):
        sentences.append(_spends(peer.run, theirs[:1]))
    return *shares[0], sentences


def _spends(run: Run, shares: Iterable[tuple[str, float]]) -> str:
    """Sentence on the phases that take most of a runner's step."""
    step = f"its {'nominal ' * (run['kind'] == 'accelerator')}step"
    parts = " and ".join(f"{share:.0%} on {_phase(phase, run)}" for phase, share in shares)
    return f"{_name(run)} spends {parts.replace(' on', f' of {step} on', 1)}."


def _shares(run: Run) -> list[tuple[str, float]]:
    whole = sum(run["phases"].values())
    ordered = sorted(run["phases"].items(), key=lambda each: -each[1])
    return [(name, seconds / whole) for name, seconds in ordered if seconds > 0]


def _phase(name: str, run: Run) -> str:
    words = PHASES.get(name, name.replace("_", " "))
    place = {"memory": " in memory", "unit": " in the units", "cores": " on the cores"}
    return words + place.get(run["converted"], "") if name == "convert" else words


def _sensitivity(
    points: Points, start: Mapping[str, Any], runner: str, decides: Mapping[str, Any]
) -> list[str]:
    """Sentences on the axis along which a runner's rate changes most from a point; none in a study of one."""
    along: dict[str, list[tuple[float, float]]] = {}
    words = _axes(start)
    for name in words:
        rates = {
            point[name]: float(runs[runner]["tokens_per_s"])
            for point, runs in _neighbours(points, start, name)
            if runner in runs and runs[runner]["tokens_per_s"] is not None
        }
        if len(rates) > 1:
            along[name] = sorted(rates.items())
    if not along:
        return []
    most = max(along, key=lambda name: _factor(along[name]))
    matters = _factor(along[most]) >= FLAT
    why = [f"The rate moves most with {words[most]}: {_ends(along[most])}."] if matters else []
    bits = along.get("wbits")
    if bits is None or _factor(bits) >= FLAT:
        return why
    why = why or [f"The longest part of the step decides: {PHASES.get(decides.get('phase', ''), '-')}."]
    return [f"Bits of a weight hardly matter: {_ends(bits)}.", *why]


def _axes(point: Mapping[str, Any]) -> dict[str, str]:
    """`AXES`, other numbers of a point, and the fields of machines that a study varies, which have a dot."""
    others = [name for name in NUMBERS if name not in (*AXES, "seed")]
    fields = [name for name in point if "." in name and name != "system.file"]
    return AXES | {name: name.replace("_", " ") for name in others} | {name: name for name in fields}


def _neighbours(points: Points, start: Mapping[str, Any], *free: str) -> Points:
    """The points that differ from one at most in some fields; a prompt's tokens are its context too."""
    if "prompt" in free or "context" in free:
        free = (*free, "prompt", "context")
    if any("." in name for name in free):  # a machine's field is part of the system's text
        free = (*free, "system")
    fixed = [name for name in start if name not in free]
    return [pair for pair in points if all(pair[0][name] == start[name] for name in fixed)]


def winner_map(
    points: Points, start: Mapping[str, Any]
) -> tuple[list[str], list[str], list[list[tuple[str, str]]]]:
    """Map of SAIL against the strongest software on its cores from a point on: its axes, a header, and rows.

    A cell is its text and a key of `OUTCOMES`, which is empty at a row's head. Columns are along the first of
    `AXES` that varies, rows along the next one. All is empty where none varies.
    """
    words = _axes(start)
    varied = [
        name for name in words if len({point[name] for point, _ in _neighbours(points, start, name)}) > 1
    ]
    if not varied:
        return [], [], []
    x, y = (*varied, "")[:2]
    near = _neighbours(points, start, *varied[:2])
    places = {(point[x], point[y] if y else 0): peer_of(runs) for point, runs in near}
    across, down = (sorted({place[i] for place in places}) for i in (0, 1))
    rows = [
        [(f"{words[y]} {at}" if y else "SAIL is", ""), *(standing(places.get((each, at))) for each in across)]
        for at in down
    ]
    header = ["", *(f"{words[x]} {each}" if i == 0 else f"{each}" for i, each in enumerate(across))]
    return varied[:2], header, rows


def standing(peer: Peer | None) -> tuple[str, str]:
    """SAIL against the strongest software on its cores, in words, and a key of `OUTCOMES`."""
    words = {"ahead": "faster", "open": "either", "behind": "slower"}
    if peer is None:
        return "-", ""
    return f"{words[peer.outcome]}, {peer.ratio['median']:.2f}x", peer.outcome


def _factor(rates: Iterable[tuple[float, float]]) -> float:
    values = [rate for _, rate in rates]
    return max(values) / min(values)


def _ends(rates: Sequence[tuple[float, float]]) -> str:
    (low, first), (high, last) = rates[0], rates[-1]
    return f"{first:.4g} tokens/s at {_short(low)}, {last:.4g} at {_short(high)}"


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


# --- The table of runners ---


def strongest(runs: RunsByName) -> list[str]:
    """Names of the runners that a table shows: of each GPU the fastest alone, none that repeats another one,
    and claimed or serving software only where it can run the point."""
    of_gpu: dict[str, list[str]] = {}
    for name, run in runs.items():
        if run["kind"] == "gpu":
            of_gpu.setdefault(run["hardware"], []).append(name)
    best = {max(names, key=lambda name: runs[name]["tokens_per_s"] or 0) for names in of_gpu.values()}
    servers = [record.name for record in shipped_records() if record.serves]
    left = {
        name
        for name, run in runs.items()
        if (run["software"] == FASTEST and run["pays"] == "used")
        or (run["reason"] and (run["provenance"] == "claimed" or run["software"] in servers))
    }
    return [name for name, run in runs.items() if name not in left and (run["kind"] != "gpu" or name in best)]


COLUMNS = ("tokens/s", "SAIL vs it", "SAIL's tokens/USD vs its")
"""Columns of that table: the rate and its interval, SAIL's rate and its tokens per dollar over the row's."""


def cells(name: str, run: Run | None) -> tuple[str, ...]:
    """`COLUMNS` of a runner; dashes for None and for a run without a rate."""
    if run is None or run["tokens_per_s"] is None:
        return ("-", *[""] * (len(COLUMNS) - 1))
    if run["speedup_median"] is None or run["speedup_of"] == name:
        return rate(run), "", ""
    gives = dollars(run)
    return rate(run), times(run), "" if gives is None else f"{gives:.2f}x"


def rate(run: Run) -> str:
    """Tokens a second of the nominal machine, with the median where one is known, and the interval."""
    known = "" if run["median"] is None else f"median {run['median']:.0f}, "
    ends = "" if run["low"] is None else f" ({known}{run['low']:.0f} .. {run['high']:.0f})"
    return f"{run['tokens_per_s']:.1f}{ends}"


def times(run: Run) -> str:
    """SAIL's median rate over a run's, with the interval of the ratio."""
    return _times({end: run[f"speedup_{end}"] for end in ("median", "low", "high")})


def dollars(run: Run) -> float | None:
    """SAIL's median tokens per dollar over a run's, paid by threads: an hour costs the same at any rate."""
    nominal = run["usd_ratio_used"]
    return None if nominal is None else float(nominal * run["speedup_median"] / run["speedup"])


def _times(ratio: Ratio) -> str:
    median, low, high = (
        f"{ratio[end]:.0f}" if ratio[end] >= _WHOLE_FROM else f"{ratio[end]:.2f}"
        for end in ("median", "low", "high")
    )
    return f"{median}x{f' ({low} .. {high}x)' if ratio['low'] < ratio['high'] else ''}"


def _inverse(ratio: Ratio) -> Ratio:
    return {"median": 1 / ratio["median"], "low": 1 / ratio["high"], "high": 1 / ratio["low"]}

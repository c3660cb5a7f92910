"""One point beside its baselines: SAIL, the same server's cores, every GPU card, and what each costs.

`compare` gives the nested answer that `sailsim run` prints; `evaluate` the same as one flat record, a row of
a sweep's store. Dollars are added last and by their own function, so that a stored sweep can be priced again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from sailsim.analysis.baselines.cpu import Software, cpu_tokens_per_s
from sailsim.analysis.baselines.gpu import GpuSoftware, gpu_tokens_per_s, memory_needed
from sailsim.analysis.baselines.prediction import Prediction, Work
from sailsim.analysis.costs.dollars import (
    SIZINGS,
    CostConstants,
    CostRange,
    Price,
    PriceList,
    Sizing,
    Usage,
    cost_range,
    prices,
    tokens_per_dollar,
    usd_per_hour,
    usd_per_million_tokens,
)
from sailsim.analysis.costs.energy import (
    CAUSES,
    NOT_MODELLED,
    Energy,
    EnergyConstants,
    cpu_use,
    energy,
    gpu_bound_j_per_token,
    recorded_use,
)
from sailsim.analysis.results.runs import formats_of
from sailsim.errors import SailsimError
from sailsim.sim import (
    COUNTS,
    PHASES,
    Point,
    System,
    as_system,
    card_names,
    load_card,
    load_system,
    simulate_step,
)
from sailsim.workloads import (
    Activations,
    ModelSpec,
    WeightFormat,
    decode_step,
    load_model,
    weight_format,
)

_CPUS: Mapping[str, Software] = {"cpu": "llama.cpp", "cpu_ampere": "ampere"}
_CARD_RUNS = ("", "_f16", "_serving")
"""What runs on every card: llama.cpp in the point's format, 16 bits, and a serving stack in four bits."""


def _cards() -> list[str]:
    """The names of every card's runs, the prefixes of their columns after `gpu_`."""
    return [f"{card}{run}" for card in card_names() for run in _CARD_RUNS]


@lru_cache(maxsize=1)
def _shipped_prices() -> PriceList:
    return prices()


@dataclass(frozen=True)
class Baselines:
    """What the same step gives without SAIL; cards that cannot run it have a reason instead of a
    prediction."""

    cpu: Mapping[str, Prediction]
    gpu: Mapping[str, Prediction] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Server:
    """A machine as a key: equal where everything that it is is equal."""

    name: str
    digest: str
    system: System = field(compare=False)

    @classmethod
    def of(cls, system: System) -> _Server:
        return cls(system.name, system.digest, system)


@lru_cache(maxsize=512)
def _cpu(
    server: _Server, model: ModelSpec, fmt: WeightFormat, threads: int, batch: int, context: int
) -> Baselines:
    """The same server's cores at the point's threads, with both softwares, and with all cores."""
    machine = server.system
    found = {
        name: cpu_tokens_per_s(machine, model, fmt, threads, batch, context, software=software)
        for name, software in _CPUS.items()
    }
    found["cpu_all"] = cpu_tokens_per_s(machine, model, fmt, machine.cores.count.whole, batch, context)
    return Baselines(found)


@lru_cache(maxsize=512)
def _gpu(model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> Baselines:
    """Every card, at the point's weight format, at 16 bits (`<card>_f16`) and, where that has four bits, with
    a serving stack's kernels (`<card>_serving`)."""
    found, refused = {}, {}
    runs: tuple[tuple[str, WeightFormat, GpuSoftware], ...] = (
        ("", fmt, "llama.cpp"),
        ("_f16", weight_format("f16"), "llama.cpp"),
        ("_serving", fmt, "serving"),
    )
    for card in card_names():
        for run, weights, software in runs:
            try:
                found[card + run] = gpu_tokens_per_s(
                    load_card(card), model, weights, batch, context, software=software
                )
            except SailsimError as error:
                refused[card + run] = str(error)
    return Baselines({}, found, refused)


@lru_cache(maxsize=512)
def _cpu_dram_bytes(model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> float:
    """Weights and KV cache that the cores alone read in a step."""
    work = Work.of(model, decode_step(model, fmt, batch, context), batch)
    return float(work.weight_bytes + work.kv_bytes)


def evaluate(point: Point, system: System | str | Path | None = None) -> dict[str, Any]:
    """The flat record of a point: what the store keeps a row of.

    ``system``, a machine or its name or path, takes the place of the point's. Rates in tokens/s, times in
    seconds, prices in USD; None where a machine cannot run the step or has no price. Raises SailsimError for
    a point that cannot be simulated.
    """
    point, system = _on(point, system)
    model = load_model(point.model)
    result = simulate_step(system, model, point)
    fmt = formats_of(point, model)
    cpus = _cpu(_Server.of(system), model, fmt, point.threads, point.batch, point.context)
    gpus = _gpu(model, fmt, point.batch, point.context)
    record: dict[str, Any] = result.point.as_dict()
    record |= {
        "model_title": model.title,
        "system_title": system.title,
        "priced_as": [system.name, *system.extends],
        # A variant of a machine costs what the machine costs that its file extends.
        "system_chain": [system.name, *system.extends],
        "patterns": _patterns(point.activations, model),
        "sail_tokens_per_s": result.tokens_per_s,
        "sail_step_s": result.step_s,
        "sail_memory_bytes": memory_needed(model, fmt, point.batch, point.context),
        "sail_dram_bytes": result.dram_bytes,
        "sail_dram_gb_s": result.dram_gb_s,
        "sail_pim_cycles": result.pim_cycles,
    }
    record |= {f"time_{phase}_s": result.breakdown[phase] for phase in PHASES}
    record |= {f"count_{name}": result.counts[name] for name in COUNTS}
    for name, found in cpus.cpu.items():
        record |= _flat(name, found) | {f"speedup_{name}": result.tokens_per_s / found.tokens_per_s}
    record |= {f"cpu_time_{part}_s": seconds for part, seconds in cpus.cpu["cpu"].parts.items()}
    record |= {f"sail_dram_{kind}_bytes": moved for kind, moved in result.bytes_by_kind.items()}
    record |= {f"activity_{name}": events for name, events in result.activity.items()}
    record["cpu_dram_bytes"] = _cpu_dram_bytes(model, fmt, point.batch, point.context)
    usable = system.memory.read_bandwidth.si
    for name in ("sail", *cpus.cpu):
        moved, rate = (
            record["sail_dram_bytes" if name == "sail" else "cpu_dram_bytes"],
            f"{name}_tokens_per_s",
        )
        record[f"{name}_bandwidth_share"] = min(1.0, moved / point.batch * record[rate] / usable)
    for name in _cards():
        prediction = gpus.gpu.get(name)
        record |= _flat(f"gpu_{name}", prediction)
        record[f"speedup_{name}"] = (
            None if prediction is None else result.tokens_per_s / prediction.tokens_per_s
        )
    record |= energy_columns(record, system)
    record |= price_columns(record, _shipped_prices())
    record["notes"] = [*_notes(result.notes, cpus, gpus), NOT_MODELLED]
    if record["price_instance"] is None:
        record["notes"].append(
            f"No price of {system.name} or of what its file extends: no tokens per dollar."
        )
    return record


def _on(point: Point, system: System | str | Path | None) -> tuple[Point, System]:
    """The point on another machine, if one is given, with the machine that it then names."""
    if system is None:
        return point, load_system(point.system)
    machine = as_system(system)
    name = machine.name if isinstance(system, System) else str(system)
    return replace(point, system=name), machine


@lru_cache(maxsize=64)
def _patterns(activations: str, model: ModelSpec) -> str:
    """What the pattern counts come from, in one sentence."""
    captured = Activations.load(activations or None)
    said = f"Pattern statistics from {captured.meta['model']} activations"
    note = captured.note(model)
    # For another model's activations the note is this sentence; for the model's own it adds to it.
    return f"{said}." if note is None or note.lower() == said.lower() else f"{said}; {note}."


def _flat(name: str, prediction: Prediction | None) -> dict[str, float | None]:
    if prediction is None:
        return {f"{name}_{key}": None for key in ("tokens_per_s", "low", "high")}
    return {
        f"{name}_tokens_per_s": prediction.tokens_per_s,
        f"{name}_low": prediction.low,
        f"{name}_high": prediction.high,
    }


def _notes(sail: list[str], cpus: Baselines, gpus: Baselines) -> list[str]:
    """Every sentence once: SAIL's, the CPU's, the GPUs' and why a card is missing."""
    said = [*sail]
    for name, prediction in [*cpus.cpu.items(), *gpus.gpu.items()]:
        said += [f"{name}: {note}" for note in prediction.notes]
    said += list(gpus.refused.values())
    return list(dict.fromkeys(said))


def price_columns(
    record: Mapping[str, Any], price_list: PriceList, constants: CostConstants | None = None
) -> dict[str, Any]:
    """Tokens per dollar of a record's machines, and their ratios, at the prices of a list.

    Columns without suffix pay for the used vCPUs of the CPU server ("share"), `_bandwidth` for those that
    bring the used memory bandwidth if they are more, `_whole` for all of it; `_low` and `_high` are the ends
    of `cost_range`, whose nominal is `_bandwidth`. `cpu_all` is all cores at the price of the whole server.
    All are None where the list has no price.
    """
    c = CostConstants.default() if constants is None else constants
    server = price_list.first(record["system_chain"])
    columns: dict[str, Any] = {
        "price_date": server and server.date,
        "price_source": server and server.source,
        "price_instance": server and server.instance,
        "sail_price_overhead": c.overhead,
    }

    def used(rate: Any) -> Any:
        return None if _missing(rate) else rate * c.utilisation

    whole_hour = None if server is None else server.usd_per_hour
    columns |= _dollars("cpu_all", "", used(record["cpu_all_tokens_per_s"]), whole_hour)
    for sizing in SIZINGS:
        end = "" if sizing == "share" else f"_{sizing}"
        for name in ("sail", "cpu", "cpu_ampere"):
            hour = _hour(server, record, sizing, name)
            if name == "sail" and hour is not None:
                hour *= 1 + c.overhead
            columns |= _dollars(name, end, used(record[f"{name}_tokens_per_s"]), hour)
            if name != "sail":
                columns[f"usd_ratio_{name}{end}"] = _ratio(columns, end, name)
        if sizing == "share":  # all cores are the whole server
            columns["usd_ratio_cpu_all"] = _ratio(columns, "", "cpu_all")
        for card in card_names():
            card_hour = price_list.of(card).usd_per_hour if price_list.has(card) else None
            for name in (f"gpu_{card}{run}" for run in _CARD_RUNS):
                if sizing == "share":  # a card is always paid whole
                    # An older store has no column of a run that came later.
                    columns |= _dollars(name, "", used(record.get(f"{name}_tokens_per_s")), card_hour)
                columns[f"usd_ratio_{name.removeprefix('gpu_')}{end}"] = _ratio(columns, end, name)
    return columns | _ranges(record, price_list, c)


def _ranges(record: Mapping[str, Any], price_list: PriceList, c: CostConstants) -> dict[str, float | None]:
    """`<machine>_tokens_per_usd_low` and `_high` of every machine of a record."""
    columns: dict[str, float | None] = {}
    for name, found in cost_ranges(record, price_list, c).items():
        columns[f"{name}_tokens_per_usd_low"] = None if found is None else found.low
        columns[f"{name}_tokens_per_usd_high"] = None if found is None else found.high
    return columns


def cost_ranges(
    record: Mapping[str, Any], price_list: PriceList, constants: CostConstants | None = None
) -> dict[str, CostRange | None]:
    """Dollars of every machine of a record, by the prefix of its columns; None without rate or price."""
    servers = price_list.all_of(record["system_chain"])
    machines = [(name, servers) for name in ("sail", "cpu", "cpu_ampere", "cpu_all")]
    for card in card_names():
        cards = price_list.all_of([card])
        machines += [(f"gpu_{card}{run}", cards) for run in _CARD_RUNS]
    found: dict[str, CostRange | None] = {}
    for name, instances in machines:
        rate = record.get(f"{name}_tokens_per_s")
        if rate is None or _missing(rate):
            found[name] = None
            continue
        cpu, sail = not name.startswith("gpu_"), name == "sail"
        share = record.get(f"{name}_bandwidth_share")
        run = Usage(
            tokens_per_s=rate,
            low=rate if sail else record[f"{name}_low"],
            high=rate if sail else record[f"{name}_high"],
            threads=int(record["threads"]) if cpu else 1,
            memory_bytes=float(record["sail_memory_bytes"]) if cpu else 0.0,
            # All cores, or a row that does not say how much bandwidth it used: the whole server.
            bandwidth_share=1.0 if name == "cpu_all" or _missing(share) else float(share or 0.0),
            overhead=sail,
        )
        found[name] = cost_range(run, instances, constants)
    return found


def energy_columns(
    record: Mapping[str, Any], system: System, constants: EnergyConstants | None = None
) -> dict[str, Any]:
    """Joules of a record's step and what follows from them.

    `energy_<cause>_j`, `energy_j` with `energy_low_j` and `energy_high_j` (every constant at one end of its
    range) are SAIL's step, `cpu_energy_...` the same step on the cores alone (llama.cpp); `..._tokens_per_j`,
    `..._power_w`; `energy_prt_saved_j`; `gpu_<card>_bound_j_per_token`, an upper bound: the board's power.
    """
    c = EnergyConstants.default() if constants is None else constants
    batch = float(record["batch"])
    cpu_s = batch / record["cpu_tokens_per_s"]
    uses = {
        "": recorded_use(system, _run_of(record)),
        "cpu_": cpu_use(system, int(record["threads"]), batch, cpu_s, float(record["cpu_dram_bytes"])),
    }
    columns: dict[str, Any] = {}
    for prefix, use in uses.items():
        found: Energy = energy(use, c)
        columns |= {f"{prefix}energy_{cause}_j": found.by_cause[cause] for cause in CAUSES}
        columns[f"{prefix}energy_j"] = found.joules
        columns[f"{prefix}energy_low_j"] = energy(use, EnergyConstants.at("low")).joules
        columns[f"{prefix}energy_high_j"] = energy(use, EnergyConstants.at("high")).joules
        columns[f"{prefix or 'sail_'}tokens_per_j"] = found.tokens_per_joule
        columns[f"{prefix or 'sail_'}power_w"] = found.watts
        if not prefix:
            columns["energy_prt_saved_j"] = found.prt_saved_j
    for card in card_names():
        rate = record[f"gpu_{card}_tokens_per_s"]
        columns[f"gpu_{card}_bound_j_per_token"] = (
            None if _missing(rate) else gpu_bound_j_per_token(load_card(card), 1 / rate, 1)
        )
    return columns


def _run_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """SAIL's part of a flat record as a record of a run."""

    def part(prefix: str, end: str = "") -> dict[str, Any]:
        return {
            name.removeprefix(prefix).removesuffix(end): value
            for name, value in record.items()
            if name.startswith(prefix) and name.endswith(end)
        }

    return {
        "batch": record["batch"],
        "step_s": record["sail_step_s"],
        "cores": record["threads"],
        "substrate": record["substrate"],
        "phases": part("time_", "_s"),
        "events": part("activity_"),
        "traffic": part("sail_dram_", "_bytes"),
    }


def _hour(server: Price | None, record: Mapping[str, Any], sizing: Sizing, name: str) -> float | None:
    """What an hour of the CPU server costs a run; None without a price, or where the instance is too small,
    or where the record does not say how much bandwidth the run uses."""
    share = record.get(f"{name}_bandwidth_share")
    if server is None or (sizing == "bandwidth" and _missing(share)):
        return None
    try:
        return usd_per_hour(
            server,
            int(record["threads"]),
            float(record["sail_memory_bytes"]),
            0.0,
            sizing,
            0.0 if _missing(share) else float(share or 0.0),
        )
    except SailsimError:
        return None


def _missing(value: Any) -> bool:
    return value is None or bool(pd.isna(value))


def _dollars(name: str, end: str, rate: Any, hour: float | None) -> dict[str, float | None]:
    if _missing(rate) or _missing(hour):
        return {f"{name}_tokens_per_usd{end}": None, f"{name}_usd_per_million_tokens{end}": None}
    assert hour is not None
    return {
        f"{name}_tokens_per_usd{end}": tokens_per_dollar(rate, hour),
        f"{name}_usd_per_million_tokens{end}": usd_per_million_tokens(rate, hour),
    }


def _ratio(columns: Mapping[str, Any], end: str, name: str) -> float | None:
    """SAIL's tokens per dollar over another machine's; a card has one price, whatever the sizing."""
    sail = columns[f"sail_tokens_per_usd{end}"]
    other = columns[f"{name}_tokens_per_usd" + ("" if name.startswith("gpu_") else end)]
    return None if sail is None or other is None else float(sail / other)


def reprice(frame: pd.DataFrame, price_list: PriceList) -> pd.DataFrame:
    """The rows of a store with every dollar column at other prices."""
    rows = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    dollars = pd.DataFrame([price_columns(row, price_list) for row in rows], frame.index)
    kept = frame.drop(columns=[name for name in dollars if name in frame])
    return pd.concat([kept, dollars], axis=1).copy()  # one block again: columns were cut out of many


def compare(
    point: Point, system: System | str | Path | None = None, price_list: PriceList | None = None
) -> dict[str, Any]:
    """The nested answer of a point, JSON-able: SAIL, CPU and GPUs with their rates, costs and SAIL's speedup.

    ``system``, a machine or its name or path, takes the place of the point's; ``price_list`` that of the
    shipped prices. A card that cannot run the step has `not_available`, the reason, in the place of its
    numbers.
    """
    point, machine = _on(point, system)
    record = evaluate(point, machine) | {"system": point.system}
    if price_list is not None:
        record |= price_columns(record, price_list)
    model = load_model(point.model)
    fmt = formats_of(point, model)
    refused = _gpu(model, fmt, point.batch, point.context).refused
    cpus = _cpu(_Server.of(machine), model, fmt, point.threads, point.batch, point.context).cpu
    gpus: dict[str, Any] = {}
    for card in card_names():
        gpus[card] = {**_entry(record, f"gpu_{card}", card, refused), "f16": None, "serving": None}
        if "not_available" not in gpus[card]:
            gpus[card]["j_per_token_at_most"] = record[f"gpu_{card}_bound_j_per_token"]
        for run in ("f16", "serving"):
            gpus[card][run] = _entry(record, f"gpu_{card}_{run}", f"{card}_{run}", refused)
    fields = Point.from_dict(record).as_dict()
    return {
        "point": fields,
        "sail": {
            "tokens_per_s": record["sail_tokens_per_s"],
            "step_s": record["sail_step_s"],
            "breakdown": {phase: record[f"time_{phase}_s"] for phase in PHASES},
            "counts": {name: record[f"count_{name}"] for name in COUNTS},
            "dram_gb_s": record["sail_dram_gb_s"],
            "pim_cycles": record["sail_pim_cycles"],
            "tokens_per_usd": record["sail_tokens_per_usd"],
            "tokens_per_usd_whole": record["sail_tokens_per_usd_whole"],
            "usd_per_million_tokens": record["sail_usd_per_million_tokens"],
            "tokens_per_usd_range": _range(record, "sail"),
            "energy": _joules(record, ""),
        },
        "cpu": _entry(record, "cpu", "cpu", {})
        | {"parts": dict(cpus["cpu"].parts), "energy": _joules(record, "cpu_")},
        "cpu_ampere": _entry(record, "cpu_ampere", "cpu_ampere", {}),
        "gpu": gpus,
        "price": {
            "instance": record["price_instance"],
            "date": record["price_date"],
            "source": record["price_source"],
            "sail_overhead": record["sail_price_overhead"],
        },
        "notes": record["notes"],
    }


def _range(record: Mapping[str, Any], prefix: str) -> list[float | None]:
    """Least, nominal and most tokens per dollar of a machine."""
    nominal = "" if prefix.startswith("gpu_") else "_bandwidth"
    return [record[f"{prefix}_tokens_per_usd{end}"] for end in ("_low", nominal, "_high")]


def _joules(record: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Energy of a step in `compare`."""
    whole = {key: record[f"{prefix}energy_{key}"] for key in ("j", "low_j", "high_j")}
    found: dict[str, Any] = {
        "step_j": whole["j"],
        "step_j_range": [whole["low_j"], whole["high_j"]],
        "j_per_token": whole["j"] / record["batch"],
        "tokens_per_j": record[f"{prefix or 'sail_'}tokens_per_j"],
        "power_w": record[f"{prefix or 'sail_'}power_w"],
        "by_cause_j": {cause: record[f"{prefix}energy_{cause}_j"] for cause in CAUSES},
    }
    return found if prefix else found | {"prt_saved_j": record["energy_prt_saved_j"]}


def _entry(record: Mapping[str, Any], prefix: str, name: str, refused: Mapping[str, str]) -> dict[str, Any]:
    """One machine of `compare`."""
    if name in refused:
        return {"not_available": refused[name]}
    rate = record[f"{prefix}_tokens_per_s"]
    return {
        "tokens_per_s": rate,
        "low": record[f"{prefix}_low"],
        "high": record[f"{prefix}_high"],
        "step_s": record["batch"] / rate,
        "speedup": record[f"speedup_{name}"],
        "tokens_per_usd": record[f"{prefix}_tokens_per_usd"],
        "usd_per_million_tokens": record[f"{prefix}_usd_per_million_tokens"],
        "tokens_per_usd_ratio": record[f"usd_ratio_{name}"],
        "tokens_per_usd_range": _range(record, prefix),
    }

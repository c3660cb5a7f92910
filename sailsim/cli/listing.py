"""`sailsim list` and `sailsim show`: shipped systems, models and prices, and the sources of their numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Choice, Quantity, SourcedValue
from sailsim.cli.common.command import Command
from sailsim.cli.common.json_output import answered, as_json, as_json_option
from sailsim.cli.common.table import echo, print_table, say
from sailsim.sim.gem5.binary import gem5_unit
from sailsim.sim.machine import system_files
from sailsim.sim.machine.substrate import CycleCost, Substrate, load_substrate, substrate_names
from sailsim.sim.machine.system import Gpu, System
from sailsim.sim.machine.system_files import load_machine, load_system
from sailsim.workloads.model_files.load import load_model, open_model_file
from sailsim.workloads.models.experts import distinct_experts
from sailsim.workloads.models.formats import format_names, weight_format
from sailsim.workloads.models.model import ModelSpec, model_names

LISTED_FOR = "llama-2-7b"
"""Model whose size in each format is listed."""

QUIET = (
    "fused_ffn", "value_dim", "sliding_window", "full_layers", "experts", "published_active", "notes",
)  # fmt: skip
"""Fields of a shape that are printed only if they are not empty."""

TOUCHED = (1, 2, 8, 32)
"""Batches for which the number of distinct experts is shown."""

Row = dict[str, Any]


def _machine(name: str) -> Row:
    machine = load_machine(name)
    return {
        "name": name,
        "kind": machine.kind,
        "pim": isinstance(machine, System) and machine.has_pim,
        "accelerator": machine.backend if isinstance(machine, System) else None,
        "title": machine.title,
    }


def _instances() -> dict[str, Row]:
    from sailsim.analysis.costs.dollars import prices

    return {row.instance: asdict(row) for row in prices().rows}


def _runners() -> dict[str, Row]:
    from sailsim.analysis.runs.runs import shipped_runners

    fields = ("name", "title", "kind", "software", "provenance", "rests_on", "source")
    return {each.name: {field: getattr(each, field) for field in fields} for each in shipped_runners()}


_LISTS: dict[str, tuple[Callable[[], list[Row]], Sequence[str]]] = {
    "system": (
        lambda: [_machine(name) for name in (*system_files.system_names(), *system_files.gpu_names())],
        ("name", "kind", "accelerator", "title"),
    ),
    "substrate": (
        lambda: [{"name": name, "title": load_substrate(name).title} for name in substrate_names()],
        ("name", "title"),
    ),
    "model": (
        lambda: [_summary(load_model(name)) for name in model_names()],
        ("name", "n_params", "n_layers", "d_model", "n_heads", "n_kv_heads", "d_ffn"),
    ),
    "format": (
        lambda: [_format(name) for name in format_names()],
        ("name", "wbits", "group_size", "bits_per_weight", "bytes"),
    ),
    "runner": (lambda: [*_runners().values()], ("name", "provenance", "rests_on")),
    "price": (
        lambda: [*_instances().values()],
        ("instance", "machines", "units", "memory_gib", "usd_per_hour"),
    ),
}
"""Rows of each kind, and the columns that a terminal shows."""


@click.command("list", cls=Command)
@click.argument("kind", type=click.Choice(list(_LISTS)), required=False)
@as_json_option
def list_(kind: str | None) -> None:
    """List the shipped items of a KIND, or all: machines and GPUs, substrates, models, weight formats with
    the size of Llama-2-7B in each, runners with what their rates rest on, prices.

    Where commands take the name of a system, a substrate or a model, the path of a file works too.
    """
    kinds = [kind] if kind else [*_LISTS]
    rows = {f"{each}s": _LISTS[each][0]() for each in kinds}
    if answered(rows):
        return
    for each in kinds:
        if kind is None:
            echo(f"{each}s")
        _print_list(rows[f"{each}s"], _LISTS[each][1])
        if kind is None:
            echo()


def _print_list(rows: Sequence[Row], names: Sequence[str]) -> None:
    """Print a table; if the last column is a sentence, print each row as a filled line."""
    if names[-1] not in ("title", "rests_on"):
        print_table(rows, names, whole=names[:1])
        return
    widths = {name: max(len(str(row[name] or "")) for row in rows) for name in names[:-1]}
    for row in rows:
        begin = "".join(f"{row[name] or '':<{width}} " for name, width in widths.items())
        say(f"{begin}{row[names[-1]]}", " " * len(begin))


@click.command(cls=Command)
@click.argument("kind", type=click.Choice(list(_LISTS)))
@click.argument("name")
@click.option("--sources", is_flag=True, help="Add the citation and note of each value (system, substrate).")
@click.option(
    "--as",
    "form",
    type=click.Choice(["toml", "unit", "schema"]),
    help="Print a system as a file that extends NAME with the changes after it, its PIM unit for gem5, or "
    "the JSON schema of system files, for editors that read a first line such as `#:schema SCHEMA.json`.",
)
@as_json_option
def show(kind: str, name: str, sources: bool, form: str | None) -> None:
    """Show the item NAME of a KIND: a shipped one, or the path of a file.

    A system or substrate is a TOML file, a model a TOML or GGUF file or a folder with config.json and
    safetensors files. Changes may follow the name of a system, as in `sail-n1:pim.t_prt=0`, so
    `sailsim show system sail-n1:pim.t_prt=0 --as toml > mine.toml` makes a file for `--system`.
    """
    if form and kind != "system":
        raise SailsimError(f"--as is {form} with a {kind}; allowed is it with a system.")
    if form and as_json():
        raise SailsimError(f"--as is {form} with --json; allowed is one of the two.")
    if sources and kind not in ("system", "substrate"):
        raise SailsimError(f"--sources is given with a {kind}; allowed is it with a system or a substrate.")
    if form:
        click.echo(_FORMS[form](name), nl=False)
    elif kind in ("system", "substrate"):
        _show_file(load_machine(name) if kind == "system" else load_substrate(name), sources)
    else:
        shown = {"model": _model, "format": _format, "runner": _runner}
        _show_fields(shown[kind](name) if kind in shown else _row_of("instance", name, _instances()))


def _toml(name: str) -> str:
    """System file that extends a machine with the changes after its name."""
    machine = load_machine(name)
    file = name.split(":")[0]
    base = load_machine(file)
    if machine.name == base.name:
        machine = system_files.vary(base, {}, name=f"my-{base.name}")
    return system_files.system_toml(machine, file, _other_cache(base, machine), Path())


def _other_cache(base: System | Gpu, varied: System | Gpu) -> str:
    """Warning that a change of the number of slices has changed the size of the cache; empty if not."""
    if isinstance(base, Gpu) or isinstance(varied, Gpu) or varied.llc.size == base.llc.size:
        return ""
    slice_size = base.llc.slice_size_in(varied.llc.slices.whole)
    return (
        f"The LLC has {varied.llc.size / 2**20:g} MiB instead of {base.llc.size / 2**20:g}; "
        f"{varied.llc.slices} of llc.slice_size={slice_size:g} would keep its size."
    )


_FORMS: dict[str, Callable[[str], str]] = {
    "toml": _toml,
    "unit": lambda name: gem5_unit(load_system(name)),
    "schema": lambda _: json.dumps(system_files.json_schema(), indent=2) + "\n",
}
"""Functions from a system's name to the text of each form of `--as`."""


def _show_file(described: System | Gpu | Substrate, sources: bool) -> None:
    """Print the values of a machine or a substrate, with the area of its units or its phases."""
    if answered(described.model_dump(mode="json", exclude_none=True)):
        return
    say(f"{described.name}: {described.title}")
    if isinstance(described, Substrate):
        helps = "can help" if described.prt_helps else "cannot help"
        echo(f"layout {described.layout}, accumulates {described.accumulate}, a PRT {helps}\n")
        missing = {part: "not modelled" for part in ("energy", "area") if getattr(described, part) is None}
        costs = {**described.costs, **described.charges(), **missing}
        rows = [_value_row(path, value) for path, value in costs.items()]
    else:
        rows = []
        for path, value in system_files.values(described):
            if isinstance(value, SourcedValue | bool) or ("." in path and isinstance(value, str)):
                rows.append(_value_row(path, value, "switch"))
            if isinstance(value, Quantity) and value.synthesised is not None:
                rows.append(_value_row(path, value.synthesised))
    print_table(rows, ("field", "value", "range", "kind", *["source"] * sources), whole=("field", "value"))
    if isinstance(described, Substrate):
        echo("cycles of an operation on n bits, energy and area of a column, of a bit\n")
        for phase in type(described.phases).model_fields:
            say(f" {phase:<11}  {', '.join(getattr(described.phases, phase)) or 'nothing'}", " " * 14)
    elif isinstance(described, System) and described.has_pim:
        say(_area(described))
    if sources:
        _print_sources(rows, described.sources)


def _value_row(path: str, value: object, unsourced: str = "") -> dict[str, str]:
    """Row with a value, its range and its source; `unsourced` is the kind of a value without a source."""
    row = {"field": path, "value": str(value), "range": "", "kind": unsourced, "source": "", "note": ""}
    if isinstance(value, SourcedValue):
        row |= {"kind": value.kind, "source": value.source, "note": value.note}
    if isinstance(value, Choice):
        row["value"] = str(value.value)
    elif isinstance(value, CycleCost) and value.low is not None:
        row["range"] = " .. ".join(value.ends)
    elif isinstance(value, Quantity) and value.low is not None and value.high is not None:
        row["range"] = f"{value.low:g} .. {value.high:g}"
    return row


def _print_sources(rows: Sequence[Mapping[str, str]], citations: Mapping[str, str]) -> None:
    """Print the citation of each source once, and the notes on fields."""
    echo("\nsources")
    for name in dict.fromkeys(row["source"] for row in rows if row["source"]):
        say(f" {name}: {citations.get(name, name)}", "   ")
    echo("\nnotes")
    for row in rows:
        if row["note"]:
            say(f" {row['field']}: {row['note']}", "   ")


def _area(machine: System) -> str:
    from sailsim.analysis.costs.area import AreaConstants, area
    from sailsim.analysis.costs.constants import NotModelledError

    try:
        units, gates = area(machine), area(machine, AreaConstants.synthesised())
    except NotModelledError as error:
        return f"The units' area is not modelled: {error}"
    whole, base = "all of the unit", "LLC and cores"
    arrays = units.share("C-SRAM arrays", base)
    return (
        f"{units.slices} units of {sum(units.parts.values()):.3g} mm2, for weights of 4 bits, are "
        f"{units.added_mm2():.3g} mm2: {100 * units.share(whole, base):.3g} % of {base}, their arrays alone "
        f"{100 * arrays:.3g} %. With the logic as synthesised they are {gates.added_mm2():.3g} mm2, "
        f"{100 * gates.share(whole, base):.3g} % (docs/cost.md)."
    )


def _model(name: str) -> Row:
    """Shape of a model, with its size in every format or, for a file, its tensors."""
    file = open_model_file(name)
    if file is None:
        spec = load_model(name)
        sizes = {each: weight_format(each).model_bytes(spec) for each in format_names()}
        return _summary(spec) | {"formats": sizes}
    size = sum(tensor.n_bytes for tensor in file.stored)
    tensors = [
        {"name": tensor.name, "shape": list(tensor.shape), "type": tensor.type, "bytes": tensor.n_bytes}
        for tensor in file.stored
    ]
    stored = {"bytes": size, "bits_per_weight": 8 * size / file.spec.n_params, "tensors": tensors}
    return _summary(file.spec) | stored


def _summary(spec: ModelSpec) -> Row:
    row = asdict(spec) | {"n_params": spec.n_params, "kv_bytes_per_token": spec.kv_bytes_per_token()}
    if spec.experts is not None:
        count, used = spec.experts.count, spec.experts.used
        touched = {f"at batch {batch}:": round(distinct_experts(count, used, batch), 2) for batch in TOUCHED}
        row |= {"active_params": spec.active_params, "experts_touched": touched}
    return row


def _format(name: str) -> Row:
    fmt, model = weight_format(name), load_model(LISTED_FOR)
    return {
        "name": fmt.name,
        "wbits": fmt.wbits,
        "group_size": fmt.group_size,
        "bits_per_weight": fmt.model_bits_per_weight(model),
        "bytes": fmt.model_bytes(model),
        "source": fmt.source,
        "model": model.name,
        "types": fmt.census_in_words(model),
    }


def _runner(name: str) -> Row:
    return _row_of("runner", name, _runners())


def _row_of(kind: str, name: str, rows: Mapping[str, Row]) -> Row:
    if name not in rows:
        raise SailsimError(f"{kind} is {name!r}; allowed are {', '.join(rows)}.")
    return rows[name]


def _show_fields(row: Row) -> None:
    if answered(row):
        return
    for key, value in row.items():
        if value or key not in QUIET:
            say(f"{key:<20} {_in_words(key, value)}", " " * 21)


def _in_words(key: str, value: Any) -> str:
    if key == "tensors":
        kinds = Counter(tensor["type"] for tensor in value)
        return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    if key == "formats":
        return ", ".join(f"{name} {size / 1e9:.3f} GB" for name, size in value.items())
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(name, inside)}" for name, inside in value.items() if inside)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:,}" if type(value) is int else f"{value}"

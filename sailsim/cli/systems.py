"""`sailsim systems`: the machines that ship, and what a system file says."""

import json
from pathlib import Path

import click

from sailsim.base.atomic import write_whole
from sailsim.base.hints import program
from sailsim.base.quantity import Choice, Quantity
from sailsim.cli._command import Group
from sailsim.cli._json import print_json
from sailsim.cli._path import OUT_FILE, TEXT
from sailsim.cli._table import echo, print_sources, print_table, say
from sailsim.sim.files import card_names, json_schema, load_machine, load_system, system_names
from sailsim.sim.gem5.binary import gem5_unit
from sailsim.sim.saved import save_system
from sailsim.sim.system import Gpu, System
from sailsim.sim.vary import parse_changes, values, vary


@click.group(cls=Group)
def systems() -> None:
    """List machines and show where each of their numbers comes from."""


@systems.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_systems(as_json: bool) -> None:
    """List the CPU servers and GPU cards that ship."""
    rows = [
        {"name": name, "kind": machine.kind, "pim": isinstance(machine, System) and machine.has_pim,
         "accelerator": machine.backend if isinstance(machine, System) else None, "title": machine.title}
        for name in (*system_names(), *card_names())
        for machine in [load_machine(name)]
    ]  # fmt: skip
    if as_json:
        print_json({"systems": rows})
        return
    width = max(len(str(row["name"])) for row in rows)
    for row in rows:
        beside = "with PIM" if row["pim"] else row["accelerator"] or ""
        begin = f"{row['name']:<{width}} {row['kind']:<4} {beside:<17} "
        say(f"{begin}{row['title']}", " " * len(begin))


@systems.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--sources", is_flag=True, help="Add the citation and note of every value.")
def show(name: str, as_json: bool, sources: bool) -> None:
    """Show machine NAME, one that ships or the path of a TOML file."""
    machine = load_machine(name)
    if as_json:
        print_json(machine.model_dump(mode="json", exclude_none=True))
        return
    say(f"{machine.name}: {machine.title}")
    rows: list[dict[str, str]] = []
    for path, value in values(machine):
        if isinstance(value, Quantity):
            low, high = value.low, value.high
            span = f"{low:g} .. {high:g}" if low is not None and high is not None else ""
            cells = [path, str(value), span, value.kind]
        elif isinstance(value, Choice):
            cells = [path, str(value.value), "", value.kind]
        elif isinstance(value, bool) or ("." in path and isinstance(value, str)):
            cells = [path, str(value), "", "switch"]
        else:
            continue
        said = [value.source, value.note] if isinstance(value, Quantity | Choice) else ["", ""]
        rows.append(
            dict(zip(("field", "value", "range", "kind", "source", "note"), cells + said, strict=True))
        )
    print_table(rows, ("field", "value", "range", "kind", *["source"] * sources), whole=("field", "value"))
    if isinstance(machine, System) and machine.has_pim:
        say(_area(machine))
    if sources:
        notes = ((row["field"], row["note"]) for row in rows)
        print_sources((row["source"] for row in rows), machine.citation, notes)


def _area(machine: System) -> str:
    """What the units of a machine take, in a sentence."""
    from sailsim.analysis.costs.area import AreaNotModelledError, area

    try:
        found = area(machine)
    except AreaNotModelledError as error:
        return f"The units' area is not modelled: {error}"
    whole, arrays = (
        100 * found.share(counted, "LLC and cores") for counted in ("all of the unit", "C-SRAM arrays")
    )
    return (
        f"{found.slices} units of {found.added_mm2 / found.slices:.3g} mm2, for weights of 4 bits, are "
        f"{found.added_mm2:.3g} mm2: {whole:.3g} % of LLC and cores, their arrays alone {arrays:.3g} % "
        "(docs/cost.md)."
    )


@systems.command()
def schema() -> None:
    """Print the JSON schema of a system file."""
    click.echo(json.dumps(json_schema(), indent=2))


@systems.command()
@click.argument("name")
@click.option("--substrate", help="Another than the machine's: as in `sailsim run`, row_dfm:add=3 say.")
@click.option("--out", type=OUT_FILE, help="Write it to this file.")
def unit(name: str, substrate: str | None, out: Path | None) -> None:
    """Print one PIM unit of machine NAME in the text form that gem5's SailPimUnit reads (`unit_file`)."""
    machine = load_system(name)
    machine.require_pim()
    text = gem5_unit(machine, **({} if substrate is None else {"substrate": substrate}))
    if out is None:
        click.echo(text, nl=False)
    else:
        write_whole(out, text.encode())


@systems.command()
@click.argument("name")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Another value, as in pim.t_prt=0 or pim.substrate.add=3; repeat.",
)
@click.option("--out", type=OUT_FILE, required=True, help="The file to write, *.toml.")
@click.option("--as", "new_name", type=TEXT, help="Name of the new machine [default: the file's].")
@click.option("--reason", default="", help="Why these values; each carries it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def save(
    name: str, settings: tuple[str, ...], out: Path, new_name: str | None, reason: str, as_json: bool
) -> None:
    """Write a machine that extends NAME with other values as a file for `--system`."""
    base = load_machine(name)
    changes = parse_changes(settings)
    called = new_name or out.stem
    varied = vary(
        base,
        changes,
        name=called,
        read_from=name,
        title=f"{base.title} with {', '.join(f'{field} {value}' for field, value in changes.items())}",
        source="sailsim systems save",
        note=reason or "a variation",
    )
    path = save_system(varied, out, name)
    if as_json:
        print_json({"path": str(path), "name": called, "changes": changes})
    else:
        echo(f"{path}: {base.name} with {len(changes)} other values.")
        echo(f"Next: {program()} run --system {path}")
        _tell_cache(base, varied)


def _tell_cache(base: System | Gpu, varied: System | Gpu) -> None:
    """Say so where other slices alone have made another cache."""
    if isinstance(base, Gpu) or isinstance(varied, Gpu) or varied.llc.size == base.llc.size:
        return
    kept = base.llc.slice_size_in(varied.llc.slices.whole)
    say(
        f"The LLC has {varied.llc.size / 2**20:g} MiB instead of {base.llc.size / 2**20:g}; "
        f"{varied.llc.slices} of llc.slice_size={kept:g} would keep its size."
    )

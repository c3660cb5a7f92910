"""`sailsim results`: contents of the folders of studies, as tables and CSV."""

from __future__ import annotations

from pathlib import Path

import click

from sailsim.analysis.runs.columns import columns_of
from sailsim.analysis.studies.result_folder import ResultFolder, flat, inventory
from sailsim.base.atomic import write_csv
from sailsim.base.errors import SailsimError
from sailsim.cli.common.command import Command
from sailsim.cli.common.json_output import answered, as_json_option
from sailsim.cli.common.path_option import OUT_FILE, PathOption
from sailsim.cli.common.table import cell, echo, fitting, print_table, say, wide_option
from sailsim.sim.study.store import Record

ROWS = 40
"""Default number of rows shown."""


@click.group()
def results() -> None:
    """List, show and compare the folders of studies.

    `sailsim sweep`, `explore`, `claims` and `gem5` make them. analysis/data/columns.toml explains columns.
    """


@results.command(cls=Command)
@click.argument("folders", nargs=-1, required=True, type=PathOption(), metavar="DIR...")
@wide_option
@as_json_option
def ls(folders: tuple[Path, ...], wide: bool) -> None:
    """List the studies in each DIR and below it.

    A row has the kind, state, points, time and size of a study, with --wide also the version of the code.
    """
    rows = inventory(folders)
    if answered({"folders": rows}):
        return
    hidden = () if wide else ("code_version",)
    for row in rows:
        row["finished_at"] = row["finished_at"] and str(row["finished_at"])[:16].replace("T", " ")
    names = [name for name in rows[0] if name not in ("folder", "refused", "reason", *hidden)]
    print_table(rows, [*names, "folder"], whole=["folder"])
    for row in rows:
        if row["reason"]:
            say(f"- {row['folder']}: {row['reason']}")


@results.command(cls=Command)
@click.argument("folder", type=PathOption())
@click.option(
    "--where",
    default="",
    show_default=False,
    help="An SQL condition on columns, as in \"wbits=4 and runner='sail'\".",
)
@click.option("--columns", default="", show_default=False, help="Columns, as in runner,tokens_per_s.")
@click.option("--rows", type=click.IntRange(min=1), default=ROWS, help="Rows at most.")
@click.option("--out", type=OUT_FILE, help="Write all rows into this CSV file instead.")
@wide_option
@as_json_option
def show(folder: Path, where: str, columns: str, rows: int, out: Path | None, wide: bool) -> None:
    """Show the records of FOLDER as a table that fits the terminal.

    Without --columns it shows the columns that differ, as many as fit, or all with --wide. Columns that are
    equal stand above. A CSV file has all columns; columns that hold numbers by name are JSON.
    """
    results, selected = ResultFolder(folder), _names(columns)
    names, records = results.records(where, selected)
    if out is not None:
        write_csv(out, names, (map(flat, record.values()) for record in records))
        written = {"path": out, "records": len(records), "columns": names, "bytes": out.stat().st_size}
        if not answered(written):
            echo(f"{out}: {len(records)} records, {len(names)} columns, {written['bytes']:,} bytes")
        return
    if answered({"folder": folder, "records": records[:rows], "total": len(records)}):
        return
    if not records:
        echo(f"0 records of {folder} are so.")
        return
    shown = records[:rows]
    if selected:
        chosen = selected if wide else fitting(shown, selected)
    else:
        chosen = _differing(results.kind, records, shown, wide)
    print_table(shown, chosen, key=1 + (chosen.index("runner") if "runner" in chosen else 0))
    more = f"; {rows} are shown (--rows)" if len(records) > rows else ""
    hidden = len(names) - len(chosen)
    hint = "--wide shows them" if selected else "--columns names others" if wide else "--wide, or --columns"
    rest = f"; {hidden} of {len(names)} columns are not shown ({hint})" if hidden else ""
    say(f"{len(records)} records{more}{rest}.", "")


def _differing(kind: str, records: list[Record], shown: list[Record], wide: bool) -> list[str]:
    """Columns that differ between the shown rows, all or as many as fit. Prints the equal ones."""
    first = {column.name for column in columns_of(kind) if column.first}
    names = [name for name, value in shown[0].items() if not isinstance(value, dict | list)]
    same, always = (
        {name for name in names if all(record[name] == rows[0][name] for record in rows)}
        for rows in (shown, records)
    )
    for words, equal in (("In all", always), ("In those shown", same - always)):
        values = [f"{n} {cell(shown[0][n])}" for n in names if n in equal & first and shown[0][n] != ""]
        if values:
            say(f" {words}: {', '.join(values)}", " ")
    varying = [name for name in names if name not in same]
    chosen = varying if wide else fitting(shown, sorted(varying, key=lambda name: name not in first))
    return [name for name in names if name in chosen] or names[:1]


@results.command(cls=Command)
@click.argument("a")
@click.argument("b")
@as_json_option
def compare(a: str, b: str) -> None:
    """Compare two studies, machines or models, A and B, at the points that both have.

    Each is a sweep's folder, or a machine or a model by name or file, at batch 1, 8 and 32 of the default
    point. Rates are of SAIL's nominal machine, or without units of the fastest software. "vs tuned": SAIL's
    median over the strongest software on its cores. Two runs of one study are the same if all rates are.
    """
    from sailsim.analysis.studies.against import against, side

    rows = against(side(a), side(b))
    if answered({"a": a, "b": b, "rows": rows}):
        return
    say(f"A is {a}, B is {b}. Rates in tokens/s.")
    titles = {"a": "A", "b": "B", "b_vs_a": "B vs A", "a_tuned": "A vs tuned", "b_tuned": "B vs tuned"}
    table = [
        {titles.get(name, name): value for name, value in row.items() if name != "equal"} for row in rows
    ]
    print_table(table, list(table[0]))
    same = sum(row["equal"] for row in rows)
    say(f"Every runner has the same rate on both sides at {same} of {len(rows)} points.")


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")] if text else []
    if "" in names:
        raise SailsimError(f"columns is {text!r}; allowed are names with commas between them.")
    return names

"""Runs of a sweep for figures, claims and the report, with the values that figures hold fixed."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError, create_model

from sailsim.analysis.costs.dollars import PriceList, is_missing
from sailsim.analysis.runs.columns import no_column
from sailsim.analysis.runs.compare import POINT, entries, with_comparisons
from sailsim.analysis.runs.runs import COLUMNS, SAIL, Run
from sailsim.analysis.runs.verdict import Points, study_verdict
from sailsim.analysis.uncertainty.prior import load_unknowns
from sailsim.base.arguments import ShortRepr, short_text
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Quantity
from sailsim.sim.machine.pim import AUTO, format_nbw
from sailsim.sim.machine.substrate import load_substrate, substrate_names
from sailsim.sim.machine.system_files import leaves_and_auto, lenient_reference, load_machine, value_of
from sailsim.sim.point import Point
from sailsim.sim.study.store import Store, command_of
from sailsim.workloads.model_files.load import FILE

FREE = tuple(name for name in POINT if name not in ("beyond_limit", "prt", "seed", "activations"))
"""Columns that a figure fixes unless it varies them, as it does with `prt`."""


_PLACES = {"memory": "in memory", "unit": "in units", "cores": "on cores", AUTO: "where it is fastest"}
_WORKLOAD = next(each for each in load_unknowns().workload if each.fixed)
ORDINARY = _WORKLOAD.point(Point().system, 128, True).having(convert=AUTO)
"""The fixed workload of the reproduction, in the middle of all ranges, with a scale for 128 weights and the
conversion of sums at the place where SAIL is fastest."""


SYSTEM_FILE = "system.file"
"""Column of a system's name or file, without the fields that a study changes behind it."""


class MissingPointsError(SailsimError):
    """Lack of points that a figure needs; the message is the sentence that the report shows instead."""


def stored_runs(store: Store) -> pd.DataFrame:
    """The records of a store, a row for each point and runner.

    Raises SailsimError for a store without results, and for one whose records lack a column, as those of an
    older layout do, or have a value of another type in it. The message has the command that makes it anew.
    """
    records = store.records()
    hints = get_type_hints(Point) | get_type_hints(Run) | {"fits": bool, "priced_as": list, "notes": list}
    columns: dict[str, Any] = {name: (hints[name] | None, ...) for name in COLUMNS}
    row: Any = create_model("Row", **columns)
    try:
        TypeAdapter[Any](list[row]).validate_python(records, strict=True)
        return pd.DataFrame(records)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    kind = str(store.manifest.get("kind", "sweep"))
    if kind != "sweep":
        raise SailsimError(
            f"folder {store.path} holds results of `sailsim {kind}`; allowed is one of `sailsim sweep`."
        )
    name = first["loc"][1]
    problem = f"has {short_text(first['input'])} in the column {name!r}, which no run has there"
    if first["type"] == "missing":
        problem = f"is of an older version, whose records have no {name!r}"
    command = f"{command_of(store.manifest)} --out {shlex.quote(str(store.path))}"
    raise SailsimError(f"folder {store.path} {problem}; `{command}` makes it anew.")


def machine_fields(systems: Iterable[str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Fields of machines that differ between the systems of a study, as in "sail-n1:pim.clock=2".

    Returns the values by field and system, with `SYSTEM_FILE` for a field, and the fields in words. A system
    that does not change a field has its file's value; None: its file has none.
    """
    references = {text: lenient_reference(text) for text in systems}
    values: dict[str, dict[str, Any]] = {SYSTEM_FILE: {text: each.file for text, each in references.items()}}
    words: dict[str, str] = {}
    for name in sorted({name for each in references.values() for name in each.changes}):
        known = {
            file: leaves_and_auto(load_machine(file)).get(name) for file in {*values[SYSTEM_FILE].values()}
        }
        own = {file: None if leaf is None else value_of(leaf) for file, leaf in known.items()}
        column = {text: each.changes.get(name, own[each.file]) for text, each in references.items()}
        if len({*column.values()}) > 1:
            values[name] = column
            units = {leaf.unit for leaf in known.values() if isinstance(leaf, Quantity)}
            words[name] = ", ".join([name, *units])
    return values, words


@dataclass(frozen=True, repr=False)
class RunTable(ShortRepr):
    """Runs of a study with their comparisons, and the reference values at which figures fix columns."""

    frame: pd.DataFrame
    price_list: PriceList
    reference: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    """Fields of machines that vary, which are columns too, in words."""

    @classmethod
    def of(cls, frame: pd.DataFrame, price_list: PriceList) -> RunTable:
        """Runs at the prices of a list. Raises SailsimError for a frame without rows.

        The reference has the default value of each column, else the most frequent one, among the points that
        have the values of the columns before: a sample may have no point with all most frequent values.
        """
        if frame.empty:
            raise SailsimError("results has no rows, allowed is a store of at least one point")
        values, fields = machine_fields(frame["system"].unique())
        frame = frame.assign(**{name: frame["system"].map(own) for name, own in values.items()})
        points, defaults = frame.drop_duplicates(POINT), Point().as_dict()
        chosen = typical(points, (*FREE, "prt"), defaults)
        for column in (*FREE, "prt"):  # columns without a value in any point that matches the others
            chosen |= {} if column in chosen else typical(points, [column], defaults)
        # To a figure a choice spelt out and the same one left to the system file are one point.
        rows = frame.drop_duplicates([*FREE, "prt", "seed", "activations", "runner"])
        chosen |= {name: own[chosen["system"]] for name, own in values.items()}
        return cls(with_comparisons(rows, price_list), price_list, chosen, fields)

    @cached_property
    def start(self) -> dict[str, Any]:
        """The point of a study's answer, as near to the `ORDINARY` workload as its points are.

        Raises SailsimError for a study without a point that its `lead` can run.
        """
        rows = self.frame[self.frame["runner"] == self.lead]
        rated = rows[rows["tokens_per_s"].notna()]
        if rated.empty:
            why = rows["reason"].iloc[0]
            raise SailsimError(f"the study has no point that can be run ({why}); allowed is one with some.")
        return typical(rated, (*POINT, SYSTEM_FILE, *self.fields), ORDINARY.as_dict(), self.reference)

    @cached_property
    def lead(self) -> str:
        """Name of the runner that a study is about: SAIL, or without it the first runner that has a rate."""
        rated = self.frame["runner"][self.frame["tokens_per_s"].notna()]
        every = self.frame["runner"]
        return SAIL if (every == SAIL).any() else str((every if rated.empty else rated).iloc[0])

    @cached_property
    def points(self) -> Points:
        """Every point with its runs (`compare.entries`)."""
        groups, columns = self.frame.groupby("point_key", sort=False), [*POINT, SYSTEM_FILE, *self.fields]
        return [
            ({str(name): value for name, value in rows[columns].to_dict("records")[0].items()}, entries(rows))
            for _, rows in groups
        ]

    def verdict(self) -> dict[str, Any]:
        """The verdict of the study (`verdict.study_verdict`) at `start`, and over all points."""
        return study_verdict(self.points, self.start)

    def at(
        self, vary: Sequence[str], runner: str = "", *, unable: bool = False, **fixed: Any
    ) -> pd.DataFrame:
        """Rows of a runner, by default the `lead`, in which every column but ``vary`` has its reference value
        or the given one: rows with a rate, with ``unable`` also those that have a reason instead.

        Raises SailsimError for an unknown column.
        """
        for name in (*vary, *fixed):
            if name not in self.frame:
                raise no_column(name, self.frame.columns)
        keep = np.array(self.frame["runner"] == (runner or self.lead))
        if not unable:
            keep &= self.frame["tokens_per_s"].notna().to_numpy()
        # A field of the machine varies with the system's text, of which the other fields are the rest.
        free = (*vary, "system") if {*vary, *fixed} & self.fields.keys() else vary
        for column, value in {**self.reference, **fixed}.items():
            if column not in free:
                keep &= (self.frame[column] == value).to_numpy()
        return self.frame[keep]

    def at_points_of(self, rows: pd.DataFrame, runner: str) -> pd.DataFrame:
        """A runner's rows at the points of some rows, in their order and with their index; empty rows at
        points that the runner did not run."""
        return _matched(rows, self.frame[self.frame["runner"] == runner], POINT)

    @property
    def runners(self) -> pd.DataFrame:
        """Fields of each runner, a row each in the order of the study: name, title, kind and others."""
        columns = ["runner", "title", "kind", "hardware", "software", "provenance", "format", "pays"]
        columns += ["overhead", "curves"]
        return self.frame.drop_duplicates("runner")[columns].reset_index(drop=True)

    @property
    def curves(self) -> dict[str, str]:
        """Title by name of the runners that figures by bits and by threads draw in addition to SAIL."""
        runners = self.runners
        runners = runners[runners["curves"] & (runners["runner"] != SAIL)]
        return dict(zip(runners["runner"], runners["title"], strict=True))

    def setting(self, vary: Sequence[str], rows: pd.DataFrame, at: Mapping[str, Any] | None = None) -> str:
        """Sentence on the values that are fixed: those of the reference, or of the point ``at``."""
        ref = self.reference if at is None else at
        scale = f"for {ref['group_size']} weights" if ref["group_size"] else "a column"
        words = {
            "model": str(rows["model_title"].iloc[0]),
            "wbits": weights_in_words(ref),
            "abits": f"{ref['abits']}-bit activations",
            **({} if ref["weights"] else {"group_size": f"one scale {scale}"}),
            **({"nbw": format_nbw(ref["nbw"])} if "nbw" in ref else {}),
            "batch": f"batch {ref['batch']}",
            "threads": f"{ref['threads']} threads",
            "context": f"{ref['context']} tokens of {'context' if ref['phase'] == 'decode' else 'prompt'}",
        }
        if ref.get("substrate"):  # of a machine with units
            words |= {
                "substrate": f"arrays: {substrate_in_words(str(ref['substrate']))}",
                "convert": f"conversion {_PLACES[ref['convert']]}",
                "prt": "PRT on" if ref["prt"] else "PRT off",
            }
        fixed = [text for column, text in words.items() if column not in vary]
        systems = rows[["system", "system_title"]].drop_duplicates().itertuples(index=False)
        named = "; ".join(f"{title} ({short_name(name)})" for name, title in systems)
        return f"System: {named}. Held fixed: {', '.join(fixed)}."


def typical(points: pd.DataFrame, columns: Iterable[str], *wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A value of each column, among the points that have the values of the columns before: the first of
    ``wanted`` that occurs, else the most frequent one. A column without a value there is left out."""
    chosen: dict[str, Any] = {}
    for column in columns:
        known = points[column].dropna()
        if known.empty:
            continue
        present = [each[column] for each in wanted if (known == each.get(column)).any()]
        # The mode is the lowest of equally frequent values: the order of rows does not matter.
        value = present[0] if present else known.mode().iloc[0]
        chosen[column] = value.item() if isinstance(value, np.generic) else value
        points = points[points[column] == value]
    return chosen


def weights_in_words(point: Mapping[str, Any]) -> str:
    """The weights of a point in the words of a title."""
    named = "the file's weights" if point["weights"] == FILE else f"weights {point['weights']}"
    return named if point["weights"] else f"{point['wbits']}-bit weights"


def short_name(system: str) -> str:
    """Name of a system; of one that is given as a file, the file's name without its ending."""
    return Path(system).stem if system.endswith(".toml") else system


def substrate_in_words(substrate: str) -> str:
    """Title and name of a shipped substrate; of one that is given as a file, the file's name."""
    if substrate in substrate_names():
        return f"{load_substrate(substrate).title} ({substrate})"
    return short_name(substrate)


def require_points(condition: bool, figure: str, points: str) -> None:
    """Raise MissingPointsError unless a study has the points that a figure needs."""
    if not condition:
        raise MissingPointsError(f"{figure} needs {points}, which this store does not hold.")


def numbers(rows: pd.DataFrame, column: str, name: str) -> pd.Series[float]:
    """Numbers by one name in a column of maps (`runs.MAPS`); NaN where a row has none."""
    return rows[column].map(lambda cell: np.nan if is_missing(cell) else cell.get(name, np.nan))


def prt_twins(results: RunTable, rows: pd.DataFrame) -> pd.DataFrame:
    """SAIL's rows without the PRT at the points of some rows, in their order and with their index.

    A row is empty where the study has none. Raises MissingPointsError where it has none at all.
    """
    columns = [*FREE, "seed", "activations"]
    every = results.frame
    off = every[(every["runner"] == SAIL) & every["tokens_per_s"].notna() & ~every["prt"].astype(bool)]
    twins = _matched(rows, off.drop_duplicates(columns), columns)
    pairs = "pairs of points with the PRT on and off (Point prt=True and prt=False)"
    require_points(bool(twins["tokens_per_s"].notna().any()), "The PRT's saving", pairs)
    return twins


def _matched(rows: pd.DataFrame, others: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The rows of ``others`` that equal each of ``rows`` in some columns, in its order and with its index."""
    return rows[columns].merge(others, how="left", on=columns).set_index(rows.index)


def prt_pairs(results: RunTable) -> pd.DataFrame:
    """SAIL's rows that have a twin without the PRT, with the shares of cycles ``saved`` and ``reads`` spared.

    Raises MissingPointsError where the study has no pair.
    """
    rows = results.frame[results.frame["runner"] == SAIL]
    rows = rows[rows["tokens_per_s"].notna() & rows["prt"].astype(bool)]
    twins = prt_twins(results, rows)
    paired = twins["tokens_per_s"].notna()
    rows, twins = rows[paired], twins[paired]
    hits, misses = (numbers(rows, "counts", name) for name in ("prt_hits", "prt_misses"))
    cycles, cycles_off = (numbers(own, "counts", "pim_cycles") for own in (rows, twins))
    return rows.assign(saved=1 - cycles / cycles_off, reads=hits / (hits + misses))

"""The space of unknowns of a paper, from data: ranges of the system files and of the fits, and a file.

`data/unknowns/<paper>.toml` adds levels, choices, workloads, what is held equal, and which machines and
servers all of it is about.
"""

from __future__ import annotations

from typing import Any, cast

from pydantic import Field, ValidationError, model_validator

from sailsim.analysis.costs.area import AreaConstants
from sailsim.analysis.costs.dollars import CostConstants, Price, prices
from sailsim.analysis.paper.claims import SHIPPED, load_paper, with_tuples
from sailsim.analysis.paper.factors import (
    GROUP_SIZE,
    Levels,
    Span,
    card_factors,
    constant_factors,
    machine_factors,
    rate_factors,
    scatter_factors,
    server_factor,
    software_factors,
    table_factors,
    weight_factors,
)
from sailsim.analysis.paper.machine import SAMPLED
from sailsim.analysis.paper.parameters import Alternative, FixedParameter, Value, Workload
from sailsim.analysis.paper.space import ParameterSpace
from sailsim.base.errors import ImpossibleMachineError, SailsimError
from sailsim.base.quantity import Frozen
from sailsim.sim.backends.cores import Software
from sailsim.sim.files import load_system
from sailsim.sim.fitted import core_of
from sailsim.sim.point import Point
from sailsim.sim.tables import Shelf, sentence

UNKNOWNS = Shelf("unknowns", "data/unknowns", package="sailsim.analysis")
"""The files."""


class Held(Frozen):
    """What is held equal: a `[held."..."]` table."""

    value: Value
    reason: str


class Rented(Frozen):
    """Which servers may be rented: the `[rented]` table."""

    machines: tuple[str, ...]
    """As the price list names them; the first prices the nominal machine."""
    reason: str

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, table: Any) -> Any:
        return with_tuples(table, "machines")

    def servers(self, threads: int) -> tuple[Price, ...]:
        """Every instance of theirs that has the threads; first what prices the nominal machine."""
        first = prices().of(self.machines[0])
        named = [row for row in prices().rows if row.kind == "cpu" and set(self.machines) & set(row.machines)]
        return (first, *(row for row in named if row.units >= threads and row != first))


class Unknowns(Frozen):
    """A file of unknowns: a prior over what is not published."""

    extends: tuple[str, ...] = ()
    """The files that it extends."""
    hosts: dict[Software, str]
    """The system whose cores run a software; the first is the nominal machine, whose values are drawn."""
    rented: Rented
    levels: dict[str, Levels] = Field(default={})
    ranges: dict[str, Span] = Field(default={})
    alternative: tuple[Alternative, ...] = ()
    workload: tuple[Workload, ...]
    held: dict[str, Held] = Field(default={})
    drawn: tuple[str, ...] = ()
    """What the file that this one extends holds, and this one does not."""

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, table: Any) -> Any:
        return with_tuples(table, "alternative", "workload", "drawn")

    @model_validator(mode="after")
    def _has_one_fixed_workload(self) -> Unknowns:
        unheld = next((name for name in self.drawn if name not in self.held), None)
        if unheld is not None:
            raise ValueError(f"drawn has {unheld!r}; allowed is what the file that it extends holds")
        if not self.hosts:
            raise ValueError("hosts is empty; allowed is at least one software with its system")
        fixed = [w.name for w in self.workload if w.fixed]
        if len(fixed) != 1:
            raise ValueError(f"workload has {len(fixed)} entries with fixed = true; allowed is one")
        return self


def load_unknowns(name_or_path: str = SHIPPED) -> Unknowns:
    """A file of unknowns by name or path. Raises SailsimError that names the file and the field."""
    try:
        return Unknowns.model_validate(UNKNOWNS.read(name_or_path))
    except ValidationError as error:
        raise SailsimError(sentence(f"unknowns {name_or_path}", error, "a field of such a file")) from None


def space(paper: str = SHIPPED, prior: str | None = None) -> ParameterSpace:
    """Every unknown of a paper's machine, software, cards, cost and area.

    ``prior`` is a file of unknowns by name or path; None: the paper's own. Raises SailsimError for a bad file
    of claims or unknowns, and for a paper without unknowns.
    """
    claims = load_paper(paper)
    named = prior if prior is not None else claims.unknowns
    if named is None:
        raise SailsimError(f"claims {paper}: unknowns is missing, allowed is a file of what is not published")
    file = load_unknowns(named)
    held = {name: each for name, each in file.held.items() if name not in file.drawn}
    opponents = claims.opponents("samples")
    servers = file.rented.servers(max(w.threads for w in file.workload))
    system = load_system(next(iter(file.hosts.values())))
    factors = [
        *machine_factors(system, file.levels, file.ranges),
        *software_factors({core_of(load_system(name)) for name in file.hosts.values()}),
        *rate_factors([w.wbits for w in file.workload]),
        *table_factors(opponents),
        *card_factors(opponents),
        *scatter_factors(opponents),
        *weight_factors(file.levels),
        *constant_factors("cost", CostConstants),
        server_factor(servers, file.rented.reason),
        *constant_factors("area", AreaConstants),
    ]
    drawn = {name: other.name for other in file.alternative for name in other.drawn}
    apart = tuple(factor for factor in factors if factor.name in drawn and factor.group == "machine")
    for name, design in drawn.items():
        if name in held or name not in {factor.name for factor in apart}:
            raise SailsimError(
                f"alternative {design!r} draws {name!r}, allowed is a value of the machine that has a range "
                "or levels and is not held"
            )
    found = ParameterSpace(
        factors=tuple(f for f in factors if f.name not in held and f.name not in drawn),
        apart=apart,
        workloads=file.workload,
        held=tuple(
            FixedParameter(name=name, value=str(each.value), reason=each.reason)
            for name, each in held.items()
        ),
        alternatives=file.alternative,
        hosts=file.hosts,
        servers=servers,
        paper=claims,
    )
    _check_asked(found, file, named)
    return found


def _check_asked(found: ParameterSpace, file: Unknowns, named: str) -> None:
    """Raise SailsimError where a range or a level of a file is one that no machine can have, whatever else it
    has; which values go together is seen when a machine is drawn."""
    asked: list[tuple[str, str, Value]] = [
        ("ranges", path, end) for path, span in file.ranges.items() for end in (span.low, span.high)
    ]
    asked += [("levels", path, level) for path, each in file.levels.items() for level in each.values]
    for what, path, value in asked:
        machine = found.nominal.with_values({path: value})
        try:
            machine.system(found.software)
            if path == GROUP_SIZE:
                Point(group_size=cast(int, value))
        except ImpossibleMachineError:
            continue
        except SailsimError as error:
            words = str(error).removeprefix(f"{SAMPLED}: ")
            raise SailsimError(f"unknowns {named}: {what} of {path} has {value!r}: {words}") from None

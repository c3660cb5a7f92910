"""Substrates: costs of the operations inside a compute-capable SRAM, with their sources.

A substrate is one TOML file, shipped (`data/substrates`) or given by its path. docs/systems.md describes its
fields, docs/contract.md (section 4) how they make up a tile's time. Cycles of an operation on n bits are a
polynomial of n. Files, references (`row_dfm:add=8n-2`) and output share one notation for it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import Stamp, stamp
from sailsim.base.quantity import FrozenModel, Quantity, QuantityRule, SourcedValue
from sailsim.sim.machine.catalog import Catalog, FileReference, validate

# ---- Energy and area of operations -------------------------------------------------------------------------
# A file gives each as a quantity, or in words as a multiple of a shared constant ("array_read_fj_bit",
# "4 multiplexer_um2"). Shared constants describe the process, not an array; `analysis/data/constants` has
# them with their sources and ranges.
ENERGY_CONSTANTS = ("array_read_fj_bit", "array_write_fj_bit", "array_compute_fj_bit")
"""Constants of `constants/energy.toml` that energies of operations may refer to."""
LOGIC_CONSTANTS = ("flip_flop_um2", "full_adder_um2", "multiplexer_um2", "comparator_um2", "nand2_um2")
"""Constants of `constants/area.toml` that circuits next to the arrays may refer to."""

_MAX_MULTIPLE = 1000  # of a shared constant

Charge = Quantity | str
"""Energy or area of an operation: a quantity, or a multiple of a shared constant in words."""


def parse_multiple(text: str) -> tuple[int, str]:
    """Factor and name of a shared constant, from a checked text such as "4 multiplexer_um2"."""
    number, _, constant = text.rpartition(" ")
    return int(number or 1), constant


def _charge_rule(unit: str, constants: tuple[str, ...], **bounds: Any) -> QuantityRule:
    """Rule of a quantity in ``unit`` or a multiple of one of ``constants``."""

    def check_multiple(text: str) -> str:
        found = re.fullmatch(r"(?:([1-9][0-9]{0,3}) )?(\w+)", text)
        if found is None or found[2] not in constants or int(found[1] or 1) > _MAX_MULTIPLE:
            raise ValueError(
                f"is {text!r}; allowed is a quantity in {unit}, or one of {', '.join(constants)}, or up to "
                f"{_MAX_MULTIPLE} times one, such as '2 {constants[0]}'"
            )
        return text

    return QuantityRule(unit, word=check_multiple, **bounds)


RowEnergy = Annotated[Charge, _charge_rule("fJ/bit", ENERGY_CONSTANTS, least=0)]
"""Energy of an operation per column of an array, in fJ/bit."""
CellArea = Annotated[Charge, _charge_rule("um2", ("cell_um2",), above=0)]
"""Area of a bit cell, in um2."""
CellShare = Annotated[Charge, _charge_rule("ratio", ("array_efficiency",), above=0, most=1)]
"""Share of an array's area that is bit cells."""
LogicArea = Annotated[Charge, _charge_rule("um2", LOGIC_CONSTANTS, least=0)]
"""Area of an operation's circuit per bit of a lane, in um2."""


Polynomial = int | list[int]
"""Cycles of an n-bit operation: a number, or the coefficients of 1, n and n^2."""

_WIDTHS = range(1, 65)  # widths on which a cost is checked; no operation of the contract is wider
_TERM = r"(?:[0-9]{1,7}(?:n(?:\^2)?)?|n(?:\^2)?)"


class CycleCost(SourcedValue):
    """Cycles of an n-bit operation, a polynomial of n, with source. An assumed one has its range."""

    value: Polynomial
    unit: Literal["cycles"]
    low: Polynomial | None = None
    """Smallest plausible cost."""
    high: Polynomial | None = None
    """Largest plausible cost."""

    @field_validator("value", "low", "high", mode="before")
    @classmethod
    def _read_text(cls, given: Any) -> Any:
        """Read a cost in words; refuse a coefficient that is not a whole number."""
        if isinstance(given, str):
            found = parse_cost(given)
            return found[:2] if isinstance(found, list) and not found[2] else found
        terms = given if isinstance(given, list) else [given]
        if given is not None and any(type(term) is not int for term in terms):
            raise ValueError(
                f"is {given!r}; allowed are whole cycles, whole coefficients of 1, n and n^2, or "
                "a polynomial in words, such as '8n-2'"
            )
        return given

    @property
    def coefficients(self) -> tuple[int, int, int]:
        """Coefficients of 1, n and n^2."""
        return _coefficients(self.value)

    @property
    def ends(self) -> tuple[str, str]:
        """Smallest and largest plausible cost in words; the cost itself where the file gives none."""
        low, high = (self.value if end is None else end for end in (self.low, self.high))
        return format_cost(low), format_cost(high)

    def __str__(self) -> str:
        return format_cost(self.value)

    def __call__(self, n: int = 1) -> int:
        """Cycles of the operation on n bits."""
        return _cycles(self.value, n)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        self.check_provenance()
        for name, polynomial in (("value", self.value), ("low", self.low), ("high", self.high)):
            if polynomial is not None:
                _check(polynomial, name)
        ends = [self.value if end is None else end for end in (self.low, self.high)]
        for n in _WIDTHS:
            low, value, high = (_cycles(each, n) for each in (ends[0], self.value, ends[1]))
            if not low <= value <= high:
                raise ValueError(f"needs low <= value <= high, not {low} <= {value} <= {high} at n = {n}")
        if self.kind == "assumed" and None in (self.low, self.high):
            raise ValueError("is assumed, so it needs its range `low` and `high`")
        return self


def format_cost(polynomial: Polynomial) -> str:
    """Polynomial in the notation of `parse_cost`: "3", "n", "8n-2"."""
    words = ""
    for coefficient, power in reversed(list(zip(_coefficients(polynomial), ("", "n", "n^2"), strict=True))):
        if coefficient:
            number = "" if power and abs(coefficient) == 1 else str(abs(coefficient))
            words += ("-" if coefficient < 0 else "+" if words else "") + number + power
    return words or "0"


def parse_cost(words: str) -> Polynomial:
    """Polynomial of a text such as "3", "n" or "8n-2".

    Raises:
        ValueError: another text, or a polynomial that is no cost. The message continues after the field's
            name, as in "is 'x'; allowed are ...".
    """
    text = words.replace(" ", "")
    if not re.fullmatch(rf"[+-]?{_TERM}(?:[+-]{_TERM})*", text):
        raise ValueError(
            f"is {words!r}; allowed are whole cycles from 0 on, or a polynomial of n bits such as n, 2n+1 or "
            "n^2"
        )
    found = [0, 0, 0]
    for sign, number, power in re.findall(r"([+-]?)([0-9]*)(n\^2|n|)(?=[+-]|$)", text):
        found[("", "n", "n^2").index(power)] += int(f"{sign}{number or 1}") if number or power else 0
    _check(found)
    return found if any(found[1:]) else found[0]


def _coefficients(polynomial: Polynomial) -> tuple[int, int, int]:
    given = [polynomial] if isinstance(polynomial, int) else polynomial
    c0, c1, c2 = [*given, 0, 0][:3]
    return c0, c1, c2


def _cycles(polynomial: Polynomial, n: int) -> int:
    c0, c1, c2 = _coefficients(polynomial)
    return c0 + c1 * n + c2 * n * n


def _check(polynomial: Polynomial, name: str = "") -> None:
    """Raise a ValueError for a polynomial that is no cost; ``name`` is its field in a `CycleCost`."""
    if isinstance(polynomial, list) and not 1 <= len(polynomial) <= 3:
        raise ValueError(
            f"has {len(polynomial)} coefficients as its {name}; allowed are 1 to 3, of 1, n and n^2"
        )
    for coefficient in _coefficients(polynomial):
        if abs(coefficient) > (most := _core.LARGEST_COEFFICIENT):
            raise ValueError(f"has the coefficient {coefficient}; allowed are whole numbers -{most}..{most}")
    for n in _WIDTHS:
        if _cycles(polynomial, n) < 0:
            by = f" by its {name}" if name else ""
            raise ValueError(f"is {_cycles(polynomial, n)} cycles at n = {n}{by}; a cost is never negative")


SUBSTRATES = Catalog("substrate", "data/substrates")
"""Substrate files."""

OPERATIONS: tuple[str, ...] = tuple(_core.OPERATIONS)
"""Operations with a cost: read or write of one row (a read is also one table entry where an entry is a row),
a two-input bitwise function of n bits, a shift by n positions inside a lane, a copy of n bits, and sums and
products of n bits."""

WIDTHS: dict[str, int] = dict(_core.WIDEST)
"""Named widths in bits -> largest value: a weight's value, a table entry, an integer sum."""


ArrayOp = tuple[int | str, str, int | str]
"""Number of times, operation and number of bits; both numbers may be names of `WIDTHS`."""


@lru_cache(maxsize=1024)
def parse_op(text: str) -> ArrayOp:
    """Operation of a text such as "2 read", "add entry" or "weight write"; a missing number is 1.

    Raises:
        ValueError: another text.
    """
    found = re.fullmatch(rf"(?:(\S+) )?({'|'.join(OPERATIONS)})(?: (\S+))?", " ".join(text.split()))
    if found is None or found[1] in OPERATIONS or found[3] in OPERATIONS:
        raise ValueError(
            f"{text!r}; allowed is how often, one of {', '.join(OPERATIONS)}, and on how many bits, "
            "such as '2 read' or 'add entry'"
        )
    times, operation, n = found.groups("1")
    return _amount(times, text), operation, _amount(n, text)


def _amount(word: str, text: str) -> int | str:
    if word in WIDTHS:
        return word
    most = _core.MOST_OF_STEP
    if not word.isascii() or not word.isdecimal() or int(word) > most:
        raise ValueError(f"{text!r}; {word!r} is no number up to {most} and none of {', '.join(WIDTHS)}")
    return int(word)


def _checked_steps(texts: list[str]) -> list[str]:
    for text in texts:
        try:
            parse_op(text)
        except ValueError as error:
            raise ValueError(f"has {error}") from None
    return texts


Steps = Annotated[list[str], AfterValidator(_checked_steps)]
"""Operations in words, whose cycles add up."""


class PhaseCharges(FrozenModel):
    """Array operations of each phase of a tile."""

    stage: Steps
    """Operations to write one weight into its staging row or rows."""
    table_add: Steps
    """Operations to make one table entry from two others."""
    lookup: Steps
    """Operations of one pattern that reads the table, with the sum where the array adds."""
    hit: Steps
    """Operations of one pattern that the PRT holds: those that a hit does not save."""
    merge: Steps
    """Operations to add one batch row of a DFM's sums to another DFM's, where DFMs share out the groups."""
    scale_block: Steps
    """Operations for one batch row and round at the end of a block, after the sum's conversion to fp32."""
    scale_row: Steps
    """Operations for one batch row and round at the end of a pass: scaling by the activations' scale."""

    def steps(self) -> dict[str, list[ArrayOp]]:
        """Operations of every phase, in the order of the fields."""
        return {name: [parse_op(text) for text in texts] for name, texts in self}


class SubstrateArea(FrozenModel):
    """Area of a substrate's arrays and of the circuits next to them."""

    cell: CellArea
    """Area of one bit cell, in um2."""
    efficiency: CellShare
    """Share of an array's area that is bit cells; decoders, sense amplifiers and their logic are the rest."""
    beside: dict[str, LogicArea] = Field(default={})
    """Operation -> area of its circuit next to the arrays, in um2 per bit of a lane's sum."""


class Substrate(FrozenModel):
    """Kind of compute-capable SRAM."""

    format: Literal[1]
    """Version of this layout."""
    name: str
    title: str
    layout: Literal["rows", "columns"]
    """Whether a table entry lies in one row, or transposed with one bit in each row."""
    accumulate: Literal["behind", "in_array"]
    """Whether the DFM sums entries, pipelined behind the read, or the array does."""
    prt_helps: bool
    """Whether a PRT hit can save the access to the array."""
    costs: dict[str, CycleCost]
    """Cycles of each of `OPERATIONS`."""
    phases: PhaseCharges
    energy: dict[str, RowEnergy] | None = None
    """Energy of each operation per column of an array, in fJ/bit: `read` and `write` for a row, other
    operations for each cycle in which the array computes. Energy is not modelled without this table, nor
    where an operation that a phase uses is missing."""
    area: SubstrateArea | None = None
    """Area; not modelled if missing."""
    extends: tuple[str, ...] = ()
    """Files that this one extends, nearest first (filled when the file is read)."""
    sources: dict[str, str]
    """Citations that values refer to by key."""

    def __hash__(self) -> int:
        """Identity as hash, so that caches by substrate need not compare all its values."""
        return id(self)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not re.fullmatch(r"[\w.+-]+", self.name):
            raise ValueError(f"name is {self.name!r}; allowed is one word of letters, digits and _ . + -")
        area = {} if self.area is None else self.area.beside
        for place, table in (("costs", self.costs), ("energy", self.energy or {}), ("area.beside", area)):
            for operation in table:
                if operation not in OPERATIONS:
                    raise ValueError(
                        f"{place}.{operation} is no operation; allowed are {', '.join(OPERATIONS)}"
                    )
        for operation in OPERATIONS:
            if operation not in self.costs:
                raise ValueError(f"costs.{operation} is missing; every operation needs a cost")
        for operation in ("add", "shift"):
            if self.area is not None and self.accumulate == "behind" and operation not in area:
                raise ValueError(
                    f"area.beside.{operation} is missing; it needs a value where entries are shifted and "
                    "added behind the arrays"
                )
        self._check_phases()
        if self.layout == "columns" and self.accumulate == "behind":
            raise ValueError("accumulate is 'behind'; allowed with the layout 'columns' is 'in_array'")
        if self.prt_helps and self.accumulate == "in_array" and not self.phases.hit:
            raise ValueError(
                "prt_helps is true, but phases.hit has no step; allowed where sums are made in the array, on "
                "a hit too, is a step that adds, or prt_helps = false"
            )
        return self

    def _check_phases(self) -> None:
        """Raise a ValueError for a phase of too many cycles."""
        for phase in self.phases.steps():
            if (cycles := self.phase_cycles(phase, **WIDTHS)) > (most := _core.MOST_PHASE_CYCLES):
                raise ValueError(
                    f"phases.{phase} takes {cycles} cycles on the widest tile; allowed are 0..{most}"
                )

    def with_costs(self, costs: Mapping[str, Any]) -> Substrate:
        """Substrate with other costs of operations, in words; its name shows them: "row_dfm:add=3".

        Raises:
            SailsimError: a phase takes too many cycles.
        """
        origin: Any = {"source": "set by the user", "kind": "assumed", "note": "a variation"}
        changed = {}
        for operation, words in costs.items():
            cost = parse_cost(words)
            changed[operation] = CycleCost(value=cost, unit="cycles", low=cost, high=cost, **origin)
        name = str(FileReference(self.name, costs))
        varied = self.model_copy(update={"costs": self.costs | changed, "name": name})
        try:
            varied._check_phases()
        except ValueError as error:
            raise SailsimError(f"substrate {name}: {error}.") from None
        return varied

    @property
    def digest(self) -> str:
        """SHA-256 of the substrate without name, title and citations."""
        content = self.model_dump_json(exclude={"name", "title", "extends", "sources"})
        return hashlib.sha256(content.encode()).hexdigest()

    def charges(self) -> dict[str, Charge]:
        """Energies and areas by their paths in the file: `energy.add`, `area.cell`, `area.beside.add`."""
        found = {f"energy.{operation}": charge for operation, charge in (self.energy or {}).items()}
        if self.area is not None:
            found |= {"area.cell": self.area.cell, "area.efficiency": self.area.efficiency}
            found |= {f"area.beside.{operation}": charge for operation, charge in self.area.beside.items()}
        return found

    def cycles(self, operation: str, n: int = 1) -> int:
        """Cycles of one of `OPERATIONS` on n bits."""
        return self.costs[operation](n)

    def phase_cycles(self, phase: str, **widths: int) -> int:
        """Cycles of a phase, done once, in a tile with these widths in bits (names of `WIDTHS`)."""

        def bits(amount: int | str) -> int:
            return amount if isinstance(amount, int) else widths[amount]

        ops = map(parse_op, getattr(self.phases, phase))
        return sum(bits(times) * self.cycles(operation, bits(n)) for times, operation, n in ops)


def parse_substrate(text: str) -> FileReference:
    """Reference to a substrate, such as "row_dfm", "./mine.toml:add=3" or "bit_serial:read=0:add=2n".

    The changes are costs in words, in the order of `OPERATIONS`.

    Raises:
        ValueError: the text is no such reference; the message continues after "substrate is".
    """
    found = re.fullmatch(r"(.*?)((?::[^:=/]*=[^:=/]*)*)", text, re.DOTALL)
    assert found is not None  # the first group takes anything
    file, settings = found.groups()
    name, _, rest = file.partition(":")
    known = name in SUBSTRATES.names or name.endswith(".toml")
    if known and "=" in rest and not rest.endswith(".toml"):
        # A slash, which no cost has, makes the rest look like a path.
        settings, file = file[len(name) :] + settings, name
    if problem := SUBSTRATES.problem(file):
        raise ValueError(problem)
    costs: dict[str, str] = {}
    for setting in settings.split(":")[1:]:
        operation, _, words = (part.strip() for part in setting.partition("="))
        if operation not in OPERATIONS:
            raise ValueError(f"{text!r}; allowed before = are {', '.join(OPERATIONS)}, not {operation!r}")
        if operation in costs:
            raise ValueError(f"{text!r}, which sets {operation} twice; allowed is once")
        try:
            costs[operation] = format_cost(parse_cost(words))
        except ValueError as error:
            raise ValueError(f"{text!r}, where {operation} {error}") from None
    return FileReference(file, {each: costs[each] for each in OPERATIONS if each in costs})


def canonical_substrate(text: str) -> str:
    """Canonical text of a reference to a substrate. Raises ValueError as `parse_substrate`."""
    return str(parse_substrate(text))


def substrate_names() -> list[str]:
    """Names of the shipped substrates."""
    return list(SUBSTRATES.names)


def load_substrate(name_or_path: str | Path) -> Substrate:
    """Read a substrate: a shipped name or the path of a TOML file, with costs such as "row_dfm:add=3".

    Raises:
        SailsimError: one sentence that names the file, the field, the value and what is allowed.
    """
    text = str(name_or_path)
    return _load(text, stamp(substrate_path(text)))


def substrate_path(text: str) -> Path | None:
    """Path in a reference to a substrate; None for a shipped name or a text that is no reference."""
    try:
        return SUBSTRATES.path(parse_substrate(text).file)
    except ValueError:
        return None


@lru_cache(maxsize=64)  # every simulated step loads it, and reading takes longer than a step
def _load(text: str, _stamp: Stamp) -> Substrate:
    """Read a substrate; ``_stamp`` has a changed file read again."""
    try:
        file, costs = parse_substrate(text)
    except ValueError as error:
        raise SailsimError(f"substrate is {error}.") from None
    allowed = "a field of a substrate file; docs/systems.md lists what is"
    substrate = validate(Substrate, SUBSTRATES.read(file), file, allowed)
    if substrate.name in SUBSTRATES.names and substrate.name != file:
        raise SailsimError(
            f"{file}: name is {substrate.name!r}, the name of a substrate that ships; allowed is another."
        )
    return substrate.with_costs(costs) if costs else substrate

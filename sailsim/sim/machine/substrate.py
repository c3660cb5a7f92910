"""Substrates as data: what the operations inside a compute-capable SRAM cost, and where that comes from.

A substrate is one TOML file (`substrates/*.toml`, or anybody's by its path); docs/systems.md says what is in
it, docs/contract.md, section 4, what it means for a tile's time. Cycles of an operation on n bits are a
polynomial of n, in one notation: what a user gives for another cost (`row_dfm:add=8n-2`) and what commands
print.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    Field,
    field_validator,
    model_validator,
)

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import Stamp, stamp
from sailsim.base.quantity import Frozen, Quantity, QuantityOrWord, QuantityRule, Sourced
from sailsim.sim.machine.catalog import Catalog, validated

# ---- What an operation takes besides cycles: joules, square micrometres -----------------------------------
# A file says it in one of two ways: as a quantity of its own, or in words, as a multiple of a constant that
# several files share ("array_read_fj_bit", "4 multiplexer_um2"). Such constants are of the process, not of a
# kind of array; they are in one place, `analysis/data/constants`, with their sources and ranges.
ENERGY_CONSTANTS = ("array_read_fj_bit", "array_write_fj_bit", "array_compute_fj_bit")
"""Of `constants/energy.toml`: what a substrate's operations may share."""
LOGIC_CONSTANTS = ("flip_flop_um2", "full_adder_um2", "multiplexer_um2", "comparator_um2", "nand2_um2")
"""Of `constants/area.toml`: the same for circuits beside the arrays."""

_MOST = 1000  # times a constant


class ConstantMultiple(NamedTuple):
    """So many times a constant that files share."""

    times: int
    constant: str

    @classmethod
    def parse(cls, words: str) -> ConstantMultiple:
        """What "4 multiplexer_um2" means; a number left out is 1. For words that a file was checked with."""
        number, _, constant = words.rpartition(" ")
        return cls(int(number or 1), constant)


Charge = Quantity | str
"""A quantity of the file's own, or words for `ConstantMultiple`."""


class ChargeRule(QuantityOrWord):
    """What a `Charge` field allows: a quantity by its rule, or a multiple of one of some constants."""

    def __init__(self, rule: QuantityRule, constants: tuple[str, ...]) -> None:
        super().__init__(rule, {"type": "string"})
        self.constants = constants

    def word(self, value: str) -> str:
        """The words themselves."""
        found = re.fullmatch(r"(?:([1-9][0-9]{0,3}) )?(\w+)", value)
        if found is None or found[2] not in self.constants or int(found[1] or 1) > _MOST:
            raise ValueError(
                f"is {value!r}; allowed is a quantity in {self.rule.unit}, or one of "
                f"{', '.join(self.constants)}, or up to {_MOST} times one, such as '2 {self.constants[0]}'"
            )
        return value


RowEnergy = Annotated[Charge, ChargeRule(QuantityRule("fJ/bit", least=0), ENERGY_CONSTANTS)]
"""Of a column of an array, as an operation charges it."""
CellArea = Annotated[Charge, ChargeRule(QuantityRule("um2", above=0), ("cell_um2",))]
"""Of a bit of an array."""
CellShare = Annotated[Charge, ChargeRule(QuantityRule("ratio", above=0, most=1), ("array_efficiency",))]
"""Share of an array that is cells."""
LogicArea = Annotated[Charge, ChargeRule(QuantityRule("um2", least=0), LOGIC_CONSTANTS)]
"""Of a bit of a lane, as an operation's circuit takes it."""


Polynomial = int | list[int]
"""Cycles of an n-bit operation: a number, or the coefficients of 1, n and n^2."""

_WIDTHS = range(1, 65)  # for which a cost is checked: no operation of the contract is wider
_TERM = r"(?:[0-9]{1,7}(?:n(?:\^2)?)?|n(?:\^2)?)"


class CycleCost(Sourced):
    """Cycles of an n-bit operation, a polynomial of n, with its source. An assumed one carries its range."""

    value: Polynomial
    unit: Literal["cycles"]
    low: Polynomial | None = None
    """Least plausible cost."""
    high: Polynomial | None = None
    """Largest plausible cost."""

    @field_validator("value", "low", "high", mode="before")
    @classmethod
    def _of_words(cls, given: Any) -> Any:
        """A file may say a cost in words too; a coefficient that is no whole number is refused."""
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
        """Of 1, n and n^2."""
        return _coefficients(self.value)

    @property
    def ends(self) -> tuple[str, str]:
        """The range in words; the cost itself where the file gives none."""
        low, high = (self.value if end is None else end for end in (self.low, self.high))
        return in_words(low), in_words(high)

    def __str__(self) -> str:
        return in_words(self.value)

    def __call__(self, n: int = 1) -> int:
        """Cycles of the operation on n bits."""
        return _cycles(self.value, n)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for name, polynomial in (("value", self.value), ("low", self.low), ("high", self.high)):
            if polynomial is not None:
                _check(polynomial, name)
        for n in _WIDTHS:
            ends = [self.value if end is None else end for end in (self.low, self.high)]
            low, value, high = (_cycles(x, n) for x in (ends[0], self.value, ends[1]))
            if not low <= value <= high:
                raise ValueError(f"needs low <= value <= high, not {low} <= {value} <= {high} at n = {n}")
        if self.kind == "assumed" and None in (self.low, self.high):
            raise ValueError("is assumed, so it needs its range `low` and `high`")
        return self


def in_words(polynomial: Polynomial) -> str:
    """The polynomial as `parse_cost` reads it: "3", "n", "8n-2"."""
    words = ""
    for coefficient, power in reversed(list(zip(_coefficients(polynomial), ("", "n", "n^2"), strict=True))):
        if coefficient:
            number = "" if power and abs(coefficient) == 1 else str(abs(coefficient))
            words += ("-" if coefficient < 0 else "+" if words else "") + number + power
    return words or "0"


def parse_cost(words: str) -> Polynomial:
    """The polynomial of words such as "3", "n" or "8n-2".

    Raises:
        ValueError: anything else, and what is no cost; the text goes on after "is", or is a sentence of its
            own about the cost.
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
    """Raise a ValueError for a polynomial that is no cost; `name`: of the field of a `CycleCost`."""
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
"""The files."""

OPERATIONS: tuple[str, ...] = tuple(_core.OPERATIONS)
"""What a substrate charges for: read and write one row (a read also one table entry where an entry is a row),
a two-input bitwise function of n bits, a shift by n positions inside a lane, a copy of n bits, and sums and
products of n bits."""

WIDTHS: dict[str, int] = dict(_core.WIDEST)
"""Bits of a tile that a step may name, of a weight's value, a table entry, an integer sum: the largest."""


class ArrayOp(NamedTuple):
    """An operation on `n` bits, `times` times; each a number or one of `WIDTHS`."""

    times: int | str
    operation: str
    n: int | str

    @classmethod
    def parse(cls, text: str) -> ArrayOp:
        """The step that "2 read", "add entry" or "weight write" means; a number left out is 1.

        Raises:
            ValueError: anything else.
        """
        found = re.fullmatch(rf"(?:(\S+) )?({'|'.join(OPERATIONS)})(?: (\S+))?", " ".join(text.split()))
        if found is None or found[1] in OPERATIONS or found[3] in OPERATIONS:
            raise ValueError(
                f"{text!r}; allowed is how often, one of {', '.join(OPERATIONS)}, and on how many bits, "
                "such as '2 read' or 'add entry'"
            )
        times, operation, n = found.groups("1")
        return cls(_amount(times, text), operation, _amount(n, text))

    def __str__(self) -> str:
        return f"{self.times} {self.operation} {self.n}"


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
            ArrayOp.parse(text)
        except ValueError as error:
            raise ValueError(f"has {error}") from None
    return texts


Steps = Annotated[list[str], AfterValidator(_checked_steps)]
"""A tally: steps in words, whose costs add up."""


class PhaseCharges(Frozen):
    """What a unit does, and so what it is charged, once for each ..."""

    stage: Steps
    """Weight, to lie in its staging row or rows."""
    table_add: Steps
    """Table entry, from two others."""
    lookup: Steps
    """Pattern that reads the table, with the sum where that is in the array."""
    hit: Steps
    """Pattern that the PRT holds: what it does not spare the arrays."""
    merge: Steps
    """Batch row of sums that one DFM adds to another's, where they share out the groups."""
    scale_block: Steps
    """Batch row and round of a block, after the sum's conversion to fp32."""
    scale_row: Steps
    """Batch row and round at the end of a pass: the scale of its activations."""

    def steps(self) -> dict[str, list[ArrayOp]]:
        """Every phase's steps, in the order of the fields."""
        return {
            name: [ArrayOp.parse(text) for text in getattr(self, name)] for name in type(self).model_fields
        }


class SubstrateArea(Frozen):
    """What a substrate's arrays take, and the circuits that its operations need beside them."""

    cell: CellArea
    """A bit of an array."""
    efficiency: CellShare
    """Share of an array that is cells; the rest is decoders, sense amplifiers and what computes at them."""
    beside: dict[str, LogicArea] = Field(default={})
    """Operation -> cells of logic of a bit of a lane's sum, where it works beside the arrays."""


class Substrate(Frozen):
    """One kind of compute-capable SRAM."""

    format: Literal[1]
    """Version of this layout."""
    name: str
    title: str
    layout: Literal["rows", "columns"]
    """Whether an entry lies in one row, or transposed, one bit a row."""
    accumulate: Literal["behind", "in_array"]
    """Whether entries are summed in the DFM, pipelined behind the read, or in the array."""
    prt_helps: bool
    """Whether a PRT hit can save the access of the array."""
    costs: dict[str, CycleCost]
    """Cycles of each of `OPERATIONS`."""
    phases: PhaseCharges
    energy: dict[str, RowEnergy] | None = None
    """Of each of `OPERATIONS`, of a column of an array: `read` and `write` for a row, and every operation for
    each of its cycles where an array computes. Missing, or without an operation that a step does: not
    modelled."""
    area: SubstrateArea | None = None
    """Missing: the area is not modelled."""
    extends: tuple[str, ...] = ()
    """The files that this one was built on, nearest first (filled when the file is read)."""
    sources: dict[str, str]
    """Citations that costs refer to by key."""

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
        """Raise a ValueError for a phase that takes too long."""
        for phase in self.phases.steps():
            if (cycles := self.phase_cycles(phase, **WIDTHS)) > (most := _core.MOST_PHASE_CYCLES):
                raise ValueError(
                    f"phases.{phase} takes {cycles} cycles on the widest tile; allowed are 0..{most}"
                )

    def with_costs(self, costs: Mapping[str, Polynomial]) -> Substrate:
        """The substrate with other costs, which its name tells: "row_dfm:add=3".

        Raises:
            SailsimError: a phase that takes too long.
        """
        others = {
            operation: CycleCost(
                value=value, unit="cycles", source="set by the user", kind="assumed", low=value, high=value,
                note="a variation",
            )
            for operation, value in costs.items()
        }  # fmt: skip
        name = SubstrateReference(self.name, dict(costs))
        found = self.model_copy(update={"costs": self.costs | others, "name": str(name)})
        try:
            found._check_phases()
        except ValueError as error:
            raise SailsimError(f"substrate {name}: {error}.") from None
        return found

    @property
    def digest(self) -> str:
        """SHA-256 of all that the substrate is; name, title and citations do not count."""
        content = self.model_dump_json(exclude={"name", "title", "extends", "sources"})
        return hashlib.sha256(content.encode()).hexdigest()

    def charges(self) -> dict[str, Charge]:
        """Energy and area by their places in the file: `energy.add`, `area.cell`, `area.beside.add`."""
        found = {f"energy.{operation}": charge for operation, charge in (self.energy or {}).items()}
        if self.area is not None:
            found |= {"area.cell": self.area.cell, "area.efficiency": self.area.efficiency}
            found |= {f"area.beside.{operation}": charge for operation, charge in self.area.beside.items()}
        return found

    def cycles(self, operation: str, n: int = 1) -> int:
        """Cycles of one of `OPERATIONS` on n bits."""
        return self.costs[operation](n)

    def phase_cycles(self, phase: str, **widths: int) -> int:
        """Cycles of a phase, done once, in a tile with these bits of `WIDTHS`: at least those it names."""

        def of(amount: int | str) -> int:
            return amount if isinstance(amount, int) else widths[amount]

        steps = map(ArrayOp.parse, getattr(self.phases, phase))
        return sum(of(step.times) * self.cycles(step.operation, of(step.n)) for step in steps)


class SubstrateReference(NamedTuple):
    """What names a substrate: one that ships or a file, and operations that cost other cycles than it says.

    In words "row_dfm", "./mine.toml:add=3", "bit_serial:read=0:add=2n".
    """

    file: str
    """The name of one that ships or the path of a file."""
    costs: dict[str, Polynomial]

    @classmethod
    def parse(cls, text: str) -> SubstrateReference:
        """The choice that a text means.

        Raises:
            ValueError: none; the message goes on after "substrate is", without a full stop.
        """
        found = re.fullmatch(r"(.*?)((?::[^:=/]*=[^:=/]*)*)", text, re.DOTALL)
        assert found is not None  # the first group takes anything
        file, settings = found.groups()
        name, _, rest = file.partition(":")
        known = name in SUBSTRATES.names or name.endswith(".toml")
        if known and "=" in rest and not rest.endswith(".toml"):
            # A slash, which no cost has, makes the rest look like a path.
            settings, file = file[len(name) :] + settings, name
        if why := SUBSTRATES.problem(file):
            raise ValueError(why)
        costs: dict[str, Polynomial] = {}
        for setting in settings.split(":")[1:]:
            operation, _, words = (part.strip() for part in setting.partition("="))
            if operation not in OPERATIONS:
                raise ValueError(f"{text!r}; allowed before = are {', '.join(OPERATIONS)}, not {operation!r}")
            if operation in costs:
                raise ValueError(f"{text!r}, which sets {operation} twice; allowed is once")
            try:
                costs[operation] = parse_cost(words)
            except ValueError as error:
                raise ValueError(f"{text!r}, where {operation} {error}") from None
        return cls(file, costs)

    def costs_in_words(self) -> dict[str, str]:
        """The other cycles by operation, as `parse_cost` reads them."""
        return {each: in_words(self.costs[each]) for each in OPERATIONS if each in self.costs}

    def __str__(self) -> str:
        said = (f":{operation}={words}" for operation, words in self.costs_in_words().items())
        return self.file + "".join(said)


def settled_substrate(text: str) -> str:
    """The one way to write a choice of substrate, so that equal ones are equal texts.

    Raises:
        ValueError: as `SubstrateReference.parse`.
    """
    return str(SubstrateReference.parse(text))


def substrate_names() -> list[str]:
    """The substrates that ship."""
    return list(SUBSTRATES.names)


def load_substrate(name_or_path: str | Path) -> Substrate:
    """Read a substrate: the name of one that ships, or the path of a TOML file.

    Behind it may stand other costs, as in "row_dfm:add=3" (`SubstrateReference`).

    Raises:
        SailsimError: one sentence that names the file, the field, the value and what is allowed.
    """
    text = str(name_or_path)
    return _load(text, stamp(substrate_path(text)))


def substrate_path(text: str) -> Path | None:
    """The file that a choice of substrate names; None for a shipped name, and for what is no choice."""
    try:
        return SUBSTRATES.path(SubstrateReference.parse(text).file)
    except ValueError:
        return None


@lru_cache(maxsize=64)  # every simulated step asks, and reading takes longer than a step
def _load(text: str, _stamp: Stamp) -> Substrate:
    """A file is read again only when it has changed."""
    try:
        choice = SubstrateReference.parse(text)
    except ValueError as error:
        raise SailsimError(f"substrate is {error}.") from None
    found = _validated(choice.file)
    return found.with_costs(choice.costs) if choice.costs else found


def _validated(name_or_path: str) -> Substrate:
    allowed = "a field of a substrate file; docs/systems.md lists what is"
    found = validated(Substrate, SUBSTRATES.read(name_or_path), name_or_path, allowed)
    if found.name in substrate_names() and found.name != name_or_path:
        raise SailsimError(
            f"{name_or_path}: name is {found.name!r}, the name of a substrate that ships; allowed is another."
        )
    return found

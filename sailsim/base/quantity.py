"""Numbers and choices with unit, bounds and source."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from inspect import cleandoc, getsource
from itertools import pairwise
from textwrap import dedent
from typing import Annotated, Any, Literal, Self, TypeGuard

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from sailsim.base.arguments import ShortRepr

_INFINITY, _MOST_INT = float("inf"), 1 << 63


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a finite number, within signed 64 bits if it is an integer; booleans are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < _INFINITY if isinstance(value, float) else -_MOST_INT <= value < _MOST_INT


def within_64_bits(number: int) -> bool:
    """Whether an integer fits in signed 64 bits."""
    return -_MOST_INT <= number < _MOST_INT


Kind = Literal["measured", "synthesised", "paper", "derived", "fitted", "assumed"]

# SI value of each unit, 1 for plain counts. Files may use these units alone.
_COUNTS = (
    "B B/cycle bits cycles ratio cores slices channels ranks banks lines arrays DFMs units rows "
    "columns ways entries registers pipes lanes tensors weights instr/cycle ops/cycle MAC/cycle "
    "FLOP/cycle SMs W gates points barriers"
)
UNITS: dict[str, float] = {
    **dict.fromkeys(_COUNTS.split(), 1),
    "GHz": 1e9,
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "GB/s": 1e9,
    "GB": 1e9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TFLOP/s": 1e12,
    "TOP/s": 1e12,
    "mW/MiB": 1e-3 / 2**20,
    "pJ": 1e-12,
    "pJ/bit": 1e-12,
    "fJ/bit": 1e-15,
    "fJ/bit/mm": 1e-12,
    "mm": 1e-3,
    "um2": 1e-12,
    "mm2": 1e-6,
}

LEAST, MOST = 1e-12, 1e15
"""Bounds of every value's magnitude, in its unit. Values beyond are typing errors, and products of a few
values within stay finite. Where 0 is allowed, smaller values are too."""


class FrozenModel(ShortRepr, BaseModel):
    """Base of models read from a file: immutable, with strict types and no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: Any) -> JsonSchemaValue:
        """Schema with the fields' docstrings, which pydantic would read from the source at every start."""
        own: JsonSchemaValue = handler(schema)
        fields = handler.resolve_ref_schema(own).get("properties", {})
        for kind in reversed(cls.__mro__[: cls.__mro__.index(FrozenModel)]):
            body = ast.parse(dedent(getsource(kind))).body[0].body  # type: ignore[attr-defined]
            for line, words in pairwise(body):
                if isinstance(line, ast.AnnAssign) and isinstance(words, ast.Expr):
                    name = line.target.id  # type: ignore[union-attr]
                    if field := cls.model_fields.get(name):
                        fields[field.alias or name]["description"] = cleandoc(words.value.value)  # type: ignore[attr-defined]
        return own


class SourcedValue(FrozenModel):
    """Value of a file with its provenance."""

    source: str
    """Source of the value: a key of the file's `[sources]` table, or a citation in words."""
    kind: Kind
    """How the source obtained the value."""
    note: str = ""
    """Reason for this value where the source alone does not give it; required if assumed."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        self.check_provenance()
        return self

    def check_provenance(self) -> None:
        """Raise a ValueError without a source, or for an assumed value without its reason."""
        if not self.source.strip():
            raise ValueError("needs a source that is not empty")
        if self.kind == "assumed" and not self.note.strip():
            raise ValueError("is assumed, so it needs the reason in `note`")


class Quantity(SourcedValue):
    """Number with unit, source and kind. An assumed one has its range `low` .. `high` and the reason."""

    value: int | float
    """Number, in `unit`."""
    unit: str
    low: int | float | None = None
    """Smallest plausible value, in `unit`."""
    high: int | float | None = None
    """Largest plausible value, in `unit`."""
    synthesised: Quantity | None = None
    """Value from synthesis with a cell library, in the same unit. Only a prior that selects it draws it."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        # One validator, and few calls in it: an interval checks ten thousand quantities.
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        if not (self.source.strip() and self.note.strip()):
            self.check_provenance()
        if not -_MOST_INT < low <= self.value <= high < _MOST_INT:
            numbers = [x for x in (self.low, self.value, self.high) if x is not None]
            if not all(map(is_number, numbers)):
                raise ValueError("needs finite numbers, of at most 64 bits")
            if numbers != sorted(numbers):
                raise ValueError(f"needs low <= value <= high, not {' <= '.join(f'{x:g}' for x in numbers)}")
        if self.kind == "assumed" and (self.low is None or self.high is None):
            raise ValueError("is assumed, so it needs its range `low` and `high`")
        if self.synthesised is not None and self.synthesised.kind != "synthesised":
            raise ValueError(f"has a synthesised reading of the kind {self.synthesised.kind!r}")
        return self

    @property
    def si(self) -> float:
        """Value in SI units (Hz, s, B, B/s, FLOP/s) or as a plain count."""
        return self.value * UNITS[self.unit]

    @property
    def whole(self) -> int:
        """Value as an integer, for fields whose rule demands a whole number (entries, rows, cycles)."""
        return int(self.value)

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}" if self.unit != "ratio" else f"{self.value:g}"

    def in_brief(self) -> str:
        """Value with its unit."""
        return str(self)


class Choice(SourcedValue):
    """Design decision that is not a number, with its source."""

    value: str | bool

    def in_brief(self) -> str:
        """Representation of the value."""
        return f"{self.value!r}"


@dataclass(frozen=True)
class QuantityRule:
    """Rule of a `Quantity` field: unit, bounds, and a word that may stand in place of the quantity."""

    unit: str
    _: KW_ONLY
    above: float | None = None
    least: float | None = None
    most: float | None = None
    whole: bool = False
    word: Callable[[str], str] | None = None
    """Returns a word that may replace the quantity, or raises a ValueError that says what is allowed."""
    word_schema: tuple[str, str] = ("type", "string")
    """JSON schema of the word: a keyword and its value."""

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise KeyError(self.unit)

    @property
    def allowed(self) -> str:
        """Rule in words, without the word that may replace the number."""
        limits = (("above", self.above), ("at least", self.least), ("at most", self.most))
        bounds = [f"{word} {limit:g}" for word, limit in limits if limit is not None]
        number = "a whole number" if self.whole else "a number"
        return " ".join([number, " and ".join(bounds), f"in {self.unit}"]).replace("  ", " ")

    def holds(self, x: float) -> bool:
        """Whether a number in this unit is within the bounds."""
        above = (self.above is None or x > self.above) and (self.least is None or x >= self.least)
        return above and (self.most is None or x <= self.most) and (not self.whole or x == int(x))

    def check(self, quantity: Quantity) -> Quantity:
        """Return ``quantity``, or raise a ValueError that says what is allowed."""
        if quantity.unit != self.unit:
            raise ValueError(f"has the unit {quantity.unit!r}; allowed is {self.unit!r}")
        above, least, most, whole = self.above, self.least, self.most, self.whole
        for says, x in (("is", quantity.value), ("has low", quantity.low), ("has high", quantity.high)):
            if x is None:
                continue
            inside = (above is None or x > above) and (least is None or x >= least)
            if not (inside and (most is None or x <= most) and (not whole or x == int(x))):
                raise ValueError(f"{says} {x:g}; allowed is {self.allowed}")
            if abs(x) > MOST or (abs(x) < LEAST and not self.holds(0)):
                size = f"of a size of {LEAST:g} to {MOST:g}"
                raise ValueError(f"{says} {x:g}; allowed is {self.allowed}, {size}")
        if quantity.synthesised is not None:
            self.check(quantity.synthesised)
        return quantity

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if (word := self.word) is None:
            return core_schema.no_info_after_validator_function(self.check, handler(source))
        number = handler.generate_schema(Annotated[Quantity, replace(self, word=None)])
        return core_schema.no_info_wrap_validator_function(
            lambda value, check: word(value) if isinstance(value, str) else check(value),
            number,
            serialization=core_schema.wrap_serializer_function_ser_schema(
                lambda value, write: value if isinstance(value, str) else write(value), schema=number
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> JsonSchemaValue:
        if self.word is not None:
            return {"anyOf": [handler(schema["schema"]), dict([self.word_schema])]}
        return {"allOf": [handler(schema)], "unit": self.unit, "allowed": self.allowed}


class ChoiceRule:
    """Rule of a `Choice` field: its values, or a function from a text to its canonical form."""

    def __init__(self, *values: str | bool, canonical: Callable[[str], str] | None = None) -> None:
        self.values, self.canonical = values, canonical

    def check(self, choice: Choice) -> Choice:
        """Return ``choice`` in canonical form, or raise a ValueError that lists what is allowed."""
        if self.canonical is not None:
            try:
                return choice.model_copy(update={"value": self.canonical(str(choice.value))})
            except ValueError as error:
                raise ValueError(f"is {error}") from None
        if choice.value not in self.values:
            raise ValueError(f"is {choice.value!r}; allowed are {', '.join(map(repr, self.values))}")
        return choice

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> JsonSchemaValue:
        return {"allOf": [handler(schema)], "allowed": list(self.values)}

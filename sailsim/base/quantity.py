"""A number that knows its unit and where it comes from."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any, Literal, Self, TypeGuard

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from sailsim.base.arguments import ShortRepr


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a finite number, of 64 bits with a sign if it is whole; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return within_64_bits(value) if isinstance(value, int) else abs(value) < float("inf")


def within_64_bits(number: int) -> bool:
    """Whether a whole number is one of 64 bits with a sign."""
    return -(1 << 63) <= number < 1 << 63


Kind = Literal["measured", "synthesised", "paper", "derived", "fitted", "assumed"]

# What one of each unit is in SI (or in plain counts); also the list of units that a file may use.
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
"""Between these is the size of every value, in its unit: what is beyond is a slip of the pen, and products
of a few of them stay numbers. Where 0 is allowed, so is what is almost 0."""


class Frozen(ShortRepr, BaseModel):
    """Base of everything read from a file: immutable, strict about types, closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class Sourced(Frozen):
    """What every value of a file says about where it comes from."""

    source: str
    """Where the value comes from: a key of the file's `[sources]` table, or a citation in words."""
    kind: Kind
    """How the source knows it."""
    note: str = ""
    """Why this value, where the source alone does not say."""

    @model_validator(mode="after")
    def _has_provenance(self) -> Self:
        if not self.source.strip():
            raise ValueError("needs a source that is not empty")
        if self.kind == "assumed" and not self.note.strip():
            raise ValueError("is assumed, so it needs the reason in `note`")
        return self


class Quantity(Sourced):
    """A value with unit, source and kind. An assumed one carries its range `low` .. `high` and the reason."""

    value: int | float
    """In `unit`."""
    unit: str
    low: int | float | None = None
    """Least plausible value, same unit."""
    high: int | float | None = None
    """Largest plausible value, same unit."""
    synthesised: Quantity | None = None
    """What gates of a cell library give for it, in the same unit. Only a prior that says so draws it."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
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
        """The value in SI units (Hz, s, B, B/s, FLOP/s) or as a plain count."""
        return self.value * UNITS[self.unit]

    @property
    def whole(self) -> int:
        """The value of a field that is declared whole (entries, rows, cycles)."""
        return int(self.value)

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}" if self.unit != "ratio" else f"{self.value:g}"

    def in_brief(self) -> str:
        """With its unit."""
        return str(self)


class Choice(Sourced):
    """A design decision that is not a number, with its source."""

    value: str | bool

    def in_brief(self) -> str:
        """What it says."""
        return f"{self.value!r}"


@dataclass(frozen=True)
class QuantityRule:
    """What a `Quantity` field allows: its unit, its bounds, whether it must be a whole number."""

    unit: str
    _: KW_ONLY
    above: float | None = None
    least: float | None = None
    most: float | None = None
    whole: bool = False

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise KeyError(self.unit)

    @property
    def allowed(self) -> str:
        """The rule in words."""
        limits = (("above", self.above), ("at least", self.least), ("at most", self.most))
        bounds = [f"{word} {limit:g}" for word, limit in limits if limit is not None]
        number = "a whole number" if self.whole else "a number"
        return " ".join([number, " and ".join(bounds), f"in {self.unit}"]).replace("  ", " ")

    def holds(self, x: float) -> bool:
        """Whether a value in this unit keeps to the bounds."""
        return (
            (self.above is None or x > self.above)
            and (self.least is None or x >= self.least)
            and (self.most is None or x <= self.most)
            and (not self.whole or x == int(x))
        )

    def check(self, quantity: Quantity) -> Quantity:
        """Return `quantity`, or raise a ValueError that says what is allowed."""
        if quantity.unit != self.unit:
            raise ValueError(f"has the unit {quantity.unit!r}; allowed is {self.unit!r}")
        ends = {"is": quantity.value, "has low": quantity.low, "has high": quantity.high}
        for says, x in ends.items():
            if x is None:
                continue
            if not self.holds(x):
                raise ValueError(f"{says} {x:g}; allowed is {self.allowed}")
            if abs(x) > MOST or (abs(x) < LEAST and not self.holds(0)):
                size = f"of a size of {LEAST:g} to {MOST:g}"
                raise ValueError(f"{says} {x:g}; allowed is {self.allowed}, {size}")
        if quantity.synthesised is not None:
            self.check(quantity.synthesised)
        return quantity

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"allOf": [handler(schema)], "unit": self.unit, "allowed": self.allowed}


class QuantityOrWord:
    """What a field allows that is a `Quantity` by a rule, or a word in its place."""

    def __init__(self, rule: QuantityRule, schema: dict[str, str]) -> None:
        """`schema`: of the word, as JSON schema has it."""
        self.rule, self.schema = rule, schema

    def word(self, value: str) -> str:
        """Return the word, or raise a ValueError that says what is allowed."""
        raise ValueError(f"is {value!r}; allowed is {self.rule.allowed}")

    def check(self, value: Any, handler: Any) -> Any:
        """The word, or the quantity of a table."""
        return self.word(value) if isinstance(value, str) else handler(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        number = handler.generate_schema(Annotated[Quantity, self.rule])
        return core_schema.no_info_wrap_validator_function(
            self.check,
            number,
            serialization=core_schema.wrap_serializer_function_ser_schema(
                lambda value, write: value if isinstance(value, str) else write(value), schema=number
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(schema["schema"]), self.schema]}


class ChoiceRule:
    """What a `Choice` field allows."""

    def __init__(self, *values: str | bool) -> None:
        self.values = values

    def check(self, choice: Choice) -> Choice:
        """Return `choice`, or raise a ValueError that lists what is allowed."""
        if choice.value not in self.values:
            raise ValueError(f"is {choice.value!r}; allowed are {', '.join(map(repr, self.values))}")
        return choice

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"allOf": [handler(schema)], "allowed": list(self.values)}

"""What an operation takes besides cycles: joules, square micrometres.

A file says it in one of two ways: as a quantity of its own, or in words, as a multiple of a constant that
several files share ("array_read_fj_bit", "4 multiplexer_um2"). Such constants are of the process, not of a
kind of array; they are in one place, `analysis/data/constants`, with their sources and ranges.
"""

import re
from typing import Annotated, Any, NamedTuple

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from sailsim.base.quantity import Is, Quantity

ENERGY_CONSTANTS = ("array_read_fj_bit", "array_write_fj_bit", "array_compute_fj_bit")
"""Of `constants/energy.toml`: what a substrate's operations may share."""
LOGIC_CONSTANTS = ("flip_flop_um2", "full_adder_um2", "multiplexer_um2", "comparator_um2", "nand2_um2")
"""Of `constants/area.toml`: the same for circuits beside the arrays."""

_MOST = 1000  # times a constant


class Shared(NamedTuple):
    """So many times a constant that files share."""

    times: int
    constant: str

    @classmethod
    def parse(cls, words: str) -> "Shared":
        """What "4 multiplexer_um2" means; a number left out is 1. For words that a file was checked with."""
        number, _, constant = words.rpartition(" ")
        return cls(int(number or 1), constant)


Charge = Quantity | str
"""A quantity of the file's own, or words for `Shared`."""


class Charged:
    """What a `Charge` field allows: a quantity by its rule, or a multiple of one of some constants."""

    def __init__(self, rule: Is, constants: tuple[str, ...]) -> None:
        self.rule, self.constants = rule, constants

    def check(self, value: Any, handler: Any) -> Any:
        """The words themselves, or the quantity of a table."""
        if not isinstance(value, str):
            return handler(value)
        found = re.fullmatch(r"(?:([1-9][0-9]{0,3}) )?(\w+)", value)
        if found is None or found[2] not in self.constants or int(found[1] or 1) > _MOST:
            raise ValueError(
                f"is {value!r}; allowed is a quantity in {self.rule.unit}, or one of "
                f"{', '.join(self.constants)}, or up to {_MOST} times one, such as '2 {self.constants[0]}'"
            )
        return value

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
        return {"anyOf": [handler(schema["schema"]), {"type": "string"}]}


RowEnergy = Annotated[Charge, Charged(Is("fJ/bit", least=0), ENERGY_CONSTANTS)]
"""Of a column of an array, as an operation charges it."""
CellArea = Annotated[Charge, Charged(Is("um2", above=0), ("cell_um2",))]
"""Of a bit of an array."""
CellShare = Annotated[Charge, Charged(Is("ratio", above=0, most=1), ("array_efficiency",))]
"""Share of an array that is cells."""
LogicArea = Annotated[Charge, Charged(Is("um2", least=0), LOGIC_CONSTANTS)]
"""Of a bit of a lane, as an operation's circuit takes it."""

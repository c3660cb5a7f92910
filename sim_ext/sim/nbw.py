"""NBW, the weights of a look-up table: a number, or "auto", which leaves it to each tensor's tile.

In a point and in its records auto is the number `PER_TENSOR`, so that the column stays one of numbers.
"""

from typing import Annotated, Any, Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Is, Quantity
from sailsim.lut_gemv.descriptor import NBW_MAX

AUTO = "auto"
"""What a user says for it."""
PER_TENSOR = 0
"""What it is in a point: for each tensor the NBW whose tile is the fastest of those that fit the rows."""
NBWS = range(1, NBW_MAX + 1)
"""The numbers that there are."""


class _OrAuto:
    """A field of a system file that is a number of weights with its source, or bare: "auto"."""

    def check(self, value: Any, handler: Any) -> Any:
        """The word itself, or the quantity of a table."""
        if isinstance(value, str):
            if value != AUTO:
                raise ValueError(f"is {value!r}; allowed is a number of weights, or {AUTO!r}")
            return value
        return handler(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        number = handler.generate_schema(
            Annotated[Quantity, Is("weights", least=1, most=NBW_MAX, whole=True)]
        )
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
        return {"anyOf": [handler(schema["schema"]), {"const": AUTO}]}


Nbw = Annotated[Quantity | Literal["auto"], _OrAuto()]
"""The type of such a field."""


def nbw_of(said: int | str) -> int:
    """The number in a point for what a user says.

    Raises:
        SailsimError: neither a whole number of `NBWS` nor "auto".
    """
    if said == AUTO or (said == PER_TENSOR and type(said) is int):
        return PER_TENSOR
    if type(said) is not int or said not in NBWS:
        raise SailsimError(f"nbw is {said!r}; allowed is a whole number 1..{NBW_MAX}, or {AUTO!r}.")
    return said


def nbw_in_words(nbw: Any) -> str:
    """What a point's number means: "NBW 4", or "NBW auto"."""
    return f"NBW {AUTO if nbw == PER_TENSOR else nbw}"

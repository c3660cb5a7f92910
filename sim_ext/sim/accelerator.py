"""The part of a system file that is an accelerator's own: which backend reads it, and what it may say.

Backends are modules of `sailsim.sim.backends`, found by their names in that folder; a machine names one in
`[accelerator] backend = "..."`, whose section model checks the rest. No list of them exists, so a new one is
a module and a system file.
"""

import pkgutil
from importlib import import_module, resources
from types import ModuleType
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from sailsim.base.quantity import Frozen
from sailsim.sim.tables import first_problem

_FOLDER = "sailsim.sim.backends"
SECTION_PROBLEM = "section_problem"
"""Type of the error of a section that its backend refuses; `tables.sentence` knows it."""


class AcceleratorSection(Frozen):
    """What `[accelerator]` says, in any backend's words."""

    backend: str
    """Which module of `sailsim.sim.backends` reads it."""


def backend_modules() -> tuple[str, ...]:
    """The modules of backends, in alphabetical order."""
    folder = str(resources.files("sailsim.sim") / "backends")
    return tuple(sorted(module.name for module in pkgutil.iter_modules([folder])))


def backend_module(name: str) -> ModuleType:
    """The module of a backend, loaded when it is asked for first."""
    return import_module(f"{_FOLDER}.{name}")


def section_models() -> dict[str, type[AcceleratorSection]]:
    """Backend -> model of its section, of those that have one: what their `accelerator` method takes."""
    found = {}
    for name in backend_modules():
        model = getattr(backend_module(name), "Section", None)
        if isinstance(model, type) and issubclass(model, AcceleratorSection):
            found[name] = model
    return found


class ByBackend:
    """Marks a field whose table is checked by the model of the backend that it names."""

    def check(self, table: Any) -> AcceleratorSection:
        """The section of a table."""
        if isinstance(table, AcceleratorSection):
            return table
        models = section_models()
        named = table.get("backend") if isinstance(table, dict) else None
        allowed = ", ".join(models)
        if named not in models:
            raise PydanticCustomError(
                SECTION_PROBLEM, "{text}", {"text": f"backend is {named!r}; allowed are {allowed}"}
            )
        try:
            return models[named].model_validate(table)
        except ValidationError as error:
            text = first_problem(error, f"a field of backend {named}; allowed are {_fields(models[named])}")
            raise PydanticCustomError(SECTION_PROBLEM, "{text}", {"text": text}) from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.check, serialization=core_schema.plain_serializer_function_ser_schema(_dumped, info_arg=True)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(model.__pydantic_core_schema__) for model in section_models().values()]}


def _dumped(section: AcceleratorSection, info: Any) -> dict[str, Any]:
    return section.model_dump(mode=info.mode, exclude_none=info.exclude_none)


def _fields(model: type[AcceleratorSection]) -> str:
    return ", ".join(model.model_fields)

"""What a call that is refused says, and files that extend what ships."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from sailsim.base.errors import SailsimError


def refusal(call: Callable[..., object], *arguments: object, **named: object) -> str:
    """The sentence that refuses a call: one line."""
    with pytest.raises(SailsimError) as error:
        call(*arguments, **named)
    sentence = str(error.value)
    assert "\n" not in sentence
    return sentence


def refusal_in_little_memory(call: Callable[..., object], *arguments: object) -> str:
    """The sentence, by way of 2 MiB at most, whatever a header promises."""
    tracemalloc.start()
    try:
        sentence = refusal(call, *arguments)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()
    return sentence


def extending(folder: Path, base: object, text: str = "", name: str = "mine") -> Path:
    """The file NAME.toml, which extends a shipped one or another file."""
    path = folder / f"{name}.toml"
    path.write_text(f'extends = "{base}"\nname = "{name}"\n{text}\n', "utf-8")
    return path


def quantity(value: object, unit: str, **more: object) -> str:
    """A number with its unit and source as TOML; None leaves a field out."""
    fields = {"value": value, "unit": unit, "source": "a test", "kind": "paper"} | more
    return "{ " + ", ".join(f"{k} = {json.dumps(v)}" for k, v in fields.items() if v is not None) + " }"

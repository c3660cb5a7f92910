"""Options and output of commands that take a point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click
from click.shell_completion import CompletionItem

from sailsim.cli.common.command import F, applied
from sailsim.cli.common.path_option import TEXT, FormattedText, PathOption
from sailsim.lut_gemv.descriptor import NBW_MAX
from sailsim.sim.machine.pim import AUTO
from sailsim.sim.machine.substrate import substrate_names
from sailsim.sim.machine.system_files import system_names
from sailsim.sim.point import DECLARED, DEFAULT_CONTEXT, WORDS, Point
from sailsim.sim.point import NUMBERS as WHOLE
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import format_names
from sailsim.workloads.models.model import model_names

_HELP = {name: field.description for name, field in DECLARED.items() if field.description}
"""Help of each field's option; `run` takes single values, `sweep` lists."""
NUMBERS = {name: words for name, words in _HELP.items() if name in ("nbw", *WHOLE)}
NAMES = {name: words for name, words in _HELP.items() if name not in NUMBERS}
SHIPPED: dict[str, Callable[[], Sequence[str]]] = {
    "system": system_names,
    "model": model_names,
    "weights": format_names,
    "substrate": substrate_names,
}
"""Names for shell completion; if none matches, paths are completed."""


def _completed(name: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(_: click.Context, __: click.Parameter, prefix: str) -> list[CompletionItem]:
        names = [CompletionItem(each) for each in SHIPPED[name]() if each.startswith(prefix)]
        return names or [CompletionItem(prefix, type="file")]

    return complete


NBW = FormattedText(rf"{AUTO}|-?[1-9]\d{{0,17}}", f"a whole number 1..{NBW_MAX}, or {AUTO}")


DEFAULTS = {
    name: str(value)
    for name, value in asdict(Point(phase="prefill")).items()
    if name in NAMES | NUMBERS and value not in (None, "")
} | {
    "phase": "decode",
    "weights": "a file's own, else --wbits",
    "kv_bits": "the model's",
    "context": f"{DEFAULT_CONTEXT}, or --prompt",
    **dict.fromkeys(("nbw", "substrate", "convert"), "the system's"),
    "activations": "the one that ships",
}
"""Defaults of a point's options, in words."""


def point_options(*only: str, defaults: Mapping[str, str] = DEFAULTS, **shared: Any) -> Callable[[F], F]:
    """Options for all fields of a point or for some, with their defaults in the help.

    `shared` are the settings of all options in place of those for single values, as in a sweep.
    """

    fields = NAMES | NUMBERS

    def option(name: str) -> Any:
        words = f"{fields[name][0].upper()}{fields[name][1:]} [default: {defaults[name]}]."
        complete = _completed(name) if name in SHIPPED else None
        settings = {**(shared or _single_value(name)), "help": words, "shell_complete": complete}
        return click.option(f"--{name.replace('_', '-')}", name, **settings)

    return applied(*map(option, only or fields))


def _single_value(name: str) -> dict[str, Any]:
    if name == "nbw":
        return {"type": NBW, "metavar": "INTEGER|auto", "callback": _nbw_number}
    return {"type": click.Choice(WORDS[name]) if name in WORDS else int if name in NUMBERS else TEXT}


def _nbw_number(_: click.Context, __: click.Parameter, text: str | None) -> str | int | None:
    return text if text is None or text == AUTO else int(text)


def types_of(point: Point) -> str:
    """Line with the types of the matrices of a point's model, the first of a command's output."""
    model = load_model(point.model)
    return f"{point.model}, {point.weights_in_words()}: {point.formats(model).census_in_words(model)}"


against_option = click.option(
    "--against",
    type=PathOption(),
    multiple=True,
    help="Compare with this too: a machine's name, or a file of a system, a GPU or runners; append "
    ":FIELD=VALUE to change a field, as in l4:memory_bandwidth=600. Repeatable.",
)


prices_option = click.option(
    "--prices",
    type=PathOption(dir_okay=False),
    help="A price file in place of the shipped one; machines that it does not name have no price.",
)


paper_option = click.option("--paper", default="sail", help="A paper by name, or a file of claims.")

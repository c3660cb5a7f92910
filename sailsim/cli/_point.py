"""Options and output that commands about points share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_type_hints

import click
from click.shell_completion import CompletionItem

from sailsim.cli._path import TEXT, PathOption
from sailsim.sim.files import system_names
from sailsim.sim.pim import AUTO, PER_TENSOR
from sailsim.sim.point import DECLARED, DEFAULT_CONTEXT, WORDS, Point
from sailsim.sim.ranges import parse_numbers
from sailsim.sim.substrate import substrate_names
from sailsim.workloads.formats import format_names
from sailsim.workloads.load import load_model
from sailsim.workloads.model import model_names

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_HELP = {name: field.description for name, field in DECLARED.items() if field.description}
"""Field of a point -> what its option says; single values in `run`, lists in `sweep`."""
NUMBERS = {
    name: words for name, words in _HELP.items() if name == "nbw" or get_type_hints(Point)[name] is int
}
NAMES = {name: words for name, words in _HELP.items() if name not in NUMBERS}
SHIPPED: dict[str, Callable[[], Sequence[str]]] = {
    "system": system_names,
    "model": model_names,
    "weights": format_names,
    "substrate": substrate_names,
}
"""Names that a shell completes; a path is completed where none begins so."""


def _completed(name: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
        found = [CompletionItem(each) for each in SHIPPED[name]() if each.startswith(begun)]
        return found or [CompletionItem(begun, type="file")]

    return complete


class Offered(click.Choice[str]):
    """Words that help and completion offer; a point says in its own sentence which it refuses."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word as it is."""
        return str(value)


class NbwType(click.ParamType):  # type: ignore[type-arg]  # generic only from click 8.4 on
    """A whole number, or auto."""

    name = "nbw"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What the help shows."""
        return "INTEGER|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """The word or the number, whose range a point checks."""
        if value == AUTO:
            return AUTO
        try:
            number = int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a whole number nor {AUTO}.", param, ctx)
        if number == PER_TENSOR:  # what a point has for auto
            self.fail(f"{number} is not in 1..6.", param, ctx)
        return number


def numbers_of(name: str, text: str) -> list[int]:
    """The numbers of an option of a sweep."""
    return parse_numbers(name, text, {AUTO: PER_TENSOR} if name == "nbw" else None)


def _defaults() -> dict[str, str]:
    """What a point has where an option is not given, in words."""
    point = asdict(Point(phase="prefill")) | {"phase": "decode"}
    said = {name: str(point[name]) for name in NAMES | NUMBERS if point[name] not in (None, "")}
    system = dict.fromkeys(("nbw", "substrate", "convert"), "the system's")
    words = {
        "weights": "a file's own, else --wbits",
        "kv_bits": "the model's",
        "context": f"{DEFAULT_CONTEXT}, or --prompt",
    }
    return said | system | words | {"activations": "the one that ships"}


DEFAULTS = _defaults()


def point_options(*only: str, defaults: Mapping[str, str] = DEFAULTS, **shared: Any) -> Decorator:
    """One option per field of a point, or for some, with what the help says of its default.

    `shared` goes to each (``type=str`` in a sweep, say).
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        fields = NAMES | NUMBERS
        for name, text in reversed([(name, fields[name]) for name in only or fields]):
            option = f"--{name.replace('_', '-')}"
            kind = shared.get("type") or _type(name)
            complete = _completed(name) if name in SHIPPED else None
            said = f"{text[0].upper()}{text[1:]} [default: {defaults[name]}]."
            command = click.option(
                option, name, help=said, shell_complete=complete, **shared | {"type": kind}
            )(command)
        return command

    return decorate


def _type(name: str) -> Any:
    """Of a single value."""
    if name in WORDS:
        return Offered(WORDS[name])
    return NbwType() if name == "nbw" else int if name in NUMBERS else TEXT


def types_of(point: Point) -> str:
    """Which types the matrices of a point's model have, as a line: the first of a command's output."""
    model = load_model(point.model)
    return f"{point.model}, {point.weights_in_words()}: {point.formats(model).census_in_words(model)}"


def types_of_all(points: Iterable[Point]) -> list[str]:
    """`types_of` some points, each line once."""
    different = {(p.model, p.weights, p.wbits, p.group_size): p for p in points}
    return list(dict.fromkeys(map(types_of, different.values())))


beside_option = click.option(
    "--beside",
    type=PathOption(),
    multiple=True,
    help="What else runs the point: a file of runners, or of a system or a card, or a machine by its name; "
    "other values of a machine's fields behind it, as in l4:memory_bandwidth=600. Repeatable.",
)


def constants_option(kinds: str) -> Decorator:
    """`--constants`, for files of some kinds, in words."""
    return click.option(
        "--constants",
        type=PathOption(dir_okay=False),
        multiple=True,
        help=f"A file of constants of the {kinds}, with ranges, instead of the shipped ones. Repeatable.",
    )


prices_option = click.option(
    "--prices",
    type=PathOption(dir_okay=False),
    help="A price file in the place of the shipped one, whole: what it does not name has no price.",
)


paper_option = click.option(
    "--paper", default="sail", show_default=True, help="A paper by name, or a file of claims (data/claims)."
)


prt_option = click.option(
    "--prt/--no-prt", default=True, show_default=True, help="With or without the pattern reuse table."
)


overlap_option = click.option(
    "--overlap/--no-overlap",
    default=False,
    show_default=True,
    help="The batch in two halves: cores work for one while units work for the other.",
)


beyond_option = click.option(
    "--beyond-limit",
    is_flag=True,
    help="Allow a context or prompt of more tokens than the model was made for.",
)


def reasons(runs: Mapping[str, Any]) -> list[str]:
    """Why runners of a comparison have no number, a line each."""
    return [f"- {name}: {entry['reason']}" for name, entry in runs.items() if entry["reason"]]


def thousands(tokens: float) -> str:
    """A number of tokens in thousands."""
    return f"{tokens / 1e3:,.0f}" if tokens >= 1e5 else f"{tokens / 1e3:.1f}"

"""Points: all inputs of one simulated step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import fields
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, get_args

import numpy as np
from annotated_types import Interval
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError, WrapValidator
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from sailsim.base.arguments import short_text
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.descriptor import ABITS_MAX, WBITS_MAX
from sailsim.sim.machine.catalog import FileReference
from sailsim.sim.machine.pim import parse_nbw
from sailsim.sim.machine.substrate import CycleCost, canonical_substrate, load_substrate, parse_substrate
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import as_system, known_reference, leaves, reference_to
from sailsim.workloads.model_files.load import chosen_format, require_model, weight_choice
from sailsim.workloads.models.formats import WeightFormat, uniform_format
from sailsim.workloads.models.model import KV_BITS, KV_WORDS, ModelSpec

Convert = Literal["memory", "unit", "cores", "auto"]
"""Place where sums become floating point; auto: the machine's fastest."""

Phase = Literal["decode", "prefill"]
"""Phase of inference: a token for each sequence, or all of their prompts up to the first token."""

Attention = Literal["cores", "units"]
"""Resource that does the products of attention on a machine with units."""

WORDS = {"phase": get_args(Phase), "attention": get_args(Attention), "convert": get_args(Convert)}
"""Allowed words by field."""

DEFAULT_CONTEXT = 512

SEEDS = 1 << 63
"""Number of seeds."""


def _plain(value: Any) -> Any:
    """Convert NumPy's whole numbers to Python's, and paths to text."""
    if isinstance(value, np.integer):
        return int(value)
    return str(value) if isinstance(value, PurePath) else value


def _loadable(model: str) -> str:
    require_model(model)
    return model


def _kv_bits(value: Any) -> int:
    if type(bits := _plain(value)) is not int or bits not in (0, *KV_BITS):
        raise ValueError(f"{bits!r}; allowed are {KV_WORDS}, and 0 for what the model has")
    return bits


def _or_omitted(value: Any, check: Any) -> Any:
    """Accept None, and the 0 of an existing point, besides the field's values."""
    return value if value is None or (type(value) is int and value == 0) else check(value)


_OMITTED: Any = None
_PLAIN = BeforeValidator(_plain)
_OR_OMITTED = WrapValidator(_or_omitted)
Text = Annotated[str, _PLAIN]
# Limits of the descriptor, or of what stays computable.
Wbits = Annotated[int, _PLAIN, Interval(ge=1, le=WBITS_MAX), _OR_OMITTED]
Abits = Annotated[int, _PLAIN, Interval(ge=1, le=ABITS_MAX)]
GroupSize = Annotated[int, _PLAIN, Interval(ge=0, le=65535), _OR_OMITTED]
Tokens = Annotated[int, _PLAIN, Interval(ge=1, le=1 << 24), _OR_OMITTED]
Batch = Annotated[int, _PLAIN, Interval(ge=1, le=65535)]
Threads = Annotated[int, _PLAIN, Interval(ge=1, le=4096)]
Seed = Annotated[int, _PLAIN, Interval(ge=0, le=SEEDS - 1)]


def _help(text: str) -> Any:
    return Field(description=text)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(strict=True, extra="forbid"))
class Point:
    """Inputs of one simulated step; hashable, and JSON-able by `as_dict`.

    `system` is the name of a shipped machine or the path of its file, either with other values of its fields
    ("sail-n1:llc.slices=16"); a `System` becomes such a text. `substrate` likewise, with other costs of
    operations ("row_dfm:add=3"). `nbw`, `substrate` and `convert` may be None: then the system file decides
    (`resolved`). `nbw` "auto" is the fastest that fits for each tensor, stored as the number `PER_TENSOR`.

    Weights are given once: by `weights` (docs/models.md: ``file``, ``4g32``, ``q4_k_m``, a policy's path), or
    as a uniform format by `wbits`, bits of a code, and `group_size`, weights along K that share a scale (0:
    all of K). By default a model's file has its own formats, and any other model 4 bits, 128 weights a scale.
    A uniform point then has an empty `weights`, and every other one 0 as `wbits` and `group_size`.

    A step of `phase` "decode" makes a token for each of `batch` sequences of `context` tokens, and its
    `prompt` is 0. One of "prefill" works on `batch` prompts of `prompt` tokens at once, up to the first token
    of an answer, and its `context` is the prompt. More tokens than the model's limit need `beyond_limit`.

    `activations` is the path of the capture for pattern counts; empty: the shipped one. `kv_bits` is the
    width of keys and values in the cache (`ModelSpec.with_kv_bits`); 0: the model's own. With `attention`
    "units" the PIM units multiply queries and keys, probabilities and values (docs/decode.md). With `overlap`
    the batch is two halves: while the cores work for one, the units work for the other (docs/engine.md).

    A field's description is the help of its option. As arguments, `wbits`, `group_size`, `prompt` and
    `context` may be None, which leaves them to `weights`, to each other in prefill, or to the default.

    Raises:
        SailsimError: one sentence that names the field, the value and what is allowed.
    """

    system: Annotated[
        str,
        BeforeValidator(lambda value: reference_to(value) if isinstance(value, System) else _plain(value)),
        AfterValidator(lambda value: str(known_reference(value))),  # equal choices are equal texts
        _help(
            "a machine of `sailsim list system`, or a TOML file; `:FIELD=VALUE` behind it changes a field, "
            "as in sail-n1:llc.slices=16"
        ),
    ] = "sail-n1"
    model: Annotated[
        Text,
        AfterValidator(_loadable),
        _help("a model of `sailsim list model`, a TOML or a GGUF file, or a folder of safetensors"),
    ] = "llama-2-7b"
    weights: Annotated[
        Text, _help("formats: file, 4, 4g32, q4_k_m, or a policy .toml; instead of --wbits and --group-size")
    ] = ""
    wbits: Annotated[Wbits, _help("bits of a weight, 1..8")] = _OMITTED
    abits: Annotated[Abits, _help("bits of an activation, 1..16")] = 8
    nbw: Annotated[
        int | None,
        BeforeValidator(lambda value: None if value is None else parse_nbw(_plain(value))),
        _help("weights of a look-up table, 1..6, or auto, the fastest for each tensor"),
    ] = None
    group_size: Annotated[GroupSize, _help("weights along K that share a scale; 0: all")] = _OMITTED
    phase: Annotated[
        Phase, _help("decode: a token for each sequence; prefill: their prompts up to the first token")
    ] = "decode"
    prompt: Annotated[Tokens, _help("tokens of each prompt in phase prefill")] = _OMITTED
    batch: Annotated[Batch, _help("sequences decoded together, or prompts at once")] = 1
    threads: Annotated[Threads, _help("cores that work with the PIM units, and in the CPU baseline")] = 16
    context: Annotated[Tokens, _help("tokens in the cache of each sequence")] = _OMITTED
    beyond_limit: bool = False
    kv_bits: Annotated[
        int, BeforeValidator(_kv_bits), _help("bits of a key or value in the cache, 2..8 or 16")
    ] = 0
    attention: Annotated[
        Attention,
        _help("where attention multiplies: on the cores, or on the units, which need --kv-bits 2..8"),
    ] = "cores"
    overlap: bool = False
    substrate: Annotated[
        str | None,
        BeforeValidator(lambda value: None if value is None else canonical_substrate(str(value))),
        _help(
            "the kind of arrays: one of `sailsim list substrate`, or a TOML file; `:OPERATION=CYCLES` behind "
            "it changes a cost, as in row_dfm:add=3 or row_dfm:add=8n-2:read=2"
        ),
    ] = None
    convert: Annotated[
        Convert | None,
        _help("where sums become floating point: memory, unit, cores, or auto, the machine's fastest"),
    ] = None
    prt: bool = True
    seed: Annotated[Seed, _help("picks the captured activations that the batch is drawn from")] = 0
    activations: Annotated[Text, _help("a capture of `sailsim activations`")] = ""

    def __post_init__(self) -> None:
        self._settle(**weight_choice(self.model, self.weights, self.wbits, self.group_size)._asdict())
        if not self.weights and self.wbits == 0:
            raise _out_of_range("wbits", 0)
        self._settle_tokens()
        if self.attention == "units" and not 2 <= self.kv_bits <= WBITS_MAX:
            raise SailsimError(
                f"kv_bits is {self.kv_bits or 'not given'} with attention on the units; allowed there is "
                f"2..{WBITS_MAX}: they multiply whole numbers."
            )
        if self.overlap and (self.batch < 2 or self.phase == "prefill"):
            raise SailsimError(
                f"overlap is on with a batch of {self.batch} in phase {self.phase}; allowed there "
                "is a batch of 2 or more in phase decode, which has two halves."
            )

    def _settle(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _settle_tokens(self) -> None:
        """Make prompt and context equal in prefill, and the prompt 0 in decoding."""
        prompt, context = self.prompt, self.context
        if context == 0 or (prompt == 0 and self.phase == "prefill"):
            raise _out_of_range("context" if context == 0 else "prompt", 0)
        if self.phase == "decode":
            if prompt:
                raise SailsimError(
                    f"prompt is {prompt!r} with phase decode; allowed there is none: `context` says how "
                    "many tokens a sequence has, and phase prefill works on a prompt."
                )
            self._settle(prompt=0, context=context or DEFAULT_CONTEXT)
            return
        prompt = prompt or context or DEFAULT_CONTEXT
        if context not in (None, prompt):
            raise SailsimError(
                f"context is {context!r} with a prompt of {prompt!r}; allowed in phase prefill is one "
                "of them, or one number for both: the cache has the prompt and nothing before it."
            )
        self._settle(prompt=prompt, context=prompt)

    @property
    def tokens(self) -> int:
        """Tokens of a step: one of each sequence, or all of the prompts."""
        return self.batch if self.phase == "decode" else self.batch * self.prompt

    def formats(self, model: ModelSpec) -> WeightFormat:
        """Weight format of every tensor of the point's model.

        Raises:
            SailsimError: a damaged policy or file, or formats that the model does not have.
        """
        if not self.weights:
            return uniform_format(self.wbits, self.group_size)
        return _formats(self.weights, self.model, model, *map(_changed_at, (self.weights, self.model)))

    def weights_in_words(self) -> str:
        """Weights in the words of a title: "4-bit weights", or "weights file"."""
        return f"weights {self.weights}" if self.weights else f"{self.wbits}-bit weights"

    def resolved(self, system: System, model: ModelSpec) -> Point:
        """Copy with the defaults of `system` and `model` filled in."""
        pim, values = system.pim, dict[str, Any](kv_bits=self.kv_bits or model.kv_bits)
        if pim is not None and system.accelerator is None:
            own = {"nbw": pim.default_nbw, "substrate": pim.substrate.value, "convert": pim.convert.value}
            values |= {name: value for name, value in own.items() if getattr(self, name) is None}
        return self.having(**values)

    def having(self, **values: Any) -> Point:
        """Copy with other values, which are not checked."""
        other = copy(self)
        other._settle(**values)
        return other

    def replace(self, **values: Any) -> Point:
        """Copy with other values, checked as those of a new point.

        `weights` replaces `wbits` and `group_size`, and they replace it; likewise `prompt` and `context`.
        Raises SailsimError as a new point.
        """
        replaced = {other for name in values for other in _REPLACED_BY.get(name, ())}
        if self.weights and values.keys() & {"wbits", "group_size"}:
            replaced |= {"weights", "wbits", "group_size"}
        kept = {name: value for name, value in self.as_dict().items() if name not in replaced}
        return Point(**kept | values)

    def as_dict(self) -> dict[str, Any]:
        """Fields in their order, ready for JSON."""
        return {name: getattr(self, name) for name in _FIELDS}


_REPLACED_BY = {
    "weights": ("wbits", "group_size"),
    "phase": ("prompt",),
    "context": ("prompt",),
    "prompt": ("context",),
}
"""Field -> fields whose old value a new value of it replaces too."""
_FIELDS = tuple(field.name for field in fields(Point))
DECLARED: Mapping[str, FieldInfo] = Point.__pydantic_fields__  # type: ignore[attr-defined]
"""Type, limits and help of each field."""
NUMBERS = tuple(name for name, field in DECLARED.items() if field.annotation is int)
"""Fields that are whole numbers whatever the others are."""
_VALIDATED: Any = Point.__init__


def _init(self: Point, **values: Any) -> None:
    try:
        _VALIDATED(self, **values)
    except ValidationError as error:
        raise _refusal(error) from None


Point.__init__ = _init  # type: ignore[method-assign]


def _refusal(error: ValidationError) -> SailsimError:
    """The first of pydantic's errors as one of our sentences."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    match first["type"], first.get("ctx", {}).get("error"):
        case "value_error", SailsimError() as ours:
            return ours
        case "value_error", reason:
            return SailsimError(f"{name} is {reason}.")
        case "unexpected_keyword_argument", _:
            return SailsimError(f"{name} is no field of a point; allowed are {', '.join(_FIELDS)}.")
        case (("int_type" | "greater_than_equal" | "less_than_equal"), _):
            return _out_of_range(name, first["input"])
        case "literal_error", _:
            return SailsimError(
                f"{name} is {short_text(first['input'])}; allowed are {', '.join(WORDS[name])}."
            )
        case "bool_type", _:
            return SailsimError(f"{name} is {short_text(first['input'])}; allowed are true and false.")
    return SailsimError(f"{name} is {short_text(first['input'])}; allowed is a name or a path.")


def _out_of_range(name: str, value: object) -> SailsimError:
    limits = next(each for each in DECLARED[name].metadata if isinstance(each, Interval))
    return SailsimError(f"{name} is {value!r}; allowed is a whole number {limits.ge}..{limits.le}.")


def _changed_at(path: str) -> int:
    """Modification time of a file, or of the newest in a model's folder, ns; 0 if there is none."""
    with suppress(OSError, ValueError):  # ValueError: a path with a character 0
        if path and Path(path).is_dir():
            # Only a folder's weights need it.
            from sailsim.workloads.model_files.folder_model import header_files

            return max((file.stat().st_mtime_ns for file in header_files(path)), default=0)
        return Path(path).stat().st_mtime_ns
    return 0


@lru_cache(maxsize=64)  # a model's file of formats takes 0.1 s to read, and a point reads it several times
def _formats(weights: str, model: str, spec: ModelSpec, *changed_at: int) -> WeightFormat:
    """Chosen formats, read again if one of the files has changed."""
    return chosen_format(weights, model, spec)


# ---- Fields of machines that points set, as columns of a study's records ----------------------------------
# A point's own fields are always columns. Fields of a system set after its name (`llc.slices`), and costs of
# operations that a substrate or a system sets (`pim.substrate.add`), have a column each in every record of
# the study. Where a point does not set the field, the column has the value of its machine.
SUBSTRATE = "pim.substrate"
OPERATION = f"{SUBSTRATE}."
"""Prefix of the names of operations' costs."""


def set_fields(points: Iterable[Point]) -> dict[str, bool]:
    """Columns of a study of the points, in alphabetical order.

    Names are fields of a system file, or `pim.substrate.<operation>`. The value says whether the column has
    text, because some of its costs are polynomials.
    """
    names: set[str] = set()
    machines = {(point.system, point.substrate) for point in points}
    for system, substrate in machines:
        names.update(FileReference.parse(system).changes)
        if substrate is not None:
            names.update(OPERATION + each for each in parse_substrate(substrate).changes)
    texts: set[str] = set()
    for each in machines if _have_cost(names) else ():
        with suppress(SailsimError):  # such a machine has no record either
            texts.update(name for name, cost in _costs(*each).items() if any(cost.coefficients[1:]))
    return {name: name in texts for name in sorted(names)}


def set_values(fields: Mapping[str, bool], point: Point, system: System) -> dict[str, Any]:
    """Values of a point on its machine in the columns; None if the machine has no such field."""
    if not fields:
        return {}
    values: dict[str, Any] = {name: leaf.value for name, leaf in leaves(system).items()}
    costs = _costs(system, point.substrate) if _have_cost(fields) else {}
    for name, is_text in fields.items():
        if name in costs:
            values[name] = str(costs[name]) if is_text else costs[name]()
    return {name: values.get(name) for name in fields}


def _have_cost(names: Iterable[str]) -> bool:
    return any(name.startswith(OPERATION) for name in names)


def _costs(system: System | str, substrate: str | None) -> Mapping[str, CycleCost]:
    """Costs of operations by column, of the point's substrate or else its machine's."""
    if substrate is None:
        pim = as_system(system).pim
        if pim is None:
            return {}
        substrate = str(pim.substrate.value)
    return {OPERATION + name: cost for name, cost in load_substrate(substrate).costs.items()}

"""One run: which machine does what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import fields
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, NamedTuple, get_args

import numpy as np
from annotated_types import Interval
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError, WrapValidator
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from sailsim.base.arguments import shown
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.descriptor import ABITS_MAX, WBITS_MAX
from sailsim.sim.machine.pim import nbw_of
from sailsim.sim.machine.substrate import CycleCost, SubstrateReference, load_substrate, settled_substrate
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import SystemReference, as_system, known_system, leaves, system_in_words
from sailsim.workloads.model_files.load import chosen_format, require_model, weight_choice
from sailsim.workloads.models.formats import WeightFormat, uniform_format
from sailsim.workloads.models.model import KV_BITS, KV_WORDS, ModelSpec

Convert = Literal["memory", "unit", "cores", "auto"]
"""Where sums become floating point; auto: where the step is the fastest, of what the machine has."""

Phase = Literal["decode", "prefill"]
"""What a step does: a token for each sequence, or all of their prompts up to the first token."""

Attention = Literal["cores", "units"]
"""Who does the products of attention where there are units."""

WORDS = {"phase": get_args(Phase), "attention": get_args(Attention), "convert": get_args(Convert)}
"""What the fields allow that are one of some words."""

DEFAULT_CONTEXT = 512

SEEDS = 1 << 63
"""How many seeds there are."""


def _plain(value: Any) -> Any:
    """NumPy's whole numbers as Python's, and paths as text."""
    if isinstance(value, np.integer):
        return int(value)
    return str(value) if isinstance(value, PurePath) else value


def _loadable(model: str) -> str:
    require_model(model)
    return model


def _nbw(said: Any) -> int | None:
    return None if said is None else nbw_of(_plain(said))


def _kv_bits(said: Any) -> int:
    if type(bits := _plain(said)) is not int or bits not in (0, *KV_BITS):
        raise ValueError(f"{bits!r}; allowed are {KV_WORDS}, and 0 for what the model has")
    return bits


def _substrate(said: Any) -> str | None:
    return None if said is None else settled_substrate(str(said))


def _or_left_out(value: Any, check: Any) -> Any:
    """None, or the 0 of a point that was made, or what the field allows."""
    return value if value is None or (type(value) is int and value == 0) else check(value)


_LEFT_OUT: Any = None
_PLAIN = BeforeValidator(_plain)
_OR_LEFT_OUT = WrapValidator(_or_left_out)
Text = Annotated[str, _PLAIN]
# Ranges: what the descriptor can carry, and what stays computable.
Wbits = Annotated[int, _PLAIN, Interval(ge=1, le=WBITS_MAX), _OR_LEFT_OUT]
Abits = Annotated[int, _PLAIN, Interval(ge=1, le=ABITS_MAX)]
GroupSize = Annotated[int, _PLAIN, Interval(ge=0, le=65535), _OR_LEFT_OUT]
Tokens = Annotated[int, _PLAIN, Interval(ge=1, le=1 << 24), _OR_LEFT_OUT]
Batch = Annotated[int, _PLAIN, Interval(ge=1, le=65535)]
Threads = Annotated[int, _PLAIN, Interval(ge=1, le=4096)]
Seed = Annotated[int, _PLAIN, Interval(ge=0, le=SEEDS - 1)]


def _help(words: str) -> Any:
    return Field(description=words)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(strict=True, extra="forbid"))
class Point:
    """Inputs of one simulated step; hashable, and JSON-able by `as_dict`.

    `nbw`, `substrate` and `convert` may be None: then the system file decides (`resolved`). `nbw` "auto"
    is for each tensor the fastest that fits, and the number `PER_TENSOR` once the point is made. What the
    weights are is said once: by `weights` (docs/models.md: ``file``, ``4g32``, ``q4_k_m``, a policy's
    path), or as a uniform format by `wbits`, bits of a code, and `group_size`, weights along K that share
    a scale (0: all of K). Where nothing is said, a model's file has its own formats and any other model 4
    bits, 128 weights a scale. Once made, a uniform point has an empty `weights`, and every other one 0 as
    `wbits` and `group_size`. `system` is the name of a machine that ships or the path of its file, either
    with other values of its fields behind it ("sail-n1:llc.slices=16"), which a `System` becomes;
    `substrate` likewise, with other costs of operations ("row_dfm:add=3").
    `activations` is the path of the capture that pattern counts come from; empty is the one that ships.
    A step of `phase` "decode" makes a token for each of `batch` sequences of `context` tokens, and its
    `prompt` is 0; one of "prefill" works on as many prompts of `prompt` tokens at once, up to the first token
    of an answer, and its `context` is the prompt. More tokens than the model was made for need
    `beyond_limit`. `kv_bits` is the width of keys and values in the cache (`ModelSpec.with_kv_bits`); 0 is
    the model's own. With `attention` "units" the PIM units multiply queries and keys, probabilities and
    values (docs/decode.md). With `overlap` the batch is two halves: while the cores work for one, the units
    work for the other (docs/engine.md).

    A field's description is the help of its option. Until the point is made, `wbits`, `group_size`, `prompt`
    and `context` may be None, which leaves them to `weights`, to each other in prefill, or to the default.

    Raises:
        SailsimError: one sentence that names the field, the value and what is allowed.
    """

    system: Annotated[
        str,
        BeforeValidator(lambda said: system_in_words(said) if isinstance(said, System) else _plain(said)),
        AfterValidator(lambda said: str(known_system(said))),  # equal choices are equal texts
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
        Text,
        _help("formats: file, 4, 4g32, q4_k_m, or a policy .toml; instead of --wbits and --group-size"),
    ] = ""
    wbits: Annotated[Wbits, _help("bits of a weight, 1..8")] = _LEFT_OUT
    abits: Annotated[Abits, _help("bits of an activation, 1..16")] = 8
    nbw: Annotated[
        int | None,
        BeforeValidator(_nbw),
        _help("weights of a look-up table, 1..6, or auto, the fastest for each tensor"),
    ] = None
    group_size: Annotated[GroupSize, _help("weights along K that share a scale; 0: all")] = _LEFT_OUT
    phase: Annotated[
        Phase, _help("decode: a token for each sequence; prefill: their prompts up to the first token")
    ] = "decode"
    prompt: Annotated[Tokens, _help("tokens of each prompt in phase prefill")] = _LEFT_OUT
    batch: Annotated[Batch, _help("sequences decoded together, or prompts at once")] = 1
    threads: Annotated[Threads, _help("cores that work with the PIM units, and in the CPU baseline")] = 16
    context: Annotated[Tokens, _help("tokens in the cache of each sequence")] = _LEFT_OUT
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
        BeforeValidator(_substrate),
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
                f"kv_bits is {self.kv_bits or 'not said'} beside attention on the units; allowed there is "
                f"2..{WBITS_MAX}: they multiply whole numbers."
            )
        if self.overlap and (self.batch < 2 or self.phase == "prefill"):
            raise SailsimError(
                f"overlap is asked for beside a batch of {self.batch} in phase {self.phase}; allowed there "
                "is a batch of 2 or more in phase decode, which has two halves."
            )

    def _settle(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _settle_tokens(self) -> None:
        """Have prompt and context say the same in prefill, and no prompt in decoding."""
        prompt, context = self.prompt, self.context
        if context == 0 or (prompt == 0 and self.phase == "prefill"):
            raise _out_of_range("context" if context == 0 else "prompt", 0)
        if self.phase == "decode":
            if prompt:
                raise SailsimError(
                    f"prompt is {prompt!r} beside phase decode; allowed there is none: `context` says how "
                    "many tokens a sequence has, and phase prefill works on a prompt."
                )
            self._settle(prompt=0, context=context or DEFAULT_CONTEXT)
            return
        prompt = prompt or context or DEFAULT_CONTEXT
        if context not in (None, prompt):
            raise SailsimError(
                f"context is {context!r} beside a prompt of {prompt!r}; allowed in phase prefill is one "
                "of them, or one number for both: the cache has the prompt and nothing before it."
            )
        self._settle(prompt=prompt, context=prompt)

    @property
    def tokens(self) -> int:
        """That a step works on: one of each sequence, or all of the prompts."""
        return self.batch if self.phase == "decode" else self.batch * self.prompt

    def formats(self, model: ModelSpec) -> WeightFormat:
        """The format of every tensor of the point's model.

        Raises:
            SailsimError: a policy or a file that is damaged, or formats that the model does not have.
        """
        if not self.weights:
            return uniform_format(self.wbits, self.group_size)
        return _formats(self.weights, self.model, model, *map(_changed_at, (self.weights, self.model)))

    def weights_in_words(self) -> str:
        """The weights as a title says them: "4-bit weights", or "weights file"."""
        return f"weights {self.weights}" if self.weights else f"{self.wbits}-bit weights"

    def resolved(self, system: System, model: ModelSpec) -> Point:
        """The point with everything filled that `system` and `model` decide."""
        pim, found = system.pim, dict[str, Any](kv_bits=self.kv_bits or model.kv_bits)
        if pim is not None and system.accelerator is None:
            own = {"nbw": pim.default_nbw, "substrate": pim.substrate.value, "convert": pim.convert.value}
            found |= {name: value for name, value in own.items() if getattr(self, name) is None}
        return self.having(**found)

    def having(self, **values: Any) -> Point:
        """A copy with other values, which are not checked again."""
        other = copy(self)
        other._settle(**values)
        return other

    def replace(self, **values: Any) -> Point:
        """A copy with other values, checked as those of a new point.

        Weights are said once, so `weights` takes the place of `wbits` and `group_size`, and they of it; so
        does `prompt` of `context`. Raises SailsimError as a new point.
        """
        gone = {other for name in values for other in _IN_PLACE_OF.get(name, ())}
        if self.weights and values.keys() & {"wbits", "group_size"}:
            gone |= {"weights", "wbits", "group_size"}
        return Point(**{name: value for name, value in self.as_dict().items() if name not in gone} | values)

    def as_dict(self) -> dict[str, Any]:
        """The fields in their order, ready for JSON."""
        return {name: getattr(self, name) for name in _FIELDS}


_IN_PLACE_OF = {
    "weights": ("wbits", "group_size"),
    "phase": ("prompt",),
    "context": ("prompt",),
    "prompt": ("context",),
}
"""Field -> what it says too, whose old value goes with its own."""
_FIELDS = tuple(field.name for field in fields(Point))
DECLARED: Mapping[str, FieldInfo] = Point.__pydantic_fields__  # type: ignore[attr-defined]
"""What each field allows, and what is said of it."""
_VALIDATED: Any = Point.__init__


def _init(self: Point, **values: Any) -> None:
    """As pydantic makes a point, with what is wrong as one sentence."""
    try:
        _VALIDATED(self, **values)
    except ValidationError as error:
        raise _refusal(error) from None


Point.__init__ = _init  # type: ignore[method-assign]


def _refusal(error: ValidationError) -> SailsimError:
    """The first of pydantic's errors as a sentence of ours."""
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
            return SailsimError(f"{name} is {shown(first['input'])}; allowed are {', '.join(WORDS[name])}.")
        case "bool_type", _:
            return SailsimError(f"{name} is {shown(first['input'])}; allowed are true and false.")
    return SailsimError(f"{name} is {shown(first['input'])}; allowed is a name or a path.")


def _out_of_range(name: str, value: object) -> SailsimError:
    limits = next(each for each in DECLARED[name].metadata if isinstance(each, Interval))
    return SailsimError(f"{name} is {value!r}; allowed is a whole number {limits.ge}..{limits.le}.")


def _changed_at(path: str) -> int:
    """When a file, or the last of a model's folder, was changed, ns; 0 for what is none."""
    try:
        if path and Path(path).is_dir():
            from sailsim.workloads.model_files.folder_model import header_files  # of a folder's weights alone

            return max((file.stat().st_mtime_ns for file in header_files(path)), default=0)
        return Path(path).stat().st_mtime_ns
    except (OSError, ValueError):  # ValueError: a path with a character 0
        return 0


@lru_cache(maxsize=64)  # a model's file of formats takes 0.1 s to read, and a point asks several times
def _formats(weights: str, model: str, spec: ModelSpec, *changed_at: int) -> WeightFormat:
    """The chosen formats; read again when one of the files has changed."""
    return chosen_format(weights, model, spec)


# ---- Fields of machines that points set, as columns of a study's records ----------------------------------
# A point's own fields are columns anyway. What its `system` sets behind the name (`llc.slices`), and costs
# of operations that its `substrate` or its system sets (`pim.substrate.add`), have a column each, under the
# field's name, in every record of the study: where a point does not set the field, it holds what its machine
# has.
SUBSTRATE = "pim.substrate"
OPERATION = f"{SUBSTRATE}."
"""What the name of a cost of an operation begins with."""


class FieldColumn(NamedTuple):
    """A column of the records of a study."""

    name: str
    """A value of a system file, or `pim.substrate.<operation>`."""
    words: bool = False
    """Whether it holds text because some of its costs are no numbers, but polynomials."""


def set_fields(points: Iterable[Point]) -> tuple[FieldColumn, ...]:
    """The columns of a study of some points, in alphabetical order."""
    names: set[str] = set()
    every = {(point.system, point.substrate) for point in points}
    for system, substrate in every:
        names.update(SystemReference.parse(system).changes)
        if substrate is not None:
            names.update(OPERATION + each for each in SubstrateReference.parse(substrate).costs)
    words: set[str] = set()
    for each in every if _have_cost(names) else ():
        with suppress(SailsimError):  # nor has it any record
            words.update(name for name, cost in _costs(*each).items() if any(cost.coefficients[1:]))
    return tuple(FieldColumn(name, name in words) for name in sorted(names))


def set_values(fields: Sequence[FieldColumn], point: Point, system: System) -> dict[str, Any]:
    """What a point on its machine has in the columns; None where the machine has no such field."""
    if not fields:
        return {}
    values: dict[str, Any] = {name: leaf.value for name, leaf in leaves(system).items()}
    costs = _costs(system, point.substrate) if _have_cost(field.name for field in fields) else {}
    for name, words in fields:
        if name in costs:
            values[name] = str(costs[name]) if words else costs[name]()
    return {field.name: values.get(field.name) for field in fields}


def _have_cost(names: Iterable[str]) -> bool:
    return any(name.startswith(OPERATION) for name in names)


def _costs(system: System | str, substrate: str | None) -> Mapping[str, CycleCost]:
    """Of the operations of a point's arrays, which it names or its machine has, by their columns."""
    if substrate is None:
        pim = as_system(system).pim
        if pim is None:
            return {}
        substrate = str(pim.substrate.value)
    return {OPERATION + name: cost for name, cost in load_substrate(substrate).costs.items()}

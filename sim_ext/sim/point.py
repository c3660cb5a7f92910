"""One run: which machine does what."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, Literal, cast, get_args

import numpy as np

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.descriptor import ABITS_MAX, WBITS_MAX
from sailsim.sim.nbw import nbw_of
from sailsim.sim.substrate import settled_substrate
from sailsim.sim.system import System
from sailsim.sim.system_choice import settled_system
from sailsim.workloads.folder_model import header_files
from sailsim.workloads.formats import WeightFormat, uniform_format
from sailsim.workloads.load import chosen_format, require_model, weight_choice
from sailsim.workloads.model import KV_BITS, KV_WORDS, ModelSpec

Convert = Literal["memory", "unit", "cores"]
CONVERT: tuple[Convert, ...] = get_args(Convert)
"""Where sums become floating point."""

Phase = Literal["decode", "prefill"]
PHASES_OF_A_TEXT: tuple[Phase, ...] = get_args(Phase)
"""What a step does: a token for each sequence, or all of their prompts up to the first token."""

Attention = Literal["cores", "units"]
ATTENTION: tuple[Attention, ...] = get_args(Attention)
"""Who does the products of attention where there are units."""

NOT_SAID: Any = None
"""While a point is made, and in none that is made: of `wbits` and `group_size` what `weights` says, or the
default; of `prompt` and `context` what the other one says in prefill, or the default."""
DEFAULT_CONTEXT = 512

ADDED: Mapping[str, Any] = {
    **{"phase": "decode", "prompt": 0, "beyond_limit": False},
    **{"kv_bits": 0, "attention": "cores", "overlap": False},
}
"""Fields that came after the first studies were stored, and what the points of those had there."""

_SHOWN = 60
"""Letters of a refused value that a message has room for."""

SEEDS = 1 << 63
"""How many seeds there are."""

# field -> (least, most); what the descriptor can carry and what stays computable.
_RANGES = {
    "wbits": (1, WBITS_MAX),
    "abits": (1, ABITS_MAX),
    "group_size": (0, 65535),
    "batch": (1, 65535),
    "threads": (1, 4096),
    "prompt": (1, 1 << 24),
    "context": (1, 1 << 24),
    "seed": (0, SEEDS - 1),
}


def _check_range(name: str, value: object) -> None:
    """Raise SailsimError where a number is not one that a point's field can be."""
    least, most = _RANGES[name]
    if type(value) is not int or not least <= value <= most:
        raise SailsimError(f"{name} is {value!r}; allowed is a whole number {least}..{most}.")


@dataclass(frozen=True, kw_only=True)
class Point:
    """Inputs of one simulated step; hashable, and JSON-able by `as_dict`.

    `nbw`, `substrate` and `convert` may be None: then the system file decides (`resolved`). `nbw` "auto"
    is for each tensor the fastest that fits, and the number `PER_TENSOR` once the point is made. What the
    weights are is said once: by `weights` (docs/models.md: ``file``, ``4g32``, ``q4_k_m``, a policy's
    path), or as a uniform format by `wbits`, bits of a code, and `group_size`, weights along K that share
    a scale (0: all of K). Where nothing is said, a model's file has its own formats and any other model 4
    bits, 128 weights a scale. Once made, a uniform point has an empty `weights`, and every other one 0 as
    `wbits` and `group_size`. `system` is the name of a machine that ships or the path of its file, either
    with other values of its fields behind it ("sail-n1:llc.slices=16"); `substrate` likewise, with other
    costs of operations ("row_dfm:add=3").
    `activations` is the path of the capture that pattern counts come from; empty is the one that ships.
    A step of `phase` "decode" makes a token for each of `batch` sequences of `context` tokens, and its
    `prompt` is 0; one of "prefill" works on as many prompts of `prompt` tokens at once, up to the first token
    of an answer, and its `context` is the prompt. More tokens than the model was made for need
    `beyond_limit`. `kv_bits` is the width of keys and values in the cache (`ModelSpec.cached`); 0 is the
    model's own. With `attention` "units" the PIM units multiply queries and keys, probabilities and values
    (docs/decode.md). With `overlap` the batch is two halves: while the cores work for one, the units work
    for the other (docs/engine.md).

    Raises:
        SailsimError: one sentence that names the field, the value and what is allowed.
    """

    system: str = "sail-n1"
    model: str = "llama-2-7b"
    weights: str = ""
    wbits: int = NOT_SAID
    abits: int = 8
    nbw: int | Literal["auto"] | None = None
    group_size: int = NOT_SAID
    phase: Phase = "decode"
    prompt: int = NOT_SAID
    batch: int = 1
    threads: int = 16
    context: int = NOT_SAID
    beyond_limit: bool = False
    kv_bits: int = 0
    attention: Attention = "cores"
    overlap: bool = False
    substrate: str | None = None
    convert: Convert | None = None
    prt: bool = True
    seed: int = 0
    activations: str = ""

    def __post_init__(self) -> None:
        self._settle_types()
        require_model(self.model)
        try:
            object.__setattr__(self, "system", settled_system(self.system))
        except ValueError as error:
            raise SailsimError(f"system is {error}.") from None
        self._settle_weights()
        self._settle_tokens()
        if self.nbw is not None:
            object.__setattr__(self, "nbw", nbw_of(self.nbw))
        self._check_numbers()
        if self.substrate is not None:
            try:
                object.__setattr__(self, "substrate", settled_substrate(str(self.substrate)))
            except ValueError as error:
                raise SailsimError(f"substrate is {error}.") from None
        if self.convert is not None and self.convert not in CONVERT:
            raise SailsimError(f"convert is {self.convert!r}; allowed are {', '.join(CONVERT)}.")
        for name in ("prt", "beyond_limit", "overlap"):
            if not isinstance(getattr(self, name), bool):
                raise SailsimError(f"{name} is {getattr(self, name)!r}; allowed are true and false.")
        if self.overlap and (self.batch < 2 or self.phase == "prefill"):
            raise SailsimError(
                f"overlap is asked for beside a batch of {self.batch} in phase {self.phase}; allowed there "
                "is a batch of 2 or more in phase decode, which has two halves."
            )

    def _settle_types(self) -> None:
        """Have names as text, also of a `Path`, and NumPy's whole numbers as Python's.

        Raises SailsimError for a name that is something else, a machine that was read, say.
        """
        for name in ("system", "model", "activations", "weights"):
            value = getattr(self, name)
            if isinstance(value, PurePath):
                object.__setattr__(self, name, str(value))
            elif not isinstance(value, str):
                shown = repr(value)
                shown = shown if len(shown) <= _SHOWN else f"of the type {type(value).__name__}"
                raise SailsimError(f"{name} is {shown}; allowed is a name or a path.")
        for name in (*_RANGES, "kv_bits", "nbw"):
            value = getattr(self, name)
            if isinstance(value, np.integer):
                object.__setattr__(self, name, int(value))

    def _check_numbers(self) -> None:
        """Raise SailsimError for a number out of its range, and for a cache that units cannot attend to."""
        if type(self.kv_bits) is not int or self.kv_bits not in (0, *KV_BITS):
            raise SailsimError(
                f"kv_bits is {self.kv_bits!r}; allowed are {KV_WORDS}, and 0 for what the model has."
            )
        self._check_attention()
        for name in _RANGES:
            if self.weights and name in ("wbits", "group_size"):
                continue
            if self.phase == "decode" and name == "prompt":
                continue
            _check_range(name, getattr(self, name))

    def _check_attention(self) -> None:
        """Raise SailsimError for an unknown place of attention, and where the units lack whole numbers."""
        if self.attention not in ATTENTION:
            raise SailsimError(f"attention is {self.attention!r}; allowed are {', '.join(ATTENTION)}.")
        if self.attention == "cores":
            return
        if not 2 <= self.kv_bits <= WBITS_MAX:
            raise SailsimError(
                f"kv_bits is {self.kv_bits or 'not said'} beside attention on the units; allowed there is "
                f"2..{WBITS_MAX}: they multiply whole numbers."
            )

    def _settle_weights(self) -> None:
        """Have one of the two ways to say what the weights are, and nothing left unsaid."""
        settled = weight_choice(self.model, self.weights, self.wbits, self.group_size)._asdict()
        for name, value in settled.items():
            object.__setattr__(self, name, value)

    def _settle_tokens(self) -> None:
        """Have prompt and context say the same in prefill, and no prompt in decoding."""
        if self.phase not in PHASES_OF_A_TEXT:
            raise SailsimError(f"phase is {self.phase!r}; allowed are {', '.join(PHASES_OF_A_TEXT)}.")
        prompt, context = self.prompt, self.context
        if self.phase == "decode":
            if prompt is not NOT_SAID and prompt != 0:
                raise SailsimError(
                    f"prompt is {prompt!r} beside phase decode; allowed there is none: `context` says how "
                    "many tokens a sequence has, and phase prefill works on a prompt."
                )
            prompt, context = 0, DEFAULT_CONTEXT if context is NOT_SAID else context
        else:
            for name, value in (("prompt", prompt), ("context", context)):
                if value is not NOT_SAID:
                    _check_range(name, value)
            if prompt is NOT_SAID:
                prompt = DEFAULT_CONTEXT if context is NOT_SAID else context
            context = prompt if context is NOT_SAID else context
            if prompt != context:
                raise SailsimError(
                    f"context is {context!r} beside a prompt of {prompt!r}; allowed in phase prefill is one "
                    "of them, or one number for both: the cache has the prompt and nothing before it."
                )
        object.__setattr__(self, "prompt", prompt)
        object.__setattr__(self, "context", context)

    @property
    def tokens(self) -> int:
        """That a step works on: one of each sequence, or all of the prompts."""
        return self.batch if self.phase == "decode" else self.batch * self.prompt

    def prefilling(self) -> "Point":
        """The point with its context as the prompt."""
        return replace(self, phase="prefill", prompt=self.context)

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

    def resolved(self, system: System, model: ModelSpec | None = None) -> "Point":
        """The point with everything filled that `system` and `model` decide."""
        pim, kv_bits = system.pim, self.kv_bits or (model.kv_bits if model else 0)
        if (
            system.accelerator is not None
            or pim is None
            or None not in (self.nbw, self.substrate, self.convert)
        ):
            return self if kv_bits == self.kv_bits else _filled(self, None, None, None, kv_bits)
        convert = cast(Convert, pim.convert.value)
        return _filled(self, pim.default_nbw, str(pim.substrate.value), convert, kv_bits)

    def as_dict(self) -> dict[str, Any]:
        """The fields in their order, ready for JSON."""
        return {name: getattr(self, name) for name in _FIELDS}

    def question(self) -> dict[str, Any]:
        """`as_dict` without what says no more than points did before there was such a field (`ADDED`)."""
        said = self.as_dict()
        return {name: value for name, value in said.items() if name not in ADDED or value != ADDED[name]}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Point":
        """The point of `as_dict`; other keys are ignored, so a result's record will do."""
        return cls(**{f.name: record[f.name] for f in fields(cls) if f.name in record})


@lru_cache(maxsize=256)
def _filled(
    point: Point, nbw: int | None, substrate: str | None, convert: Convert | None, kv_bits: int
) -> Point:
    """The point with these where it does not say; machines that differ in other things share it."""
    return replace(
        point,
        nbw=point.nbw if point.nbw is not None else nbw,
        substrate=point.substrate or substrate,
        convert=point.convert or convert,
        kv_bits=kv_bits,
    )


_FIELDS = tuple(field.name for field in fields(Point))


def _changed_at(path: str) -> int:
    """When a file, or the last of a model's folder, was changed, ns; 0 for what is none."""
    try:
        if path and Path(path).is_dir():
            return max((file.stat().st_mtime_ns for file in header_files(path)), default=0)
        return Path(path).stat().st_mtime_ns
    except (OSError, ValueError):  # ValueError: a path with a character 0
        return 0


@lru_cache(maxsize=64)
def _formats(weights: str, model: str, spec: ModelSpec, *changed_at: int) -> WeightFormat:
    """The chosen formats; read again when one of the files has changed."""
    return chosen_format(weights, model, spec)

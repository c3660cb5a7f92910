"""A model by its name or its file, and the format that its weights are said to have.

A model is a shape that ships, a TOML file of a shape, a GGUF file, or a folder of safetensors. A choice of
weights is a word, as after ``--weights``:

- ``file``: the formats of the model's own GGUF file or folder, tensor by tensor;
- ``4`` or ``4g32``: codes of so many bits with one fp16 scale for 128, or for 32 weights (``4g0``: a column);
- ``q4_k_m``, ``q8_0``, ``mxfp4``, ...: a mix of llama.cpp's, or one type for every tensor;
- a path that ends in ``.toml``: a policy, patterns of tensor names and the format that each gets.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sailsim.base.arguments import A_PATH, check_type
from sailsim.base.errors import SailsimError
from sailsim.base.hints import did_you_mean
from sailsim.base.toml_file import read_toml
from sailsim.workloads.models.formats import (
    GGML_SOURCE,
    TENSOR_FORMATS,
    TensorFormat,
    WeightFormat,
    format_names,
    uniform_format,
    weight_format,
)
from sailsim.workloads.models.model import (
    Linear,
    ModelSpec,
    checked_table,
    has_own_formats,
    model_names,
    read_shape,
    shipped_model,
)

if TYPE_CHECKING:  # most models are shapes: what reads weights is loaded for a file of them
    from sailsim.workloads.model_files.folder_model import FolderModel
    from sailsim.workloads.model_files.gguf_model import GgufModel


def opened(name_or_path: str | Path) -> GgufModel | FolderModel | None:
    """What has formats of its own behind a model argument: a GGUF file or a folder; None for every other."""
    path = Path(name_or_path)
    if not has_own_formats(name_or_path):
        return None
    if path.is_dir():
        from sailsim.workloads.model_files.folder_model import open_folder

        return open_folder(path)
    if not path.exists():
        return None
    from sailsim.workloads.model_files.gguf_model import open_gguf

    return open_gguf(path)


def load_model(name_or_path: str | Path) -> ModelSpec:
    """A shipped model by name, or the model of a GGUF or TOML file, or of a folder of safetensors, by path.

    Raises SailsimError for an unknown name and for a file that is damaged or of an unsupported kind.
    """
    check_type("name_or_path", name_or_path, A_PATH, "is a name or a path")
    name = str(name_or_path)
    if name in model_names():
        return shipped_model(name)
    path = Path(name_or_path)
    require_model(name)
    if path.suffix == ".toml":
        return read_shape(path)
    file = opened(path)
    assert file is not None
    return file.spec


def require_model(name: str) -> None:
    """Raise SailsimError where a model argument is neither a model that ships nor a path that there is."""
    names = model_names()
    if name not in names and not (name and Path(name).exists()):
        raise SailsimError(
            f"model is {name!r}{did_you_mean(name, names)}; allowed is a path of a GGUF or TOML file, of a "
            f"folder with config.json and safetensors files, or one of {', '.join(names)}."
        )


FILE = "file"
"""The choice of the formats that the model's own file has."""
WBITS = 4
"""Bits of a code where nothing is said and the model has no formats of its own."""
GROUP_SIZE = 128
"""Weights that share a scale where a uniform choice does not say."""


def uniform_choice(choice: str) -> tuple[int, int] | None:
    """Bits and weights a scale of a choice such as ``4`` or ``4g32``; None for every other choice."""
    match = re.fullmatch(r"(\d+)(?:g(\d+))?", choice)
    if match is None:
        return None
    return int(match[1]), GROUP_SIZE if match[2] is None else int(match[2])


class WeightChoice(NamedTuple):
    """What is said of a model's weights: by a word, `weights`, or by the two numbers of a uniform format.

    With a word the numbers are 0; without one it is empty.
    """

    weights: str
    wbits: int
    group_size: int

    def format(self, model: str, spec: ModelSpec) -> WeightFormat:
        """The format that this gives the model of an argument, with that model's shapes."""
        if self.weights:
            return chosen_format(self.weights, model, spec)
        return uniform_format(self.wbits, self.group_size)


def weight_choice(
    model: str, weights: str = "", wbits: int | None = None, group_size: int | None = None
) -> WeightChoice:
    """What the weights are, given once, of what may be given in two ways or left out (None, or empty).

    Where nothing is given, a model's file has its own formats, and any other model 4 bits and 128 weights a
    scale.

    Raises:
        SailsimError: both are given.
    """
    given = {"wbits": wbits, "group_size": group_size}
    given = {name: value for name, value in given.items() if value is not None}
    if not weights and not given and has_own_formats(model):
        weights = FILE
    # 0 and 0 are those of a choice that was settled before.
    other = next((name for name, value in given.items() if value), None)
    if weights and other:
        raise SailsimError(
            f"weights is {weights!r} and {other} is {given[other]!r}; allowed is one of the two."
        )
    uniform = uniform_choice(weights)
    if weights and uniform is None:
        return WeightChoice(weights, 0, 0)
    if uniform is None:
        uniform = WBITS if wbits is None else wbits, GROUP_SIZE if group_size is None else group_size
    return WeightChoice("", *uniform)


def chosen_format(choice: str, model: str, spec: ModelSpec) -> WeightFormat:
    """The format that a choice gives a model.

    Args:
        choice: as the module says.
        model: the model argument, whose file the choice ``file`` reads.
        spec: that model's shapes.

    Raises:
        SailsimError: an unknown choice, ``file`` for a model without one, or a policy that is damaged, names
            an unknown format, or has a pattern that matches no tensor.
    """
    uniform = uniform_choice(choice)
    if uniform is not None:
        return uniform_format(*uniform)
    if choice == FILE:
        return _of_file(model)
    if Path(choice).suffix == ".toml":
        return _policy(Path(choice), model, spec)
    if choice.lower() in format_names():
        return weight_format(choice)
    if choice.lower() in TENSOR_FORMATS:
        return WeightFormat(choice.lower(), TENSOR_FORMATS[choice.lower()], GGML_SOURCE)
    raise SailsimError(
        f"weights is {choice!r}; allowed are {FILE}, bits such as 4 or 4g32, a policy's .toml file, or one "
        f"of {', '.join(sorted({*format_names(), *TENSOR_FORMATS}))}."
    )


def _of_file(model: str) -> WeightFormat:
    stored = opened(model)
    if stored is None:
        raise SailsimError(
            f"weights is {FILE!r}, but model {model} is no GGUF file or folder with formats of its own; "
            "allowed for it are bits such as 4g128, a format of llama.cpp such as q4_k_m, or a policy."
        )
    return stored.format


def _policy(path: Path, model: str, spec: ModelSpec) -> WeightFormat:
    """The formats that a policy file gives every tensor of a model; the first pattern that matches counts."""
    table = _read_policy(path)

    def named(field: str, choice: str) -> WeightFormat:
        try:
            return chosen_format(choice, model, spec)
        except SailsimError as error:
            raise SailsimError(f"policy {path}: {field} is {choice!r}: {error}") from None

    default = named("default", str(table["default"]))
    patterns: dict[str, str] = table["tensors"]
    matched: set[str] = set()
    linears = [*spec.linears()]
    embedding = Linear("token_embd", "head", spec.d_model, spec.vocab, -1)
    if not spec.tied_embeddings:
        linears.append(embedding)

    def of(linear: Linear) -> TensorFormat:
        for pattern, choice in patterns.items():
            if fnmatchcase(linear.name, pattern):
                matched.add(pattern)
                chosen = named(f"tensors {pattern!r}", choice)
                return chosen.embedding(spec) if linear is embedding else chosen.tensor(linear, spec)
        return default.embedding(spec) if linear is embedding else default.tensor(linear, spec)

    tensors = {linear.name: of(linear) for linear in linears}
    unused = [pattern for pattern in patterns if pattern not in matched]
    if unused:
        raise SailsimError(
            f"policy {path}: pattern {unused[0]!r} matches no tensor of {spec.name} that an earlier pattern "
            f"does not; its tensors are named as {linears[0].name} and {spec.head.name}."
        )
    source = f"policy {path.name}: {table['source']}"
    return WeightFormat.of_tensors(str(table["name"]), source, tensors, spec.linears())


def _read_policy(path: Path) -> dict[str, Any]:
    where, texts = f"policy {path}", ("name", "source", "default")
    kinds = dict.fromkeys(texts, str) | {"tensors": dict}
    table = {"tensors": {}} | checked_table(where, read_toml(path, "policy"), kinds, texts)
    chosen = checked_table(f"{where}: tensors", table["tensors"], dict.fromkeys(table["tensors"], str))
    for name in texts:
        if not table[name].strip():
            raise SailsimError(f"{where}: {name} is {table[name]!r}; allowed is a text that is not empty.")
    if any(choice.endswith(".toml") for choice in (table["default"], *chosen.values())):
        raise SailsimError(f"{where} names another policy; allowed are formats.")
    return table

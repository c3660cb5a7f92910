"""Models by name or file, and the formats chosen for their weights.

A model is a shipped shape, a TOML file of a shape, a GGUF file, or a folder of safetensors. A choice of
weights is a word, as for ``--weights``:

- ``file``: the formats of the model's own GGUF file or folder, tensor by tensor;
- ``4`` or ``4g32``: 4-bit codes with one fp16 scale for 128, or for 32 weights (``4g0``: for a column);
- ``q4_k_m``, ``q8_0``, ``mxfp4``, ...: a mix of llama.cpp, or one type for every tensor;
- a path that ends in ``.toml``: a policy, patterns of tensor names and the format that each gets.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sailsim.base.arguments import PATH_TYPES, check_type
from sailsim.base.errors import SailsimError
from sailsim.base.hints import did_you_mean
from sailsim.base.toml_file import read_toml
from sailsim.workloads.models import formats
from sailsim.workloads.models.formats import TensorFormat, WeightFormat
from sailsim.workloads.models.model import (
    Linear,
    ModelSpec,
    checked_table,
    has_own_formats,
    model_names,
    read_shape,
    shipped_model,
)

if TYPE_CHECKING:  # most models are shapes: readers of weights are imported when a file needs them
    from sailsim.workloads.model_files.folder_model import FolderModel
    from sailsim.workloads.model_files.gguf_model import GgufModel


def open_model_file(name_or_path: str | Path) -> GgufModel | FolderModel | None:
    """Open the GGUF file or folder of a model argument; None for models without formats of their own."""
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
    """Load a shipped model by name, or one of a GGUF or TOML file or a folder of safetensors by path.

    Raises SailsimError for an unknown name and for a file that is damaged or of an unsupported kind.
    """
    check_type("name_or_path", name_or_path, PATH_TYPES, "is a name or a path")
    name = str(name_or_path)
    if name in model_names():
        return shipped_model(name)
    path = Path(name_or_path)
    require_model(name)
    if path.suffix == ".toml":
        return read_shape(path)
    file = open_model_file(path)
    assert file is not None
    return file.spec


def require_model(name: str) -> None:
    """Raise SailsimError if a model argument is neither a shipped model nor an existing path."""
    names = model_names()
    if name not in names and not (name and Path(name).exists()):
        raise SailsimError(
            f"model is {name!r}{did_you_mean(name, names)}; allowed is a path of a GGUF or TOML file, of a "
            f"folder with config.json and safetensors files, or one of {', '.join(names)}."
        )


FILE = "file"
"""Choice of the formats in the model's own file."""
WBITS = 4
"""Default bits of a code, for a model without formats of its own."""
GROUP_SIZE = 128
"""Default number of weights that share a scale, for a uniform choice."""


def uniform_choice(choice: str) -> tuple[int, int] | None:
    """Bits, and weights per scale, of a choice such as ``4`` or ``4g32``; None for any other choice."""
    match = re.fullmatch(r"(\d+)(?:g(\d+))?", choice)
    if match is None:
        return None
    return int(match[1]), GROUP_SIZE if match[2] is None else int(match[2])


class WeightChoice(NamedTuple):
    """Choice of a model's weight formats: a word, `weights`, or the two numbers of a uniform format.

    With a word the numbers are 0; with numbers the word is empty.
    """

    weights: str
    wbits: int
    group_size: int

    def format(self, model: str, spec: ModelSpec) -> WeightFormat:
        """Format that the choice gives a model argument with these shapes."""
        if self.weights:
            return chosen_format(self.weights, model, spec)
        return formats.uniform_format(self.wbits, self.group_size)


def weight_choice(
    model: str, weights: str = "", wbits: int | None = None, group_size: int | None = None
) -> WeightChoice:
    """Settle the choice of weights, which is given as a word or as two numbers, or left out (empty, or None).

    The default is the formats of a model's own file, and 4 bits with 128 weights per scale for other models.

    Raises:
        SailsimError: both are given.
    """
    numbers = {"wbits": wbits, "group_size": group_size}
    if not weights and set(numbers.values()) == {None} and has_own_formats(model):
        weights = FILE
    # 0 and 0 are the numbers of an earlier choice of a word.
    number = next((name for name, value in numbers.items() if value), None)
    if weights and number:
        raise SailsimError(
            f"weights is {weights!r} and {number} is {numbers[number]!r}; allowed is one of the two."
        )
    uniform = uniform_choice(weights)
    if weights and uniform is None:
        return WeightChoice(weights, 0, 0)
    if uniform is None:
        uniform = WBITS if wbits is None else wbits, GROUP_SIZE if group_size is None else group_size
    return WeightChoice("", *uniform)


def chosen_format(choice: str, model: str, spec: ModelSpec) -> WeightFormat:
    """Format that a choice gives a model.

    Args:
        choice: a word (see the module).
        model: the model argument, whose file the choice ``file`` reads.
        spec: that model's shapes.

    Raises:
        SailsimError: an unknown choice, ``file`` for a model without one, or a policy that is damaged, names
            an unknown format, or has a pattern that matches no tensor.
    """
    uniform = uniform_choice(choice)
    if uniform is not None:
        return formats.uniform_format(*uniform)
    if choice == FILE:
        file = open_model_file(model)
        if file is None:
            raise SailsimError(
                f"weights is {FILE!r}, but model {model} is no GGUF file or folder with formats of its own; "
                "allowed for it are bits such as 4g128, a format of llama.cpp such as q4_k_m, or a policy."
            )
        return file.format
    if Path(choice).suffix == ".toml":
        return _policy(Path(choice), model, spec)
    if choice.lower() in formats.format_names():
        return formats.weight_format(choice)
    if choice.lower() in formats.TENSOR_FORMATS:
        return WeightFormat(choice.lower(), formats.TENSOR_FORMATS[choice.lower()], formats.GGML_SOURCE)
    raise SailsimError(
        f"weights is {choice!r}; allowed are {FILE}, bits such as 4 or 4g32, a policy's .toml file, or one "
        f"of {', '.join(sorted({*formats.format_names(), *formats.TENSOR_FORMATS}))}."
    )


def _policy(path: Path, model: str, spec: ModelSpec) -> WeightFormat:
    """Formats that a policy file gives every tensor of a model; the first matching pattern counts."""
    table = _read_policy(path)

    def chosen(field: str, choice: str) -> WeightFormat:
        try:
            return chosen_format(choice, model, spec)
        except SailsimError as error:
            raise SailsimError(f"policy {path}: {field} is {choice!r}: {error}") from None

    default = chosen("default", str(table["default"]))
    patterns: dict[str, str] = table["tensors"]
    matched: set[str] = set()
    linears = [*spec.linears()]
    embedding = Linear("token_embd", "head", spec.d_model, spec.vocab, -1)
    if not spec.tied_embeddings:
        linears.append(embedding)

    tensors: dict[str, TensorFormat] = {}
    for linear in linears:
        pattern = next((pattern for pattern in patterns if fnmatchcase(linear.name, pattern)), None)
        fmt = default
        if pattern is not None:
            matched.add(pattern)
            fmt = chosen(f"tensors {pattern!r}", patterns[pattern])
        tensors[linear.name] = fmt.embedding(spec) if linear is embedding else fmt.tensor(linear, spec)
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

"""A GGUF file of a decoder as a model: its shapes, and the format of every tensor."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sailsim.base.errors import SailsimError
from sailsim.workloads.formats import GGML_SOURCE, TENSOR_FORMATS, TensorFormat, WeightFormat
from sailsim.workloads.gguf_file import GgufFile, TensorInfo
from sailsim.workloads.model import ModelSpec
from sailsim.workloads.shape_file import has_own_formats, model_names
from sailsim.workloads.shapes import PERIODS, Facts, Header, decoder


@dataclass(frozen=True)
class GgufModel:
    """A model file: its shapes, its tensors' formats and the file itself."""

    file: GgufFile
    spec: ModelSpec
    format: WeightFormat

    @property
    def stored(self) -> tuple[TensorInfo, ...]:
        """The tensors of the file."""
        return tuple(self.file.tensors.values())


def open_gguf(path: str | Path) -> GgufModel:
    """Reads the header of a GGUF file of a decoder, whatever its architecture is called (`shapes`).

    No weight is read, and no scale: those of a tensor are looked at by what reads it (`GgufFile.raw`).
    Raises SailsimError for a damaged header, for tensors that are not those of such a decoder, and for a
    folder or a shape that ships, neither of whose weights anybody reads.
    """
    if Path(path).is_dir():
        raise _unread_folder(path)
    if str(path) in model_names() and not Path(path).exists():
        raise SailsimError(
            f"model {path}: it ships as shapes, without weights; allowed here is the path of a GGUF file."
        )
    file = GgufFile(path)
    spec = _spec(file)
    return GgufModel(file, spec, _format(file, spec))


def stored_model(name_or_path: str | Path) -> GgufModel | None:
    """The GGUF file behind a model argument; None for a shipped name, a TOML file and what does not exist.

    Raises SailsimError for a folder, too, whose weights nobody reads.
    """
    path = Path(name_or_path)
    if not has_own_formats(name_or_path):
        return None
    if path.is_dir():
        raise _unread_folder(path)
    return open_gguf(path) if path.exists() else None


def _unread_folder(path: str | Path) -> SailsimError:
    return SailsimError(
        f"model folder {path}: only its headers are read, not its weights; allowed here is a GGUF file, or "
        "a model without weights."
    )


def _require_whole(file: GgufFile) -> None:
    """Raise for one part of a model that was split into several files."""
    count, part = (file.get(f"split.{key}") for key in ("count", "no"))
    if type(count) is int and count > 1:
        number = part + 1 if type(part) is int else "one"
        raise SailsimError(
            f"GGUF file {file.path}: it is part {number} of {count} of a split model (split.count); allowed "
            "is a whole one, which llama.cpp's llama-gguf-split --merge makes of the parts."
        )


def _spec(file: GgufFile) -> ModelSpec:
    _require_whole(file)
    arch = file.get("general.architecture")
    if not isinstance(arch, str) or not re.fullmatch(r"[\w.-]{1,64}", arch):
        raise SailsimError(
            f"GGUF file {file.path}: general.architecture is {repr(arch)[:80]}; allowed is a name, with "
            "which other keys begin."
        )
    if file.get(f"{arch}.attention.causal", True) is not True:
        raise SailsimError(
            f"GGUF file {file.path}: {arch}.attention.causal is {file.get(f'{arch}.attention.causal')!r}; "
            "allowed is true, a decoder."
        )
    title = file.get("general.name")
    header = Header(
        where=f"GGUF file {file.path}",
        name=file.path.stem,
        title=title if isinstance(title, str) and title else file.path.stem,
        source=f"GGUF file {file.path.name}",
        tensors={name: info.shape for name, info in file.tensors.items()},
        elements=sum(info.n_elements for info in file.tensors.values()),
        facts=_facts(file, arch),
    )
    spec = decoder(header)
    for key, value in (("embedding_length", spec.d_model), ("expert_count", _count(spec))):
        said = _uniform(file, f"{arch}.{key}", value)
        if said != value:
            raise SailsimError(
                f"GGUF file {file.path}: {arch}.{key} is {said}; allowed is {value}, as its tensors have."
            )
    return spec


def _count(spec: ModelSpec) -> int:
    return spec.experts.count if spec.experts else 0


def _facts(file: GgufFile, arch: str) -> Facts:
    """What the header says that no shape does."""

    def said(key: str) -> int | None:
        key = f"{arch}.{key}"
        return _uniform(file, key) if key in file else None

    heads = _uniform(file, f"{arch}.attention.head_count")
    window = said("attention.sliding_window") or 0
    windowed = _windowed(file, f"{arch}.attention.sliding_window_pattern", arch) if window else None
    return Facts(
        n_heads=heads,
        n_kv_heads=said("attention.head_count_kv"),
        head_dim=said("attention.key_length"),
        value_dim=said("attention.value_length"),
        n_layers=said("block_count"),
        experts_used=said("expert_used_count"),
        window=window,
        max_context=said("context_length") or 0,
        windowed=windowed,
        architecture=arch,
    )


def _windowed(file: GgufFile, key: str, arch: str) -> int | list[bool] | None:
    """Which blocks have the window, as `Facts.windowed`."""
    pattern = file.get(key, PERIODS.get(arch))
    if isinstance(pattern, list) and all(type(has) in (bool, int) for has in pattern):
        return [bool(has) for has in pattern]
    if pattern is None or (type(pattern) is int and pattern >= 0):
        return pattern
    raise SailsimError(
        f"GGUF file {file.path}: {key} is {repr(pattern)[:80]}; allowed is a number of blocks, or a truth "
        "value for each."
    )


def _uniform(file: GgufFile, key: str, default: int | None = None) -> int:
    """A whole number, which a file may give for every block as long as it is the same for all."""
    value = file.get(key)
    if isinstance(value, list):
        if value and type(value[0]) is int and value.count(value[0]) == len(value):
            return value[0]
        raise SailsimError(
            f"GGUF file {file.path}: {key} differs between blocks; allowed is one number for all of them."
        )
    return file.integer(key, default)


def _format(file: GgufFile, spec: ModelSpec) -> WeightFormat:
    linears = spec.linears()
    tensors = {linear.name: _tensor_format(file, file.tensors[f"{linear.name}.weight"]) for linear in linears}
    tensors["token_embd"] = _tensor_format(file, file.tensors["token_embd.weight"])
    source = f"GGUF file {file.path.name}; {GGML_SOURCE}"
    return WeightFormat.of_tensors(file.path.stem, source, tensors, linears)


def _tensor_format(file: GgufFile, info: TensorInfo) -> TensorFormat:
    if info.type not in TENSOR_FORMATS:
        raise SailsimError(
            f"GGUF file {file.path}: the type of {info.name} is {info.type!r}; allowed is one of "
            f"{', '.join(TENSOR_FORMATS)}."
        )
    return TENSOR_FORMATS[info.type]


def tensor_bytes(model: GgufModel) -> Mapping[str, int]:
    """Stored bytes of every tensor by its name in the file."""
    return {name: info.n_bytes for name, info in model.file.tensors.items()}

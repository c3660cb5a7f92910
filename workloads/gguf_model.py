"""A GGUF file of a dense decoder as a model: its shapes, and the format of every tensor."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sailsim.base.errors import SailsimError
from sailsim.workloads.formats import GGML_SOURCE, TENSOR_FORMATS, TensorFormat, WeightFormat
from sailsim.workloads.gguf_file import GgufFile, TensorInfo
from sailsim.workloads.model import ModelSpec, model_names

ARCHITECTURES = ("llama", "gemma", "phi3", "qwen2")


@dataclass(frozen=True)
class GgufModel:
    """A model file: its shapes, its tensors' formats and the file itself."""

    file: GgufFile
    spec: ModelSpec
    format: WeightFormat


def open_gguf(path: str | Path) -> GgufModel:
    """Reads the header of a GGUF file of a dense decoder (llama, gemma, phi3 or qwen2 architecture).

    Raises SailsimError for a damaged file, another architecture, or tensors that do not fit the shapes.
    """
    file = GgufFile(path)
    spec = _spec(file)
    formats = _format(file, spec)
    _require_numbers(file)
    return GgufModel(file, spec, formats)


_SOUND: dict[Path, tuple[int, int]] = {}
"""Files whose numbers have been looked at: their size, and when they were changed."""


def _require_numbers(file: GgufFile) -> None:
    """Looks at the numbers of a file once as long as it stays the same."""
    path, status = file.path.resolve(), file.path.stat()
    state = (status.st_size, status.st_mtime_ns)
    if _SOUND.get(path) != state:
        file.require_numbers()
        _SOUND[path] = state


def stored_model(name_or_path: str | Path) -> GgufModel | None:
    """The GGUF file behind a model argument; None for a shipped name, a TOML file and what does not exist."""
    path = Path(name_or_path)
    if str(name_or_path) in model_names() or path.suffix == ".toml" or not path.is_file():
        return None
    return open_gguf(path)


def _spec(file: GgufFile) -> ModelSpec:
    arch = file.get("general.architecture")
    if arch not in ARCHITECTURES:
        raise SailsimError(
            f"GGUF file {file.path}: general.architecture is {arch!r}; allowed is {', '.join(ARCHITECTURES)}."
        )
    if file.integer(f"{arch}.expert_count", 0):
        raise SailsimError(
            f"GGUF file {file.path}: {arch}.expert_count is {file.integer(f'{arch}.expert_count')}; "
            f"allowed is 0 (dense models)."
        )
    d_model = file.integer(f"{arch}.embedding_length")
    n_heads = file.integer(f"{arch}.attention.head_count")
    if n_heads < 1:
        raise SailsimError(
            f"GGUF file {file.path}: {arch}.attention.head_count is {n_heads}; allowed is 1 or more."
        )
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise SailsimError(
            f"GGUF file {file.path}: token_embd.weight is no matrix; a model of this kind needs it."
        )
    n_layers = file.integer(f"{arch}.block_count")
    if n_layers > len(file.tensors):
        raise SailsimError(
            f"GGUF file {file.path}: {arch}.block_count is {n_layers}; allowed is at most the "
            f"{len(file.tensors)} tensors of the file."
        )
    name = file.get("general.name")
    spec = ModelSpec(
        name=file.path.stem,
        title=name if isinstance(name, str) and name else file.path.stem,
        source=f"GGUF file {file.path.name}",
        n_layers=n_layers,
        d_model=d_model,
        n_heads=n_heads,
        n_kv_heads=file.integer(f"{arch}.attention.head_count_kv", n_heads),
        head_dim=file.integer(f"{arch}.attention.key_length", d_model // n_heads),
        d_ffn=file.integer(f"{arch}.feed_forward_length"),
        vocab=embedding.shape[1],
        tied_embeddings="output.weight" not in file.tensors,
        fused_projections="blk.0.attn_qkv.weight" in file.tensors,
    )
    stored = sum(tensor.n_elements for tensor in file.tensors.values())
    extra = stored - spec.n_params
    if extra < 0:
        raise SailsimError(
            f"GGUF file {file.path}: its tensors have {stored} elements; a model of its shapes "
            f"needs {spec.n_params}."
        )
    return replace(spec, extra_params=extra)


def _format(file: GgufFile, spec: ModelSpec) -> WeightFormat:
    tensors: dict[str, TensorFormat] = {}
    for linear in spec.linears():
        info = file.tensors.get(f"{linear.name}.weight")
        if info is None or info.shape != (linear.k, linear.n):
            raise SailsimError(
                f"GGUF file {file.path}: the shape of {linear.name}.weight is "
                f"{info.shape if info else 'absent'}; allowed is {(linear.k, linear.n)} by the header."
            )
        tensors[linear.name] = _tensor_format(file, info)
    tensors["token_embd"] = _tensor_format(file, file.tensors["token_embd.weight"])
    source = f"GGUF file {file.path.name}; {GGML_SOURCE}"
    return WeightFormat.of_tensors(file.path.stem, source, tensors, spec.linears())


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

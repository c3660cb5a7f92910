"""A Hugging Face folder of a decoder as a model: `config.json` and the headers of its safetensors files.

No weight is read here (`folder_weights` does, for traces). Floats, MXFP4 of experts, and the group-quantized
layouts of GPTQ and AWQ give the format of each matrix; everything else is refused by the name of its tensor.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.workloads.folder_config import QUANTIZE, FolderConfig
from sailsim.workloads.folder_names import LEFT_OUT, named
from sailsim.workloads.folder_tensors import matrices
from sailsim.workloads.formats import WeightFormat
from sailsim.workloads.model import ModelSpec
from sailsim.workloads.safetensors_file import MAX_TENSORS, SafeTensor, read_json, safe_tensors, shown
from sailsim.workloads.shapes import Header, decoder

CONFIG, INDEX, SINGLE = "config.json", "model.safetensors.index.json", "model.safetensors"

MAX_SHARDS = 1 << 12


@dataclass(frozen=True)
class FolderModel:
    """A model folder: its shapes, its matrices' formats, and its tensors as they are stored.

    ``zero_less_one``: what GPTQ stores of a zero point is one less than it.
    """

    path: Path
    spec: ModelSpec
    format: WeightFormat
    stored: tuple[SafeTensor, ...]
    zero_less_one: bool = False

    def parts(self, layer: str) -> dict[str, SafeTensor]:
        """The tensors of a layer that is not an expert's, by its name in `spec` and their parts of it."""
        found = (each for each in named(self.stored) if each.layer == layer and each.expert is None)
        return {each.part: each.tensor for each in found}


def header_files(path: str | Path) -> list[Path]:
    """What a folder's model is read from, those that are there."""
    names = (CONFIG, INDEX, QUANTIZE)
    return sorted(
        file for file in Path(path).iterdir() if file.name in names or file.suffix == ".safetensors"
    )


def open_folder(path: str | Path) -> FolderModel:
    """Reads the headers of a folder, again when one of its files has changed.

    Raises SailsimError for a damaged or missing file, and for tensors that are not those of a decoder.
    """
    folder = Path(path)
    try:
        states = [(file.name, file.stat()) for file in header_files(folder)]
    except OSError as error:
        raise SailsimError(
            f"model folder {folder} cannot be read ({error}); allowed are readable files."
        ) from error
    return _opened(folder, tuple((name, state.st_size, state.st_mtime_ns) for name, state in states))


@lru_cache(maxsize=8)
def _opened(folder: Path, files: tuple[tuple[str, int, int], ...]) -> FolderModel:
    where, there = f"model folder {folder}", [name for name, _, _ in files]
    if CONFIG not in there:
        raise SailsimError(f"{where} has no {CONFIG}; allowed is a folder of a model with safetensors files.")
    config = FolderConfig.of(where, read_json(folder / CONFIG))
    stored = _stored(folder, where, there)
    grouped = config.grouped(read_json(folder / QUANTIZE) if QUANTIZE in there else None)
    own = named(stored)
    found = matrices(where, own, grouped)
    if config.truth("tie_word_embeddings", False) and "output" in found.formats:
        found.drop("output")
    notes = []
    if len(own) < len(stored):
        ends = ", ".join(
            sorted({name.rstrip(".") for name in LEFT_OUT if any(name in t.name for t in stored)})
        )
        notes.append(f"Left out, as it is no part of the decoder: {ends}.")
    if grouped is not None and grouped.reordered:
        notes.append(
            "Weights were quantized in an order of their inputs (desc_act): putting inputs into it is not "
            "counted."
        )
    name = folder.resolve().name
    spec = decoder(
        Header(
            where=where,
            name=name,
            title=name,
            source=f"model folder {name}, {CONFIG} and headers of safetensors",
            tensors=found.shapes,
            elements=found.elements,
            facts=config.facts(tuple(notes)),
            called=found.called,
        )
    )
    linears = spec.linears()
    formats = {linear.name: found.formats[linear.name] for linear in linears}
    formats["token_embd"] = found.formats["token_embd"]
    source = f"model folder {name}, headers of safetensors"
    return FolderModel(
        folder,
        spec,
        WeightFormat.of_tensors(name, source, formats, linears),
        tuple(stored),
        grouped is not None and grouped.zero_less_one,
    )


def _stored(folder: Path, where: str, there: list[str]) -> list[SafeTensor]:
    """All tensors of a folder's files: those of its index, or of its only file."""
    if INDEX in there:
        return _by_index(folder, where, read_json(folder / INDEX))
    files = [name for name in there if name.endswith(".safetensors")]
    if SINGLE in files:
        files = [SINGLE]
    if len(files) != 1:
        raise SailsimError(
            f"{where} has {len(files)} safetensors files and no {INDEX}; allowed is one file, or an index "
            "of them."
        )
    return list(safe_tensors(folder / files[0]).values())


def _by_index(folder: Path, where: str, index: dict[str, Any]) -> list[SafeTensor]:
    """The tensors of an index, each from the file that it names."""
    places = index.get("weight_map")
    if not isinstance(places, dict) or not places or len(places) > MAX_TENSORS:
        raise SailsimError(
            f"{where}: weight_map of {INDEX} is no table of 1..{MAX_TENSORS} tensors; allowed is one."
        )
    files: dict[str, None] = {}
    for name, file in places.items():
        if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
            raise SailsimError(
                f"{where}: {INDEX} has {shown(name)} in {shown(repr(file))}; allowed is a safetensors file "
                "of the folder."
            )
        files[file] = None
    if len(files) > MAX_SHARDS:
        raise SailsimError(f"{where}: {INDEX} names {len(files)} files; allowed are {MAX_SHARDS}.")
    stored = {file: safe_tensors(folder / file) for file in files}
    for name, file in places.items():
        if name not in stored[file]:
            raise SailsimError(
                f"{where}: {INDEX} has {shown(name)} in {file}, which does not have it; allowed is a file "
                "with it."
            )
    return [stored[file][name] for name, file in places.items()]

"""A Hugging Face folder of a decoder as a model: `config.json` and the headers of its safetensors files.

No weight is read here (`folder_weights` does, for traces). Floats, MXFP4 of experts, and the group-quantized
layouts of GPTQ and AWQ give the format of each matrix; everything else is refused by the name of its tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.workloads.folder_tensors import LEFT_OUT, Grouped, matrices, named
from sailsim.workloads.formats import BITS, WeightFormat
from sailsim.workloads.model import ModelSpec
from sailsim.workloads.safetensors_file import MAX_TENSORS, SafeTensor, read_json, safe_tensors, shown
from sailsim.workloads.shapes import PERIODS, Facts, Header, decoder

QUANTIZE = "quantize_config.json"
"""The file of older folders that says how weights are quantized."""

_WINDOWED = {"sliding_attention": True, "full_attention": False}


@dataclass(frozen=True)
class FolderConfig:
    """The tables of a configuration: of the text model, and the whole one around it."""

    where: str
    text: dict[str, Any]
    whole: dict[str, Any]

    @classmethod
    def of(cls, where: str, table: dict[str, Any]) -> FolderConfig:
        """Of a file's table, whose text model may have one of its own."""
        text = next((table[key] for key in ("text_config", "llm_config") if key in table), table)
        if not isinstance(text, dict):
            raise SailsimError(
                f"{where}: text_config of config.json is {shown(repr(text))}; allowed is a table."
            )
        found = cls(where, text, table)
        if found.truth("is_encoder_decoder", False):
            raise SailsimError(f"{where}: is_encoder_decoder is true; allowed is false, a decoder.")
        return found

    def truth(self, key: str, default: bool) -> bool:
        """A truth value of the text model or of the whole."""
        value = self.text.get(key, self.whole.get(key, default))
        if value is not None and not isinstance(value, bool):
            raise self._refuse(key, value, "true or false")
        return default if value is None else value

    def _number(self, *keys: str, least: int = 1) -> int | None:
        """The first of some whole numbers that is there."""
        for key in keys:
            value = self.text.get(key)
            if value is None:
                continue
            if type(value) is not int or not least <= value < 1 << 31:
                raise self._refuse(key, value, f"a whole number {least}..{(1 << 31) - 1}")
            return value
        return None

    def _refuse(self, key: str, value: object, allowed: str) -> SailsimError:
        return self._refuse_in("config.json", key, value, allowed)

    def _refuse_in(self, file: str, key: str, value: object, allowed: str) -> SailsimError:
        return SailsimError(f"{self.where}: {key} of {file} is {shown(repr(value))}; allowed is {allowed}.")

    def facts(self, notes: tuple[str, ...]) -> Facts:
        """Heads, experts, windows, and how many tokens it was made for."""
        kv_heads = self._number("num_key_value_heads", "num_kv_heads")
        if "multi_query" in self.text and not self.truth("new_decoder_architecture", False):
            kv_heads = (
                1 if self.truth("multi_query", False) else self._number("n_head", "num_attention_heads")
            )
        window = self._number("sliding_window", least=0) or 0
        if not self.truth("use_sliding_window", True):
            window = 0
        return Facts(
            n_heads=self._number("num_attention_heads", "n_head"),
            n_kv_heads=kv_heads,
            head_dim=self._number("head_dim"),
            value_dim=self._number("v_head_dim"),
            n_layers=self._number("num_hidden_layers", "n_layer"),
            experts_used=self._number("num_experts_per_tok", "experts_per_token", "moe_k"),
            window=window,
            max_context=self._number("max_position_embeddings", "n_positions") or 0,
            windowed=self._windowed() if window else None,
            architecture=shown(self._kind),
            notes=notes,
        )

    @property
    def _kind(self) -> str:
        """What the configuration calls the architecture; empty where it does not."""
        kind = self.text.get("model_type")
        return kind if isinstance(kind, str) else ""

    def _windowed(self) -> int | list[bool] | None:
        """Which blocks have the window, as `Facts.windowed`."""
        kinds = self.text.get("layer_types")
        if kinds is not None:
            if not isinstance(kinds, list) or not all(isinstance(k, str) and k in _WINDOWED for k in kinds):
                raise self._refuse("layer_types", kinds, f"a list of {' and '.join(_WINDOWED)}")
            return [_WINDOWED[kind] for kind in kinds]
        every = self._number("sliding_window_pattern", least=0)
        if every is not None:
            return every
        # Qwen2: blocks below have no window.
        first = self._number("max_window_layers", least=0)
        layers = self._number("num_hidden_layers")
        if first is not None and layers is not None and layers < 1 << 16:
            return [layer >= first for layer in range(layers)]
        return PERIODS.get(self._kind)

    def _quantization(self, beside: dict[str, Any] | None) -> tuple[object, str, str]:
        """What says how weights are quantized, how errors call its fields, and the file that it is in."""
        for table in (self.whole, self.text):
            if table.get("quantization_config") is not None:
                return table["quantization_config"], " in quantization_config", "config.json"
        return (None if beside is None else {"quant_method": "gptq"} | beside), "", QUANTIZE

    def grouped(self, beside: dict[str, Any] | None) -> Grouped | None:
        """How weights are quantized in groups; None: not by a method that is known.

        ``beside``: the table of `QUANTIZE`, which older folders have instead.
        """
        table, inside, file = self._quantization(beside)
        if not isinstance(table, dict):
            return None
        method = table.get("quant_method")
        if not isinstance(method, str) or method not in BITS:
            return None

        def refuse(key: str, value: object, allowed: str) -> SailsimError:
            return self._refuse_in(file, key + inside, value, allowed)

        def number(value: object, key: str, least: int) -> int:
            if type(value) is not int or not least <= value <= 65535:
                raise refuse(key, value, f"a whole number {least}..65535")
            return value

        def truth(key: str, default: bool) -> bool:
            value = table.get(key)
            if value is not None and not isinstance(value, bool):
                raise refuse(key, value, "true or false")
            return default if value is None else value

        bits = number(table.get("bits", table.get("w_bit")), "bits", 1)
        size = number(table.get("group_size", table.get("q_group_size")), "group_size", -1)
        if bits not in BITS[method]:
            raise refuse("bits", bits, f"one of {', '.join(map(str, BITS[method]))} for {method}")
        symmetric = truth("sym", True) if method == "gptq" else not truth("zero_point", True)
        less = method == "gptq" and table.get("checkpoint_format") != "gptq_v2"
        return Grouped(method, bits, max(size, 0), symmetric, truth("desc_act", False), less)


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

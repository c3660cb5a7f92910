"""What a Hugging Face folder's `config.json` says that no tensor does."""

from dataclasses import dataclass
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.workloads.folder_tensors import Grouped
from sailsim.workloads.group_formats import BITS
from sailsim.workloads.safetensors_file import shown
from sailsim.workloads.shapes import PERIODS, Facts

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
    def of(cls, where: str, table: dict[str, Any]) -> "FolderConfig":
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

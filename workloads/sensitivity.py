"""How much a text's prediction suffers from some matrices alone in another format."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.workloads.decoder import Decoder, Floats
from sailsim.workloads.formats import WeightFormat
from sailsim.workloads.gguf_model import GgufModel
from sailsim.workloads.model import Linear
from sailsim.workloads.products import FloatProducts
from sailsim.workloads.quality import Predicted, predicted
from sailsim.workloads.weights import file_source


@dataclass
class _SomeOther:
    """Products of a file's values in fp32, but for matrices that have other values (N, K)."""

    base: FloatProducts
    others: dict[str, Floats]

    def products(self, x: Floats, linears: Sequence[Linear]) -> list[Floats]:
        """Of one input (rows, K), each layer's output (rows, N)."""
        return [
            x @ self.others[linear.name].T
            if linear.name in self.others
            else self.base.products(x, [linear])[0]
            for linear in linears
        ]

    def embedding(self, tokens: npt.NDArray[np.int64]) -> Floats:
        """Rows of the embedding table (tokens, d_model)."""
        table = self.others.get("token_embd")
        return self.base.embedding(tokens) if table is None else table[tokens]


@dataclass
class Sensitivity:
    """A model on some tokens in fp32, all of whose states are kept, so that another format of some matrices
    is worked out from the first of their blocks on.

    Activations are not rounded: a rounding that falls the other way in one place moves all that follow, which
    hides what a few matrices contribute (a hundredth of a nat on 500 tokens).

    Attributes:
        model: the file.
        tokens: (chunks, length).
    """

    model: GgufModel
    tokens: npt.NDArray[np.int64]
    _products: FloatProducts = field(init=False, repr=False)
    _states: list[Floats] = field(init=False, repr=False)
    undisturbed: Predicted = field(init=False)
    """What the file's values say of the tokens."""

    def __post_init__(self) -> None:
        self._products = FloatProducts(self.model)
        decoder = Decoder(self.model, self._products)
        x = decoder.embed(self.tokens.reshape(-1))
        self._states = []
        for layer in range(self.model.spec.n_layers):
            self._states.append(x)
            x = decoder.block(layer, x, self.tokens.shape[1])
        self._states.append(x)
        self.undisturbed = predicted(decoder, x, self.model.spec.n_layers, self.tokens)

    def with_others(self, tensors: Sequence[str], other: WeightFormat) -> Predicted:
        """What it says with some matrices as the format ``other`` gives them, each weight to the nearest.

        A tied model's table is one matrix, ``token_embd``: the embedding and the head. Raises SailsimError
        for no name and for one that no matrix of a product has, and for a format without codes.
        """
        spec = self.model.spec
        linears = {linear.name: linear for linear in spec.linears()}
        unknown = [f"has {name!r}" for name in tensors if name not in linears]
        if unknown or not tensors:
            raise SailsimError(
                f"tensors {unknown[0] if unknown else 'is empty'}; allowed are matrices that a step "
                f"multiplies, as {next(iter(linears))} and {spec.head.name}."
            )
        decoder = Decoder(
            self.model,
            _SomeOther(self._products, {name: self._values(linears[name], other) for name in tensors}),
        )
        if "token_embd" in tensors:
            return predicted(decoder, decoder.embed(self.tokens.reshape(-1)), 0, self.tokens)
        first = min(min(linears[name].layer for name in tensors), spec.n_layers)
        return predicted(decoder, self._states[first], first, self.tokens)

    def _values(self, linear: Linear, other: WeightFormat) -> Floats:
        weights = file_source(self.model, linear, other.tensor(linear, self.model.spec)).load()
        return np.ascontiguousarray(weights.values().T)

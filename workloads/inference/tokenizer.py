"""Byte-pair encoding with the vocabulary and merges of a GGUF file.

GPT-2's scheme (bytes as printable characters, ranked merges) with llama.cpp's ``smollm`` pre-tokenizer
(every digit by itself). There is no chat template, and the only special token is one that begins a text.
"""

import re
from functools import cached_property
from itertools import pairwise

from sailsim.base.errors import SailsimError
from sailsim.workloads.model_files.gguf_model import GgufModel
from sailsim.workloads.model_files.safetensors_file import printable

# Contractions, then a word, a digit or a run of signs with at most one space before it, then spaces.
_PIECES = re.compile(r"'(?:[stmd]|re|ve|ll)| ?[^\W\d_]+| ?\d| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


def _byte_characters() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte: itself where printable, else a character from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (byte for byte in range(256) if byte not in printable)
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


_TO_CHARACTER = _byte_characters()


SPLIT = "smollm"
"""Name of the pre-tokenizer that `_PIECES` implements."""

_BEGINS = ("llama3", "llama-v3", "llama-bpe")
"""Pre-tokenizers whose texts begin with a special token unless a file says otherwise
(llama.cpp, src/llama-vocab.cpp)."""


def token_numbers(prompt: str) -> list[int] | None:
    """Parse token numbers with commas between them; None for any other text."""
    if not re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*", prompt, re.ASCII):
        return None
    # More digits than any token has: Python refuses to read thousands.
    return [int(number[:20]) for number in re.sub(r"\s", "", prompt).split(",")]


class Tokenizer:
    """Tokenizer for files whose ``tokenizer.ggml.model`` is ``gpt2``.

    ``unlike`` is the pre-tokenizer that a file names if it is not `SPLIT`, else empty. Raises SailsimError
    for another tokenizer.
    """

    def __init__(self, file: GgufModel) -> None:
        kind = file.get("tokenizer.ggml.model")
        if kind != "gpt2":
            raise SailsimError(
                f"GGUF file {file.path}: tokenizer.ggml.model is {kind!r}; allowed is 'gpt2' (else give "
                f"token numbers)."
            )
        self._file = file
        self.vocabulary = file.strings("tokenizer.ggml.tokens")
        pre = file.get("tokenizer.ggml.pre", SPLIT)
        self.unlike = "" if pre == SPLIT else printable(str(pre))

    @property
    def first(self) -> int | None:
        """Special token that begins every text of the model; None where there is none.

        Raises SailsimError for a number outside the vocabulary.
        """
        begins = self._file.get("tokenizer.ggml.add_bos_token")
        if begins is None:
            begins = self._file.get("tokenizer.ggml.pre") in _BEGINS
        if not begins or "tokenizer.ggml.bos_token_id" not in self._file:
            return None
        number = self._file.integer("tokenizer.ggml.bos_token_id")
        if not 0 <= number < len(self.vocabulary):
            raise SailsimError(
                f"GGUF file {self._file.path}: tokenizer.ggml.bos_token_id is {number}; allowed is "
                f"0..{len(self.vocabulary) - 1}."
            )
        return number

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.vocabulary)}

    @cached_property
    def _ranks(self) -> dict[tuple[str, str], int]:
        pairs = (merge.partition(" ") for merge in self._file.strings("tokenizer.ggml.merges"))
        return {(first, second): rank for rank, (first, _, second) in enumerate(pairs)}

    def encode(self, text: str) -> list[int]:
        """Encode a text as token numbers. Raises SailsimError if the vocabulary lacks a byte of it."""
        tokens: list[int] = []
        for piece in _PIECES.findall(text):
            for part in self._merge([_TO_CHARACTER[byte] for byte in piece.encode("utf-8")]):
                if part not in self._numbers:
                    raise SailsimError(
                        f"text has {part!r}; allowed is what the vocabulary of {self._file.path} covers."
                    )
                tokens.append(self._numbers[part])
        return tokens

    def _merge(self, parts: list[str]) -> list[str]:
        """Join neighbours, the best-ranked pair first, until no pair has a rank."""
        while len(parts) > 1:
            ranked = [(self._ranks[pair], i) for i, pair in enumerate(pairwise(parts)) if pair in self._ranks]
            if not ranked:
                break
            _, i = min(ranked)
            parts = [*parts[:i], parts[i] + parts[i + 1], *parts[i + 2 :]]
        return parts

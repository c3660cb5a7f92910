"""Folders whose matrices hold data: GPTQ's and AWQ's, packed code by code from what the layouts say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sailsim.workloads.model_files.folder_model import open_folder

from .folder_cases import CONFIG, PLAIN
from .folder_files import grouped, write_folder

AWQ_COLUMNS = (0, 2, 4, 6, 1, 3, 5, 7)
"""Column of a word that its first, second, ... four bits are of."""


def packed_along(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes (rows, count) as int32 (rows, words): one stream of bits a row, lowest first."""
    rows, count = codes.shape
    words = np.zeros((rows, -(-count * bits // 32)), np.int64)
    for i in range(count):
        for bit in range(bits):
            word, at = divmod(i * bits + bit, 32)
            words[:, word] |= (codes[:, i].astype(np.int64) >> bit & 1) << at
    return words.astype(np.uint32).view(np.int32)


def packed_awq(codes: np.ndarray) -> np.ndarray:
    """Codes of 4 bits (rows, count) as int32 (rows, count / 8)."""
    words = np.zeros((len(codes), codes.shape[1] // 8), np.int64)
    for place, column in enumerate(AWQ_COLUMNS):
        words |= codes[:, column::8].astype(np.int64) << (4 * place)
    return words.astype(np.uint32).view(np.int32)


def write_grouped(
    folder: Path, method: str, bits: int, group: int, *, symmetric: bool, reordered: bool = False,
    version: str = "gptq", seed: int = 5,
) -> tuple[Path, dict[str, np.ndarray]]:  # fmt: skip
    """A folder of GPTQ's or AWQ's with seeded codes; what each matrix means, fp64 (K, N), by its own name."""
    tensors = grouped(method, bits, group, PLAIN)
    said: dict[str, Any] = {"quant_method": method, "bits": bits, "group_size": group}
    said |= {"sym": symmetric, "desc_act": reordered} if method == "gptq" else {"zero_point": not symmetric}
    said |= {"checkpoint_format": version} if method == "gptq" else {}
    path = write_folder(folder, tensors, CONFIG | {"quantization_config": said})
    rng = np.random.default_rng(seed)
    meant, data = {}, {}
    for name in [name for name in tensors if name.endswith(".qweight")]:
        layer = name.removesuffix(".qweight")
        groups, n = tensors[f"{layer}.scales"][1]
        k = groups * group
        index = np.arange(k) // group
        if reordered:
            index = rng.permutation(index)
        codes = rng.integers(0, 1 << bits, (k, n))
        zeros = (
            np.full((groups, n), 1 << (bits - 1)) if symmetric else rng.integers(0, 1 << bits, (groups, n))
        )
        scales = rng.uniform(0.01, 0.02, (groups, n)).astype(np.float16)
        meant[layer] = (codes - zeros[index]) * scales[index].astype(np.float64)
        if method == "gptq":
            data[name] = packed_along(codes.T, bits).T
            data[f"{layer}.qzeros"] = packed_along(zeros - (version == "gptq"), bits)
            data[f"{layer}.g_idx"] = index.astype(np.int32)
        else:
            data[name], data[f"{layer}.qzeros"] = packed_awq(codes), packed_awq(zeros)
        data[f"{layer}.scales"] = scales
    fill(path, data)
    return path, meant


def fill(path: Path, data: Mapping[str, np.ndarray]) -> None:
    """Writes tensors into the room that they have in a folder's one file."""
    places = {tensor.name: tensor for tensor in open_folder(path).stored}
    with (path / "model.safetensors").open("r+b") as file:
        for name, array in data.items():
            assert places[name].shape == array.shape
            assert places[name].n_bytes == array.nbytes
            file.seek(places[name].offset)
            file.write(np.ascontiguousarray(array).tobytes())

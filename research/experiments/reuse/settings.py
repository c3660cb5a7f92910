"""What is measured: widths, batches, PRT sizes, models, and the layers that share an input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reuse.keys import PrtHash
from sailsim.sim.point import Point
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.model import ROLES, Role

Ints = NDArray[np.int64]
SCHEMA = 1

ABITS = 8

GROUP_SIZE = Point().group_size
"""Weights that share a scale, as in a point that says nothing else; a group of NBW never crosses them."""

BATCHES = (1, 8, 32)

NBWS = (1, 2, 3, 4, 5, 6)

ENTRIES = (4, 8, 16, 32, 64)

HASHED_ENTRIES = (8, 16, 32)

HASHES: tuple[PrtHash, ...] = ("modulo", "fold", "multiply")

CLAIM_NBWS = (2, 3, 4, 5)
"""NBW of which definitions are read: 1 has no table to build, 6 has one that outweighs every look-up."""

OWN = "smollm2-135m"
"""The model that activations are captured from."""

MODELS = ("llama-2-7b", OWN)
"""The paper's smaller model, on borrowed activations, and the captured one."""

SYSTEM = "sail-n1"

COUNTS = ("zero", "hits", "misses", "wrong")


def layer_types() -> dict[Role, tuple[str, ...]]:
    """The matrices that each captured input feeds in a block, as q, k, v, o, gate, up, down; and the head."""
    names = {"attn_q": "q", "attn_k": "k", "attn_v": "v", "attn_output": "o"}
    model = load_model(OWN)
    found: dict[Role, list[str]] = {role: [] for role in ROLES}
    for linear in (*model.layer_linears(0), model.head):
        short = linear.name.removeprefix("blk.0.").removeprefix("ffn_")
        found[linear.role].append("head" if linear.role == "head" else names.get(short, short))
    return {role: tuple(types) for role, types in found.items()}

"""Pattern profiles of real activations, kept for the points of a sweep that share them."""

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

import numpy as np
import numpy.typing as npt

from sailsim import _core

KEPT_BYTES = 128 << 20
"""What the profiles of one process may take; the least recently used go first."""


class ProfileCache:
    """Profiles by content: equal activations under equal widths are scanned once, whoever asks."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._profiles: OrderedDict[Hashable, _core.PatternProfile] = OrderedDict()
        self._limit = limit
        self._bytes = 0

    def get(
        self,
        x: npt.NDArray[Any],
        *,
        abits: int,
        signed: bool,
        nbw: int,
        group_size: int,
        prt_entries: int,
        prt_policy: str,
    ) -> tuple[str, "_core.PatternProfile"]:
        """Exact counts per group for x (B, K) of integers, and a key that is equal for equal profiles."""
        digest = hashlib.blake2b(np.ascontiguousarray(x).data, digest_size=16)
        digest.update(f"{x.shape}{x.dtype}{abits}{signed}{nbw}{group_size}{prt_entries}{prt_policy}".encode())
        key = digest.hexdigest()
        found = self._profiles.get(key)
        if found is not None:
            self._profiles.move_to_end(key)
            return key, found
        profile = _core.pattern_profile(x, abits, signed, nbw, group_size, prt_entries, prt_policy)
        self._profiles[key] = profile
        self._bytes += _size(profile)
        while self._bytes > self._limit and len(self._profiles) > 1:
            self._bytes -= _size(self._profiles.popitem(last=False)[1])
        return key, profile


def _size(profile: "_core.PatternProfile") -> int:
    """Bytes of the three int32 counts of every group."""
    return 3 * int(np.asarray(profile.zero).nbytes)


PROFILES = ProfileCache()

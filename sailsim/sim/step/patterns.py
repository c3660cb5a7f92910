"""Pattern profiles of real activations, cached for the points of a sweep that share them."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from hashlib import blake2b
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sailsim import _core
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.models.model import Role

MAX_BYTES = 160 << 20
"""Most bytes of a process's cached profiles; the least recently used go first. Machines of the wide prior
have 125 MiB of them. joblib replaces a worker that grows by 300 MB."""
MAX_POOLS = 1 << 5
"""Cached pools of captured rows, one for each role and scan."""
MAX_STEPS = 1 << 10
"""Cached steps, each with the profiles of all its inputs."""


class PatternScan(NamedTuple):
    """Scan of activations for patterns: all inputs of a profile except the activations."""

    abits: int
    signed: bool
    nbw: int
    group_size: int
    prt_entries: int
    prt_policy: str

    @property
    def canonical(self) -> "PatternScan":
        """Representative of all scans with the same profiles.

        Blocks of whole groups end no group, so their size makes no difference. Nor does the policy where the
        PRT never evicts a pattern.
        """
        same = self if self.group_size % self.nbw else self._replace(group_size=0)
        return same if self.evicts else same._replace(prt_policy="lru")

    @property
    def evicts(self) -> bool:
        """Whether there are more nonzero patterns than entries of a PRT."""
        return 0 < self.prt_entries < (1 << self.nbw) - 1

    def profile(self, x: npt.NDArray[Any]) -> _core.PatternProfile:
        """Profile of x (B, K), integers of `abits` bits."""
        return _core.pattern_profile(
            x, self.abits, self.nbw, self.group_size, self.prt_entries, self.prt_policy
        )


class InputRows(NamedTuple):
    """Rows of captured activations: the arguments of `Activations.quantized`."""

    role: Role
    layer: int
    n_layers: int
    k: int
    batch: int
    seed: int


class PatternProfile(NamedTuple):
    """Pattern counts of each group, with a key that is equal for equal activations under equal scans."""

    key: str
    counts: _core.PatternProfile

    @property
    def bytes(self) -> int:
        """Bytes of the counts: three numbers of 32 bits for each group."""
        return 12 * len(self.counts)


class PatternCache:
    """Profiles by content: equal activations are scanned once for all layers and points."""

    def __init__(self) -> None:
        self._profiles: OrderedDict[str, PatternProfile] = OrderedDict()
        self._steps: dict[Hashable, tuple[list[str], tuple[str, ...]]] = {}
        self._pools: dict[Hashable, _core.PatternPool] = {}
        self._bytes = 0

    def of_step(
        self, activations: Activations, inputs: tuple[InputRows, ...], scan: PatternScan
    ) -> list[PatternProfile]:
        """Profiles of all inputs of a step; the same step on another machine reads them from the cache."""
        scan = scan.canonical
        name = (activations.id, inputs, scan)
        keys, different = self._steps.get(name, ([], ()))
        if keys and all(map(self._profiles.__contains__, different)):
            for key in different:
                self._profiles.move_to_end(key)
            return [self._profiles[key] for key in keys]
        profiles = [self.captured(activations, rows, scan) for rows in inputs]
        if len(self._steps) >= MAX_STEPS:
            del self._steps[next(iter(self._steps))]
        keys = [profile.key for profile in profiles]
        self._steps[name] = (keys, tuple(dict.fromkeys(keys)))
        return profiles

    def captured(self, activations: Activations, rows: InputRows, scan: PatternScan) -> PatternProfile:
        """Profile of captured rows."""
        scan = scan.canonical
        # Neighbouring layers of a model may stand on the same rows of a capture.
        scanned = repr((activations.id, rows.role, rows.k, rows.batch, scan)).encode()
        source = activations.pool_indices(*rows)
        key = blake2b(scanned + source.tobytes(), digest_size=16).hexdigest()
        return self._cached(key, lambda: self._scan_captured(activations, rows, source, scan))

    def scanned(self, x: npt.NDArray[Any], scan: PatternScan) -> PatternProfile:
        """Profile of x (B, K), integers of `scan.abits` bits."""
        scan = scan.canonical
        digest = blake2b(np.ascontiguousarray(x).data, digest_size=16)
        digest.update(f"{x.shape}{x.dtype}{scan}".encode())
        return self._cached(digest.hexdigest(), lambda: scan.profile(x))

    def _scan_captured(
        self, activations: Activations, rows: InputRows, source: npt.NDArray[np.int64], scan: PatternScan
    ) -> _core.PatternProfile:
        """Profile of captured rows with their `source`; from a pool where order makes no difference."""
        pool = self._pool(activations, rows.role, scan)
        parts = ceil(rows.k / activations.codes[rows.role].shape[-1])
        if pool is None or rows.k % scan.nbw or len(source) != rows.batch * parts:
            x = activations.quantized(*rows, abits=scan.abits, signed=scan.signed)
            return scan.profile(x)
        return pool.profile(source.reshape(rows.batch, parts), rows.k, scan.prt_entries > 0)

    def _pool(self, activations: Activations, role: Role, scan: PatternScan) -> _core.PatternPool | None:
        """Pool of the captured rows of a role; None for rows or blocks of partial groups, or evictions."""
        columns = activations.codes[role].shape[-1]
        if columns % scan.nbw or scan.group_size % scan.nbw or scan.evicts:
            return None
        name = (activations.id, role, scan.abits, scan.signed, scan.nbw)
        if name not in self._pools:
            if len(self._pools) >= MAX_POOLS:
                del self._pools[next(iter(self._pools))]
            codes = activations.pool(role, abits=scan.abits, signed=scan.signed)
            self._pools[name] = _core.PatternPool(codes, scan.abits, scan.nbw)
        return self._pools[name]

    def _cached(self, key: str, scan: Callable[[], _core.PatternProfile]) -> PatternProfile:
        """Profile of a key, now the last used; scanned if not in the cache."""
        if key in self._profiles:
            self._profiles.move_to_end(key)
            return self._profiles[key]
        profile = PatternProfile(key, scan())
        self._profiles[key] = profile
        self._bytes += profile.bytes
        while self._bytes > MAX_BYTES and len(self._profiles) > 1:
            self._bytes -= self._profiles.popitem(last=False)[1].bytes
        return profile


PROFILES = PatternCache()

"""Pattern profiles of real activations, kept for the points of a sweep that share them."""

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

KEPT_BYTES = 160 << 20
"""What the profiles of one process may take; the least recently used go first. Machines of the wide prior
have 125 MiB of them. joblib replaces a worker that grows by 300 MB."""
KEPT_POOLS = 1 << 5
"""Of how many roles and scans what is known of each captured row is kept."""
KEPT_STEPS = 1 << 10
"""How many steps' inputs are remembered together."""


class PatternScan(NamedTuple):
    """How activations are scanned: everything but the activations that a profile depends on."""

    abits: int
    signed: bool
    nbw: int
    group_size: int
    prt_entries: int
    prt_policy: str

    @property
    def alike(self) -> "PatternScan":
        """The one scan that stands for all that give the same. Blocks of whole groups end no group, so that
        their size makes no difference; nor does the policy where no pattern ever has to leave the PRT."""
        same = self if self.group_size % self.nbw else self._replace(group_size=0)
        return same if self.evicts else same._replace(prt_policy="lru")

    @property
    def evicts(self) -> bool:
        """Whether there is a PRT and more patterns but 0 than it has entries."""
        return 0 < self.prt_entries < (1 << self.nbw) - 1

    def profile(self, x: npt.NDArray[Any]) -> _core.PatternProfile:
        """Of x (B, K), integers of `abits` bits."""
        return _core.pattern_profile(
            x, self.abits, self.nbw, self.group_size, self.prt_entries, self.prt_policy
        )


class InputRows(NamedTuple):
    """Which captured activations: the arguments of `Activations.quantized`."""

    role: Role
    layer: int
    n_layers: int
    k: int
    batch: int
    seed: int


class PatternProfile(NamedTuple):
    """Counts per group, with a key that is equal for equal activations under equal scans."""

    key: str
    counts: _core.PatternProfile

    @property
    def bytes(self) -> int:
        """Memory of the counts of all groups: three numbers of 32 bits."""
        return 12 * len(self.counts)


class PatternCache:
    """Profiles by content: equal activations are scanned once, whichever layer or point asks."""

    def __init__(self) -> None:
        self._profiles: OrderedDict[str, PatternProfile] = OrderedDict()
        self._steps: dict[Hashable, tuple[list[str], tuple[str, ...]]] = {}
        self._pools: dict[Hashable, _core.PatternPool] = {}
        self._bytes = 0

    def of_step(
        self, activations: Activations, inputs: tuple[InputRows, ...], scan: PatternScan
    ) -> list[PatternProfile]:
        """The profiles of all inputs of a step, which the same step on another machine finds at once."""
        scan = scan.alike
        name = (activations.id, inputs, scan)
        keys, different = self._steps.get(name, ([], ()))
        if keys and all(map(self._profiles.__contains__, different)):
            for key in different:
                self._profiles.move_to_end(key)
            return [self._profiles[key] for key in keys]
        profiles = [self.captured(activations, rows, scan) for rows in inputs]
        if len(self._steps) >= KEPT_STEPS:
            del self._steps[next(iter(self._steps))]
        keys = [profile.key for profile in profiles]
        self._steps[name] = (keys, tuple(dict.fromkeys(keys)))
        return profiles

    def captured(self, activations: Activations, rows: InputRows, scan: PatternScan) -> PatternProfile:
        """The profile of captured rows."""
        scan = scan.alike
        # Neighbouring layers of a model may stand on the same rows of a capture.
        scanned = repr((activations.id, rows.role, rows.k, rows.batch, scan)).encode()
        source = activations.pool_indices(*rows)
        key = blake2b(scanned + source.tobytes(), digest_size=16).hexdigest()
        return self._kept(key, lambda: self._scan_captured(activations, rows, source, scan))

    def scanned(self, x: npt.NDArray[Any], scan: PatternScan) -> PatternProfile:
        """The profile of x (B, K), integers of `scan.abits` bits."""
        scan = scan.alike
        digest = blake2b(np.ascontiguousarray(x).data, digest_size=16)
        digest.update(f"{x.shape}{x.dtype}{scan}".encode())
        return self._kept(digest.hexdigest(), lambda: scan.profile(x))

    def _scan_captured(
        self, activations: Activations, rows: InputRows, source: npt.NDArray[np.int64], scan: PatternScan
    ) -> _core.PatternProfile:
        """The profile of captured rows, whose `source` are theirs: by what is known of each where order
        makes no difference."""
        pool = self._pool(activations, rows.role, scan)
        parts = ceil(rows.k / activations.codes[rows.role].shape[-1])
        if pool is None or rows.k % scan.nbw or len(source) != rows.batch * parts:
            x = activations.quantized(*rows, abits=scan.abits, signed=scan.signed)
            return scan.profile(x)
        return pool.profile(source.reshape(rows.batch, parts), rows.k, scan.prt_entries > 0)

    def _pool(self, activations: Activations, role: Role, scan: PatternScan) -> _core.PatternPool | None:
        """The captured rows of a role, where they and blocks are whole groups and nothing is evicted."""
        columns = activations.codes[role].shape[-1]
        if columns % scan.nbw or scan.group_size % scan.nbw or scan.evicts:
            return None
        name = (activations.id, role, scan.abits, scan.signed, scan.nbw)
        if name not in self._pools:
            if len(self._pools) >= KEPT_POOLS:
                del self._pools[next(iter(self._pools))]
            codes = activations.pool(role, abits=scan.abits, signed=scan.signed)
            self._pools[name] = _core.PatternPool(codes, scan.abits, scan.nbw)
        return self._pools[name]

    def _kept(self, key: str, scan: Callable[[], _core.PatternProfile]) -> PatternProfile:
        """The profile of a key, now the last used; scanned where it is not kept."""
        if key in self._profiles:
            self._profiles.move_to_end(key)
            return self._profiles[key]
        profile = PatternProfile(key, scan())
        self._profiles[key] = profile
        self._bytes += profile.bytes
        while self._bytes > KEPT_BYTES and len(self._profiles) > 1:
            self._bytes -= self._profiles.popitem(last=False)[1].bytes
        return profile


PROFILES = PatternCache()

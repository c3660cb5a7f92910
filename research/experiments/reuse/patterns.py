"""Counts of patterns: which are zero, which a PRT holds, how often they come again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reuse import settings
from reuse.keys import PrtKey, bit_profile
from reuse.quantizers import QUANTIZERS, RoundedRows, rounded_rows
from reuse.settings import (
    COUNTS,
    ENTRIES,
    GROUP_SIZE,
    HASHED_ENTRIES,
    HASHES,
    Ints,
    layer_types,
)
from sailsim.lut_gemv.counts import PRT_POLICIES, PrtConfig
from sailsim.lut_gemv.operands import block_slices
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.models.model import ROLES


class Rule(NamedTuple):
    """A PRT and its key."""

    prt: PrtConfig
    key: PrtKey = PrtKey()

    def simplest(self, nbw: int) -> Rule:
        """A rule with the same outcomes, one for all in which every pattern has an entry to itself."""
        entries = self.prt.effective_entries
        key = self.key
        if self.prt.policy == "direct" and key.hash is None:
            key = PrtKey("modulo", key.tagged, key.flushed)
        places = key.places(entries, nbw)[1:]
        alone = len(set(places)) == len(places) if places else entries >= (1 << nbw) - 1
        return Rule(PrtConfig(1 << nbw)) if alone and key.flushed else self

    def as_dict(self) -> dict[str, Any]:
        """Columns of a table."""
        return {
            "entries": self.prt.effective_entries,
            "policy": self.prt.policy,
            "hash": self.key.hash or "",
            "tagged": self.key.tagged,
            "flushed": self.key.flushed,
        }


UNIT = Rule(PrtConfig())
"""The simulated unit's: 32 entries, LRU, exact key."""


def rules() -> list[Rule]:
    """Every PRT that is measured: none; sizes by replacement; hashes with and without tags; no flush."""
    found = [Rule(PrtConfig(enabled=False))]
    found += [Rule(PrtConfig(entries, policy)) for entries in ENTRIES for policy in PRT_POLICIES]
    for entries in HASHED_ENTRIES:
        found += [
            Rule(PrtConfig(entries, "direct"), PrtKey(name, tagged))
            for name in HASHES
            for tagged in (True, False)
        ]
        found.append(Rule(PrtConfig(entries), PrtKey(flushed=False)))
    return found


def count(
    rows: RoundedRows, quantizer: str, batch: int, nbw: int, rule: Rule, group_size: int = GROUP_SIZE
) -> Ints:
    """Outcomes of the patterns of rows, int64 ``(planes, 4)`` in the order of `COUNTS`, over all tiles."""
    made = QUANTIZERS[quantizer]
    per_tile = bit_profile(
        rows.ints,
        abits=made.planes,
        signed=made.signed,
        nbw=nbw,
        group_size=group_size,
        tile_rows=batch * made.parts,
        prt=rule.prt,
        key=rule.key,
    )
    return np.asarray(per_tile.sum(axis=0), dtype=np.int64)


def patterns(
    activations: Activations, quantizer: str, batch: int, measured: Sequence[Rule] = (UNIT,)
) -> pd.DataFrame:
    """Outcomes by role and bit position at every NBW, under each of the rules.

    Columns: quantizer, batch, nbw, those of `Rule.as_dict`, role, bit (0 is the lowest), rows (of
    activations), groups (in all rows), signal and noise (sums of squares of all activations and of their
    rounding errors), zero, hits, misses, wrong (of the hits).
    """
    found = []
    for role in ROLES:
        rows = rounded_rows(activations, quantizer, role, batch)
        parts = QUANTIZERS[quantizer].parts
        for nbw in settings.NBWS:
            known: dict[Rule, Ints] = {}
            for rule in measured:
                same = rule.simplest(nbw)
                if same not in known:
                    known[same] = count(rows, quantizer, batch, nbw, same)
                counts = known[same]
                for bit, outcomes in enumerate(counts.tolist()):
                    found.append(
                        {"quantizer": quantizer, "batch": batch, "nbw": nbw}
                        | rule.as_dict()
                        | {"role": role, "bit": bit, "rows": len(rows.ints) // parts}
                        | {"groups": sum(outcomes[:3]) // parts, "signal": rows.signal, "noise": rows.noise}
                        | dict(zip(COUNTS, outcomes, strict=True))
                    )
    return pd.DataFrame(found)


def shares(frame: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Shares of all patterns by some columns: zero, hits, misses, wrong, and repeats among the rest.

    A role counts once for every matrix that it feeds, since each looks all its patterns up.
    """
    weight = frame["role"].map({role: len(types) for role, types in layer_types().items()})
    weighted = frame[list(COUNTS)].mul(weight, axis=0)
    keys = [frame[column] for column in by]
    summed = weighted.groupby(keys).sum() if by else weighted.sum().to_frame().T
    lookups = summed[["zero", "hits", "misses"]].sum(axis=1)
    result = summed.div(lookups, axis=0)
    result["lookups"] = lookups
    result["hit_rate"] = summed["hits"] / (summed["hits"] + summed["misses"]).where(lambda n: n > 0)
    return result.reset_index() if by else result


def group_patterns(x: NDArray[Any], nbw: int, group_size: int = GROUP_SIZE) -> NDArray[np.uint8]:
    """The patterns of integers ``(rows, K)`` of up to 8 bits: uint8 ``(8, rows, groups)``, bit 0 first."""
    planes = []
    for block in block_slices(x.shape[1], group_size):
        short = -(block.stop - block.start) % nbw
        part = np.pad(x[:, block].astype(np.uint8), ((0, 0), (0, short)))
        part = part.reshape(len(x), -1, nbw)
        bits = (part[None] >> np.arange(8, dtype=np.uint8)[:, None, None, None]) & 1
        planes.append((bits << np.arange(nbw, dtype=np.uint8)).sum(axis=-1, dtype=np.uint8))
    return np.concatenate(planes, axis=2)


def structure(activations: Activations) -> pd.DataFrame:
    """How the patterns of each bit position are spread, at batch 1, with the machine's own quantizer.

    Columns: role, nbw, bit; patterns (their number); entropy (bits of a pattern, of nbw possible); below (the
    share that is not zero and equals the pattern of the bit below); top (the same with that of the sign
    plane); independent (the share of hits that an unlimited PRT would have if the planes of a group were
    independent of each other, each with the frequencies that it has over the whole role).
    """
    found = []
    for role in ROLES:
        rows = rounded_rows(activations, "token", role, 1)
        for nbw in settings.NBWS:
            planes = group_patterns(rows.ints, nbw)
            missed_so_far = np.ones(1 << nbw)
            for bit, plane in enumerate(planes):
                frequency = np.bincount(plane.reshape(-1), minlength=1 << nbw) / plane.size
                some = frequency[frequency > 0]
                nonzero = plane > 0
                found.append(
                    {
                        "role": role,
                        "nbw": nbw,
                        "bit": bit,
                        "patterns": plane.size,
                        "entropy": float(-(some * np.log2(some)).sum()),
                        "below": float((nonzero & (plane == planes[bit - 1])).mean()) if bit else 0.0,
                        "top": float((nonzero & (plane == planes[-1])).mean()),
                        "independent": float((frequency * (1 - missed_so_far))[1:].sum()),
                    }
                )
                missed_so_far = missed_so_far * (1 - frequency)
    return pd.DataFrame(found)


def entries_needed(x: NDArray[Any], nbw: int, group_size: int = GROUP_SIZE) -> int:
    """Additions of tables that hold only the entries that one batch ``(B, K)`` looks up, over all groups.

    An entry is an earlier entry plus the weight of its highest bit, as the whole table is built, so the
    entries below a used one are built too; single weights cost nothing.
    """
    planes = group_patterns(x, nbw, group_size)
    groups = planes.shape[2]
    used = np.zeros((groups, 1 << nbw), dtype=bool)
    used[np.broadcast_to(np.arange(groups), planes.shape).reshape(-1), planes.reshape(-1)] = True
    sums = [p for p in range(1 << nbw) if p.bit_count() > 1]
    for p in reversed(sums):
        used[:, p - (1 << (p.bit_length() - 1))] |= used[:, p]
    return int(used[:, sums].sum())

"""Results on gem5 in a store: what their keys are made of, and how they are kept."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.places import configs_path
from sailsim.sim.provenance import code_version, commit
from sailsim.sim.store import Store, now
from sailsim.sim.system import System


def scripts_digest() -> str:
    """SHA-256 of the scripts that gem5 runs: they are part of what a result rests on."""
    digest = hashlib.sha256()
    for path in sorted(configs_path().glob("*.py")):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


Record = dict[str, Any]


def keys_of(point: Mapping[str, Any], system: System, gem5: Gem5) -> tuple[str, str]:
    """Key of a result and of its question.

    The result's has the point, the machine, the gem5 binary, the scripts that it runs and our code.
    """
    question = hashlib.sha256(json.dumps(dict(point), sort_keys=True).encode()).hexdigest()
    parts = [question, system.digest, gem5.digest, scripts_digest(), code_version()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest(), question


def store_records(
    store: Store, gem5: Gem5, records: Sequence[tuple[str, str, Mapping[str, Any], float]]
) -> list[Record]:
    """Store records as (key, key of the question, record, seconds); all of them or none. The lock is held."""
    whole = [
        {
            **record,
            "engine": "gem5",
            "gem5_version": gem5.version,
            "gem5_compiled": gem5.compiled,
            "key": key,
            "point_key": question,
            "code_version": code_version(),
            "finished_at": now(),
            "evaluation_s": seconds,
        }
        for key, question, record, seconds in records
    ]
    store.append(whole)
    store.write_manifest({"code_version": code_version(), "commit": commit(), "gem5_version": gem5.version})
    return whole


def run_or_load(
    store: Store,
    point: Mapping[str, Any],
    system: System,
    gem5: Gem5,
    simulate: Callable[[], Mapping[str, Any]],
) -> tuple[Record, bool]:
    """A result from the store, or a new one that is stored at once.

    Args:
        store: of the results folder.
        point: what is asked, flat; part of the key (`keys_of`).
        system: the machine.
        gem5: the simulator.
        simulate: called for a flat record, if the store has none.

    Returns:
        The record, and whether it was there before.
    """
    key, question = keys_of(point, system, gem5)
    with store.locked():
        record = store.record(key)
        if record is not None:
            return record, True
        started = time.monotonic()
        found = {**point, **simulate()}
        return store_records(store, gem5, [(key, question, found, time.monotonic() - started)])[0], False

"""Results on gem5 in a store: what their keys are made of, and how they are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.sim.gem5.binary import Gem5, configs_path
from sailsim.sim.study.folder import Store
from sailsim.sim.study.origin import code_version
from sailsim.sim.study.run import run_study
from sailsim.sim.study.tasks import Task
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


KIND = "gem5"
"""Of a folder with results on gem5."""


def of_gem5(gem5: Gem5) -> Record:
    """What every record on gem5 says of the simulator."""
    return {"engine": "gem5", "gem5_version": gem5.version, "gem5_compiled": gem5.compiled}


def run_or_load(
    store: Store,
    point: Mapping[str, Any],
    system: System,
    gem5: Gem5,
    simulate: Callable[[], Mapping[str, Any]],
    group: str = "",
    whole: Callable[[Record], bool] = lambda _: True,
) -> Record:
    """A result from the store, or a new one that is stored at once.

    Args:
        store: its folder holds results on gem5 of any kind.
        point: what is run, JSON-able.
        system: the machine that is simulated.
        gem5: the simulator.
        simulate: gives the record's columns.
        group: of results of which the folder's answer has the last; default: the point's own.
        whole: whether files that a stored result names are still there; where not, it is simulated again,
            which gives the same result and the files.

    Raises:
        SailsimError: the folder cannot be used; and whatever `simulate` raises.
    """
    key, question = keys_of(point, system, gem5)
    failures: list[SailsimError] = []

    def evaluate(_: None) -> Record:
        try:
            return {**point, **simulate(), **of_gem5(gem5)}
        except SailsimError as error:
            failures.append(error)
            raise

    try:
        run_study(
            [Task(key, question, None)],
            evaluate,
            store.path,
            kind=KIND,
            progress=False,
            group=group or question,
            tries=1,
        )
    except SailsimError:
        if failures:
            raise failures[0] from None
        raise
    (found,) = store.of_key(key)
    return found if whole(found) else {**point, **simulate(), **of_gem5(gem5)}

"""Results on gem5 in a store, and their keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.sim.gem5.binary import Gem5, configs_path
from sailsim.sim.machine.system import System
from sailsim.sim.study.open_study import Task, opened
from sailsim.sim.study.origin import code_version
from sailsim.sim.study.store import Store

Record = dict[str, Any]


def scripts_digest() -> str:
    """SHA-256 of the scripts that gem5 runs, which are an input of every result."""
    digest = hashlib.sha256()
    for path in sorted(configs_path().glob("*.py")):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def keys_of(point: Mapping[str, Any], system: System, gem5: Gem5) -> tuple[str, str]:
    """Key of a result, and key of its point alone.

    The result's key covers the point, the system, the gem5 binary, its scripts and our code.
    """
    point_key = hashlib.sha256(json.dumps(dict(point), sort_keys=True).encode()).hexdigest()
    parts = [point_key, system.digest, gem5.digest, scripts_digest(), code_version()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest(), point_key


def run_or_load(
    out: Path,
    point: Mapping[str, Any],
    system: System,
    gem5: Gem5,
    simulate: Callable[[], Mapping[str, Any]],
    group: str = "",
    whole: Callable[[Record], bool] = lambda _: True,
) -> Record:
    """Load a result from the store, or simulate it and store it at once.

    Args:
        out: the store's folder, for results on gem5 of any kind.
        point: JSON-able description of the run.
        system: the simulated machine.
        gem5: the simulator.
        simulate: returns the record's columns.
        group: name under which the folder's answer keeps its latest result; default: the point's own key.
        whole: whether the files that a stored result names still exist; if not, it is simulated again, with
            the same result and the files.

    Raises:
        SailsimError: the folder cannot be used; also any error of `simulate`.
    """
    key, point_key = keys_of(point, system, gem5)
    failures: list[SailsimError] = []

    def evaluate(_: None) -> Record:
        try:
            version = {"engine": "gem5", "gem5_version": gem5.version, "gem5_compiled": gem5.compiled}
            return {**point, **simulate(), **version}
        except SailsimError as error:
            failures.append(error)
            raise

    with opened(out, 1, kind="gem5", progress=False, group=group or point_key, tries=1) as study:
        study.run([Task(key, point_key, None)], evaluate)
    if failures:
        raise failures[0]
    study.complain()
    ((record,),) = Store(out).records_of([key])
    return record if whole(record) else evaluate(None)

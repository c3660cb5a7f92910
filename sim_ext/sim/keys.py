"""What a point's result rests on, as keys: the point, the content of every file that it names, the code."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sailsim.sim.files import load_system
from sailsim.sim.point import Point
from sailsim.sim.study import code_version
from sailsim.sim.substrate import load_substrate, substrate_path
from sailsim.workloads import Activations, load_model


def point_key(point: Point) -> str:
    """Hash of the point alone: equal for the same question, whatever its inputs contain."""
    return _hash(point.as_dict())


def result_key(point: Point, evaluate: str, inputs: str = "") -> str:
    """Hash of all inputs of a result: the point, what its system, substrate, model and weights contain, its
    activations, the code.

    `evaluate` names the function that makes the record; `inputs` is what else it rests on, as text.
    """
    return Keys(evaluate, inputs).result(point)


class Keys:
    """Keys of many points: every file that they name is read once, now."""

    def __init__(self, evaluate: str, inputs: str = "") -> None:
        """`evaluate` names the function that makes the records; `inputs` is what else they rest on."""
        self._own = {"evaluate": evaluate, "code": code_version()} | ({"inputs": inputs} if inputs else {})
        self._read: dict[tuple[str, str], str] = {}
        self._stamps: dict[Path, tuple[int, int, int]] = {}

    def changed(self) -> Path | None:
        """A file that is not any more what it was when it was read; None while all are."""
        return next((path for path, stamp in self._stamps.items() if _stamp(path) != stamp), None)

    def result(self, point: Point) -> str:
        """As `result_key`. Raises SailsimError for a file that cannot be read."""
        p = point
        weights = f"{p.model}\0{p.weights}\0{p.wbits}\0{p.group_size}"
        return _hash(
            {
                "point": p.as_dict(),
                "system": self._once("system", p.system, lambda: load_system(p.system).digest),
                "substrate": p.substrate
                and self._once("substrate", p.substrate, lambda: load_substrate(str(p.substrate)).digest),
                "model": self._once("model", p.model, lambda: _hash(asdict(load_model(p.model)))),
                "weights": self._once("weights", weights, lambda: _weights_digest(p)),
                "activations": self._once(
                    "activations", p.activations, lambda: Activations.load(p.activations or None).id
                ),
            }
            | self._own
        )

    def question(self, point: Point) -> str:
        """As `point_key`."""
        return point_key(point)

    def _once(self, kind: str, name: str, read: Callable[[], str]) -> str:
        found = self._read.get((kind, name))
        if found is None:
            for path in _FILES[kind](name):
                self._stamps.setdefault(path, _stamp(path))  # before it is read: a change from then on counts
            found = self._read[kind, name] = read()
        return found


def _named(*names: str) -> list[Path]:
    """The files among some names."""
    return [Path(name) for name in names if name and Path(name).is_file()]


def _of_system(name: str) -> list[Path]:
    """A system file, those that it extends and its substrate's."""
    found = _named(name)
    if found:
        system = load_system(name)
        for parent in system.extends:
            found += _named(str(found[-1].parent / parent))
        own = None if system.pim is None else substrate_path(str(system.pim.substrate.value))
        found += _named(str(own or ""))
    return found


_FILES: dict[str, Callable[[str], list[Path]]] = {
    "system": _of_system,
    "substrate": lambda name: _named(str(substrate_path(name) or "")),
    "model": _named,
    "weights": lambda name: _named(name.split("\0")[1]),
    "activations": _named,
}
"""The files behind each kind of input, by its name in a point."""


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file does; zeros where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _weights_digest(point: Point) -> str:
    """What the weights are: the format of every tensor, whichever file says so."""
    if not point.weights:
        return ""
    model = load_model(point.model)
    fmt = point.formats(model)
    named = {linear.name: fmt.tensor(linear, model).name for linear in model.linears()}
    return _hash(named | {"token_embd": fmt.embedding(model).name})


def _hash(content: Any) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()

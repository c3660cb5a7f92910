"""What a point's result rests on, as keys: the point, the content of every file that it names, the code."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sailsim.sim.files import load_system
from sailsim.sim.point import Point
from sailsim.sim.study import code_version
from sailsim.sim.substrate import load_substrate
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
            found = self._read[kind, name] = read()
        return found


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

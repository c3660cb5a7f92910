"""Keys of results: hashes of the point, of the content of every file that it names, and of the code."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.base.input_file import Stamp, stamp
from sailsim.sim.machine.substrate import load_substrate, substrate_path
from sailsim.sim.machine.system_files import lenient_reference, load_system
from sailsim.sim.point import Point
from sailsim.sim.study.origin import code_version
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.model_files.folder_model import header_files
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import TensorFormat
from sailsim.workloads.models.model import model_names


def point_key(point: Point) -> str:
    """Hash of the point alone, whatever the files that it names contain."""
    return _hash(point.as_dict())


class ResultKeys:
    """Keys of the results of many points. Every file that they name is read once, and watched for changes."""

    def __init__(self, evaluate: str, inputs: str = "") -> None:
        """`evaluate` names the function that makes the records; `inputs` names other inputs of theirs."""
        self._stamps: dict[Path, Stamp] = {}
        self._own = {"evaluate": evaluate, "code": code_version()} | ({"inputs": inputs} if inputs else {})
        self._digests: dict[tuple[str, str], str] = {}

    def watch(self, path: Path) -> None:
        """Note the state of a file before it is read."""
        self._stamps.setdefault(path, stamp(path))

    def changed(self) -> Path | None:
        """First watched file that has changed; None if none has."""
        return next((path for path, before in self._stamps.items() if stamp(path) != before), None)

    def result(self, point: Point) -> str:
        """Hash of all inputs of a result: the point, the contents of its system, substrate, model, weights
        and activations, and the code.

        Raises SailsimError for a file that cannot be read.
        """
        weights = json.dumps([point.model, point.weights, point.wbits, point.group_size])
        names = {kind: getattr(point, kind) for kind in _INPUTS} | {"weights": weights}
        contents = {kind: None if name is None else self._digest(kind, name) for kind, name in names.items()}
        return _hash({"point": point.as_dict()} | contents | self._own)

    def guard(self, evaluate: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Wrap a function for a worker on another computer, where it raises SailsimError if an input has
        other content than here."""
        return partial(_guarded, evaluate, dict(self._digests))

    def _digest(self, kind: str, name: str) -> str:
        if (kind, name) not in self._digests:
            files, digest = _INPUTS[kind]
            for path in files(name):
                self.watch(path)
            self._digests[kind, name] = digest(name)
        return self._digests[kind, name]

    def differing(self, digests: Mapping[tuple[str, str], str]) -> str | None:
        """First of some inputs whose content here has another digest; None if all are the same."""
        return next((name for (kind, name), own in digests.items() if self._digest(kind, name) != own), None)


_here: dict[str, ResultKeys] = {}
"""Inputs that this worker has read, under the name "keys"; a worker may outlive many studies."""


def _guarded(evaluate: Callable[[Any], Any], digests: Mapping[tuple[str, str], str], argument: Any) -> Any:
    keys = _here.get("keys")
    if keys is None or keys.changed() is not None:
        keys = _here["keys"] = ResultKeys("guard")
    other = keys.differing(digests)
    if other is not None:
        raise SailsimError(
            f"{other} has other content on {socket.gethostname()} than where the study was started; "
            "allowed is the same file on all machines."
        )
    return evaluate(argument)


def _files(name: str | Path | None) -> list[Path]:
    """The name as a path if it is a file, else nothing."""
    return [Path(name)] if name and Path(name).is_file() else []


def _system_files(name: str) -> list[Path]:
    choice = lenient_reference(name)
    paths = _files(choice.file)
    if paths or choice.changes:
        system = load_system(name)
        for parent in system.extends if paths else ():
            paths += _files(paths[-1].parent / parent)
        if system.pim is not None:
            paths += _files(substrate_path(str(system.pim.substrate.value)))
    return paths


def _model_files(name: str) -> list[Path]:
    """Path of a model's file, or the paths of a folder's files with shapes and formats."""
    return header_files(name) if Path(name).is_dir() and name not in model_names() else _files(name)


_INPUTS: dict[str, tuple[Callable[[str], list[Path]], Callable[[str], str]]] = {
    "system": (_system_files, lambda name: load_system(name).digest),
    "substrate": (lambda name: _files(substrate_path(name)), lambda name: load_substrate(name).digest),
    "model": (_model_files, lambda name: _hash(asdict(load_model(name)))),
    "weights": (lambda name: _files(json.loads(name)[1]), lambda name: _weights_digest(*json.loads(name))),
    "activations": (_files, lambda name: Activations.load(name or None).id),
}
"""Functions by kind of input, from its name in a point: its files, and a digest of its content."""


def _weights_digest(model_name: str, weights: str, wbits: int, group_size: int) -> str:
    """Digest of the weights' formats, tensor by tensor, whichever file they come from."""
    if not weights:
        return ""
    point = Point(model=model_name, weights=weights, wbits=wbits, group_size=group_size)
    model = load_model(model_name)
    fmt = point.formats(model)
    contents = {linear.name: _content(fmt.tensor(linear, model)) for linear in model.linears()}
    return _hash(contents | {"token_embd": _content(fmt.embedding(model))})


def _content(fmt: TensorFormat) -> list[Any]:
    """All of a format that a result depends on; its name is not enough, as GPTQ's does not tell g_idx."""
    own = {field.name: getattr(fmt, field.name) for field in fields(fmt)}
    code = own.pop("code")
    del own["source"]
    return [type(fmt).__name__, own, code and [code.kind, code.values.tolist()]]


def _hash(content: Any) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()

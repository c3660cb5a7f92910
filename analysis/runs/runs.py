"""Runners and runs: one record per point and runner, with the same columns for every kind of runner.

A `Runner` is hardware with software on it, a rule for the weights' format and one for the price of an hour.
Those that ship are in `data/runners.toml`; `runners` adds a user's own. No other module names a machine that
a point is compared with, except where the paper itself does. `runs` times a step on every runner. Quantities
of several runs, such as ratios, dollars and joules a token, are no part of a record: `compare` computes them.
`evaluate` gives the records of a sweep.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, get_args

import tomli
from pydantic import model_validator

from sailsim.analysis.costs.constants import End, NotModelledError, data_file
from sailsim.analysis.costs.energy import NOT_MODELLED, EnergyConstants, constants_notes, energy, step_events
from sailsim.analysis.uncertainty.prior import PRIOR
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import FrozenModel
from sailsim.base.toml_file import read_toml
from sailsim.sim.backend import Kind, Prefill, StepQuery, StepResult, backend_of, check_context, software_of
from sailsim.sim.backends.cores import FASTEST, prompt_problem
from sailsim.sim.machine import system_files
from sailsim.sim.machine.catalog import FileReference, validate
from sailsim.sim.machine.system import Gpu, System
from sailsim.sim.machine.system_files import gpu_names
from sailsim.sim.point import Point, set_values
from sailsim.sim.serve.surface import StepSurface
from sailsim.sim.software.fitted import with_host_software
from sailsim.sim.software.gpu_software import load_gpu_software
from sailsim.sim.software.records import Provenance, SoftwareRecord, load_software, shipped_records
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import weight_format
from sailsim.workloads.models.model import ModelSpec

SAIL = "sail"
"""Name of the runner that the others are compared with."""
CORES = "cores"
"""Name of the runner that SAIL's joules are compared with: llama.cpp on the same threads of the server."""
AS_FILED = "file"
"""Value of `host_software` for an accelerator whose cores are as its machine's file says."""
OF_THE_POINT = "point"
"""Value of `hardware` for the point's own system, and of `format` for the point's own weights."""
EVERY_GPU = "gpus"
"""Value of `hardware` in an entry that defines one runner for each shipped GPU."""
SIGN = "\N{DAGGER}"
"""Mark after the title of a runner that only a simulator has run."""
LEGEND = f"{SIGN} only a simulator has run it; fastest: of measured software"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class Runner(FrozenModel):
    """Hardware with software on it, as a `[[runner]]` table of a file defines it."""

    name: str
    """Key of its results: small letters, digits, `.`, `_` and `-`."""
    title: str
    """Title in tables and figures."""
    kind: Kind
    """Kind of hardware that does the matrix products: PIM units (accelerator), cores, or a GPU."""
    hardware: str
    """System or GPU by name, or its file from this one's folder; `point` for the point's own system."""
    software: str
    """Software that does the matrix products, one of those that its kind allows."""
    host_software: str = ""
    """Software that the cores of an accelerator on the point's own system run for attention and all else that
    is no matrix product; empty for that of the system's file."""
    threads: Literal["same", "all"] = "same"
    """Number of cores that work: as many as the point has threads, or all."""
    instances: Literal["one", "best"] = "one"
    """Number of processes that share the cores: one, or as many as are fastest at the point."""
    format: str = OF_THE_POINT
    """Format of the weights: `point` for the point's own, else a llama.cpp format such as f16."""
    pays: Literal["used", "whole"] = "used"
    """Part of a server that it pays for: the part that the run uses, or all. A GPU is paid whole."""
    overhead: bool = False
    """Whether the server costs more than its price says, by the cost's `overhead` (docs/cost.md)."""
    curves: bool = True
    """Whether figures by bits and by threads draw it as a line; tables and dollars have every runner."""
    source: str
    """Reason for the runner, or the source of the choice."""
    machine: System | Gpu | None = None
    """Hardware, read once; None for the point's own. A file gives `hardware` instead."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"name is {self.name!r}; allowed are small letters, digits, '.', '_' and '-', and one of the "
                "first two at the front"
            )
        if not self.source.strip():
            raise ValueError(
                "source is empty; allowed is why the runner stands there, or where it comes from"
            )
        allowed = software_of(self.kind)
        if self.software not in allowed and not (self.kind == "cores" and self.software.endswith(".toml")):
            files = " or the path of a record" if self.kind == "cores" else ""
            raise ValueError(
                f"software is {self.software!r}; allowed on {self.kind} is one of {', '.join(allowed)}{files}"
            )
        if self.kind == "accelerator" and self.format != OF_THE_POINT:
            raise ValueError(f"format is {self.format!r}; allowed on an accelerator is {OF_THE_POINT!r}")
        if self.kind != "cores" and self.instances != "one":
            raise ValueError(f"instances is {self.instances!r}; allowed on {self.kind} is 'one'")
        if self.format != OF_THE_POINT:
            weight_format(self.format)
        kinds: tuple[Kind, ...] = ("accelerator", "cores")
        if self.machine is None:
            what = "the point's own system"
        elif isinstance(self.machine, Gpu):
            what, kinds = "a GPU", ("gpu",)
        elif self.machine.backend is None:
            what, kinds = "a CPU server without PIM units", ("cores",)
        else:
            what = "a CPU server with PIM units"
        if self.kind not in kinds:
            words = " or ".join(kinds)
            raise ValueError(f"hardware is {self.hardware!r}, {what}; allowed on it is kind {words}")
        return self

    @model_validator(mode="after")
    def _has_host_software(self) -> Self:
        hosts = [record.name for record in shipped_records() if record.can_host]
        if self.host_software and (
            self.host_software not in hosts or (self.kind, self.machine) != ("accelerator", None)
        ):
            raise ValueError(
                f"host_software is {self.host_software!r}; allowed is one of {', '.join(hosts)}, on "
                f"an accelerator whose hardware is {OF_THE_POINT!r}"
            )
        return self

    def __repr__(self) -> str:
        return f"Runner({self.name!r})"

    @property
    def marked(self) -> str:
        """Title, with `SIGN` where only a simulator has run it."""
        return self.title if self.provenance == "measured" else f"{self.title} {SIGN}"

    @property
    def record(self) -> SoftwareRecord | None:
        """Record of its software, which only software on cores has."""
        return load_software(self.software) if self.kind == "cores" and self.software != FASTEST else None

    @property
    def provenance(self) -> Provenance:
        """Whether machines have run it, a simulator, or its authors alone."""
        if self.kind == "accelerator":
            return "simulated"
        record = load_gpu_software(self.software) if self.kind == "gpu" else self.record
        return record.provenance if record else "measured"

    @property
    def rests_on(self) -> str:
        """Record and rows that its rates rest on."""
        if self.kind == "accelerator":
            return "the engine (docs/engine.md)"
        if self.kind == "gpu":
            return f"fits.json: {load_gpu_software(self.software).title}"
        if self.record is None:
            return "the records of measured software"
        return f"{self.record.name}.toml: {self.record.source}"

    @property
    def paid(self) -> Literal["used", "whole"]:
        """Part of the hardware that an hour's price covers."""
        return "whole" if self.kind == "gpu" else self.pays

    @property
    def digest(self) -> str:
        """SHA-256 of all fields and of the hardware, for keys of results."""
        content = self.model_dump(exclude={"machine", "hardware", "source"})
        # A machine's name and what it extends decide its price.
        content["machine"] = self.machine and [self.machine.digest, self.machine.name, *self.machine.extends]
        if self.software.endswith(".toml"):
            content["record"] = self.record and self.record.model_dump_json()
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def runners(against: Iterable[str | Path] = ()) -> tuple[Runner, ...]:
    """The runners that ship, followed by those of some files or machines.

    Each of ``against`` is a file of `[[runner]]` tables, a record of software (`load_software`), or a
    machine: the file of a system or a GPU, or the name of one that ships, with other values of its fields
    after it, as in "l4:sms=60". Software runs on the point's own cores. A machine runs its kind's first
    software, a server on all of its cores or, with PIM units, as an accelerator. Raises SailsimError for a
    file that is none of these, and for two runners of one name.
    """
    every = (*shipped_runners(), *(runner for path in against for runner in read_runners(path)))
    names = [runner.name for runner in every]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SailsimError(f"against: two runners have the name {twice!r}; allowed is one name each.")
    return every


@cache  # every point of a sweep runs them, and each of them has its machine's file
def shipped_runners() -> tuple[Runner, ...]:
    """The runners of `data/runners.toml`, in its order, GPUs by their names."""
    return tuple(runner for entry in _shipped_tables() for runner in _expanded(entry, "runners.toml", None))


def runner_names() -> tuple[str, ...]:
    """Names of the runners that ship, found without reading their machines."""
    return tuple(shipped_software())


def shipped_software() -> dict[str, str]:
    """Software of the runners that ship, by runner, found without reading their machines."""
    return {each["name"]: each["software"] for entry in _shipped_tables() for each in _for_each_gpu(entry)}


def _shipped_tables() -> list[dict[str, Any]]:
    table: dict[str, list[dict[str, Any]]] = tomli.loads(data_file("runners.toml").read_text("utf-8"))
    return table["runner"]


def runners_by_name(*names: str) -> tuple[Runner, ...]:
    """The shipped runners of some names, in the order of the names."""
    by_name = {runner.name: runner for runner in shipped_runners()}
    return tuple(by_name[name] for name in names)


def read_runners(path: str | Path) -> tuple[Runner, ...]:
    """The runners of a file, or the one runner of a system, a GPU or software. Raises SailsimError for
    anything else."""
    text = str(path)
    try:
        choice = FileReference.parse(text)
    except ValueError as error:
        raise SailsimError(f"against is {error}.") from None
    if choice.file in (*system_files.system_names(), *gpu_names()):
        return (_machine_runner(text),)
    table = read_toml(Path(choice.file), "runner", "a TOML file or a machine of `sailsim list system`")
    if "runner" not in table:
        if {"provenance", "based_on"} & table.keys():
            return (_software_runner(text),)
        if "kind" in table or "extends" in table:
            return (_machine_runner(text),)
        raise SailsimError(
            f"{path} has no [[runner]], kind or provenance; allowed is a file of runners, of a system, of a "
            "GPU or of software."
        )
    if choice.changes:
        raise SailsimError(
            f"against is {text!r}, which sets {next(iter(choice.changes))} of a file of runners; allowed is "
            "another value of a machine's field."
        )
    other = next((key for key in table if key != "runner"), None)
    entries = table["runner"]
    if other is not None or not isinstance(entries, list):
        raise SailsimError(f"{path}: {other or 'runner'} is unexpected; allowed are [[runner]] tables.")
    return tuple(runner for entry in entries for runner in _expanded(entry, str(path), Path(path).parent))


def identity(against: Sequence[Runner]) -> str:
    """Names and digests of the runners that are not shipped ones, as text; empty for none."""
    shipped = {runner.name for runner in shipped_runners()}
    return ",".join(f"{r.name}={r.digest}" for r in against if r.name not in shipped)


def _software_runner(path: str) -> Runner:
    """The runner of a record of software: on as many of the point's cores as it has threads."""
    record = load_software(path)
    entry = {"name": _runner_name(record.name), "title": f"cores, {record.title}", "kind": CORES}
    entry |= {"hardware": OF_THE_POINT, "software": path, "source": f"--against {path}"}
    return _validated(entry, path)


def _runner_name(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.")


def _machine_runner(text: str) -> Runner:
    """The runner of a machine that is given without one: its kind's first software on the whole machine."""
    machine = system_files.load_machine(text)
    backend = backend_of(machine)
    kind = backend.kind
    entry = {
        "name": _runner_name(machine.name),
        "title": machine.title,
        "kind": kind,
        "hardware": text,
        "software": backend.software[0],
        "overhead": kind == "accelerator",
        "source": f"--against {text}",
        "machine": machine,
    }
    whole = {"threads": "all", "instances": "best", "pays": "whole"} if kind == "cores" else {}
    return _validated(entry | whole, text)


def _expanded(entry: Any, origin: str, folder: Path | None) -> list[Runner]:
    """The runners of one table: one, or one for each shipped GPU."""
    if not isinstance(entry, dict):
        raise SailsimError(f"{origin}: runner is {entry!r}; allowed are [[runner]] tables.")
    if "machine" in entry:
        raise SailsimError(
            f"{origin}: machine is not a field of a runner; allowed is hardware, a name or a file."
        )
    return [
        _validated(each | _machine(each.get("hardware"), folder), origin) for each in _for_each_gpu(entry)
    ]


def _for_each_gpu(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """A table for each shipped GPU, with its name filled in; the table itself if it is not for every GPU."""
    if entry.get("hardware") != EVERY_GPU or entry.get("kind") != "gpu":
        return [entry]

    def filled(gpu: str, value: Any) -> Any:
        return (
            value.replace("{name}", gpu).replace("{NAME}", gpu.upper()) if isinstance(value, str) else value
        )

    return [{k: filled(gpu, value) for k, value in entry.items()} | {"hardware": gpu} for gpu in gpu_names()]


def _machine(hardware: Any, folder: Path | None) -> dict[str, Any]:
    """Fields ``hardware`` and ``machine`` of a runner, files sought in a folder; none for the point's own."""
    if not isinstance(hardware, str) or hardware == OF_THE_POINT:
        return {}
    if FileReference.parse(hardware).file.endswith(".toml") and folder is not None:
        hardware = str(folder / hardware)
    return {"hardware": hardware, "machine": system_files.load_machine(hardware)}


def _validated(entry: Mapping[str, Any], origin: str) -> Runner:
    name = entry.get("name")
    allowed = ", ".join(field for field in Runner.model_fields if field != "machine")
    where = f"{origin}, runner {name}" if isinstance(name, str) else origin
    return validate(Runner, entry, where, f"a field of a runner; allowed are {allowed}")


RUNNERS = "are Runners, as sailsim.runners makes them of names and files"
"""Sentence that says what runners are, for errors."""
MAPS = ("phases", "counts", "events", "traffic", "chosen", "energy")
"""Columns that hold numbers by name; the runner's kind decides the names."""


@dataclass(frozen=True)
class Run:
    """One runner at one point: a row of a store.

    Rates in tokens/s of the whole batch, times in seconds, memory in bytes, energy in joules of one step. A
    runner that cannot run the point has no numbers but memory, and `reason` says why. None: not known.
    """

    point: Point
    """Point with every field filled that its system decides."""
    model_title: str
    system_title: str
    patterns: str
    """Sentence on the source of the pattern counts."""
    runner: str
    title: str
    """Title in tables and figures, with `SIGN` where only a simulator has run it."""
    kind: str
    hardware: str
    """Name or file of the hardware."""
    software: str
    provenance: Provenance
    host_software: str
    """Software of the cores for attention, norms and all else that is no matrix product: a name, or `file`
    where an accelerator's cores are as their machine's file says; empty for a GPU."""
    format: str
    """Name of the weights' format."""
    types: str
    """Types of the matrices and their numbers: "q4_1 210 tensors, q8_0 1"."""
    cores: int | None
    """Cores that work; None for a GPU."""
    pays: str
    """Part of its hardware that it pays for: used or whole."""
    overhead: bool
    """Whether that costs more than its price says."""
    curves: bool
    """Whether figures by bits and by threads draw it."""
    priced_as: tuple[str, ...]
    """Machines whose price applies: the hardware, then those that its file extends."""
    memory_bytes: float
    """Bytes of weights and KV cache."""
    memory_limit_bytes: float | None
    """Bytes of weights and KV cache that the hardware can hold."""
    tokens_per_s: float | None = None
    low: float | None = None
    high: float | None = None
    """High end of the 90 % interval of the rate; `low` is its low end. It is a prediction interval of
    measurements, for an accelerator an interval over the machines of a prior (`interval`)."""
    median: float | None = None
    """Median rate over the machines of the prior."""
    percentile: float | None = None
    """Percentile of the nominal machine among those of the prior, 0..100."""
    step_s: float | None = None
    ttft_s: float | None = None
    """Seconds from the prompt to the first token; None for a step of decoding."""
    dram_bytes: float | None = None
    bandwidth_share: float | None = None
    """Share of the memory's bandwidth that the run takes, 0..1."""
    llc_share: float | None = None
    """Share of the server's last-level cache that an accelerator keeps from the cores; None for a GPU."""
    instances: int | None = None
    """Number of the software's processes on a server's cores; None for another kind."""
    energy_j: float | None = None
    """Sum of `energy`; None for a GPU, which has only a bound, `energy_high_j`."""
    energy_low_j: float | None = None
    energy_high_j: float | None = None
    """Energy with every constant at the high end of its range; a GPU's is its power limit over the step."""
    phases: Mapping[str, float] = field(default_factory=dict)
    """Seconds by phase; phases exclude each other and sum to the step."""
    counts: Mapping[str, float] = field(default_factory=dict)
    """Events of one slice's unit (docs/contract.md, section 2), and its cycles as `pim_cycles`."""
    events: Mapping[str, float] = field(default_factory=dict)
    """Events of all units, from which energy is computed (`sailsim.sim.step.tiles`)."""
    traffic: Mapping[str, float] = field(default_factory=dict)
    """Bytes from and to DRAM by kind: weights, read, written."""
    chosen: Mapping[str, float] = field(default_factory=dict)
    """Number of tensors by kind and NBW ("attn_q 4"), where the point leaves the NBW to each tensor."""
    converted: str = ""
    """Place where an accelerator's sums became floating point: memory, unit or cores."""
    energy: Mapping[str, float] = field(default_factory=dict)
    """Joules by cause."""
    reason: str = ""
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether weights and KV cache fit the hardware's memory; true where its size is not known."""
        return self.memory_limit_bytes is None or self.memory_bytes <= self.memory_limit_bytes

    def as_record(self) -> dict[str, Any]:
        """The fields as one flat row, the point's first; lists and maps are columns of their own."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "point"}
        own |= {name: dict(own[name]) for name in MAPS}
        own |= {name: list(own[name]) for name in ("priced_as", "notes")}
        return self.point.as_dict() | own | {"fits": self.fits}


COLUMNS = (*(f.name for f in (*fields(Point), *fields(Run)) if f.name != "point"), "fits")
"""Columns of a record, in their order."""


def evaluate(
    point: Point, runners: Sequence[Runner] | None = None, fields: Mapping[str, bool] | None = None
) -> list[dict[str, Any]]:
    """The records of a point as a sweep stores them, one per runner (`runs`).

    ``fields``: values of the point's own machine that are columns too, after the others.
    """
    records = [run.as_record() for run in runs(point, runners=runners)]
    columns = set_values(fields or {}, point, system_files.load_system(point.system))
    return [record | columns for record in records]


def runs(
    point: Point,
    system: System | str | Path | None = None,
    runners: Sequence[Runner] | None = None,
    constants: Mapping[End, EnergyConstants] | None = None,
    prior: str | None = PRIOR,
) -> list[Run]:
    """A run of every runner at a point, in the runners' order.

    ``system``, a machine or its name or path, takes the place of the point's; ``runners`` and the energy's
    ``constants`` those of what ships. An accelerator's interval is drawn from a ``prior``, by name or path;
    without one it has none. A machine without PIM units is run without SAIL.

    Raises SailsimError for a point that its own system cannot run at all. A runner on hardware of its own
    that cannot run the point has a reason instead of numbers.
    """
    machine = system_files.as_system(point.system if system is None else system)
    if system is not None:
        point = point.having(system=machine.name if isinstance(system, System) else str(system))
    query = _point_query(point, machine)
    patterns = _patterns(point.activations, query.model)
    joules = EnergyConstants.ends() if constants is None else constants
    chosen = shipped_runners() if runners is None else runners
    if machine.backend is None:
        set_of_units = (getattr(point, name) for name in ("nbw", "substrate", "convert"))
        if point.attention == "units" or any(value is not None for value in set_of_units):
            machine.require_pim()
        chosen = [each for each in chosen if (each.kind, each.hardware) != ("accelerator", OF_THE_POINT)]
    return [_run(runner, query, patterns, joules, prior) for runner in chosen]


def _runner_query(runner: Runner, query: StepQuery) -> StepQuery:
    machine = query.machine if runner.machine is None else runner.machine
    return replace(
        query,
        machine=machine,
        fmt=query.fmt if runner.format == OF_THE_POINT else weight_format(runner.format),
        software=runner.software,
        cores=machine.cores.count.whole
        if runner.threads == "all" and isinstance(machine, System)
        else query.point.threads,
        packed=runner.instances == "best",
        hardware="" if runner.machine is None else runner.hardware,
    )


def _point_query(point: Point, machine: System | Gpu) -> StepQuery:
    model = load_model(point.model).with_kv_bits(point.kv_bits)
    check_context(model, point)
    assert isinstance(machine, System)
    return StepQuery(
        point=point,
        machine=machine,
        model=model,
        fmt=point.formats(model),
        software="",
        resolved=point.resolved(machine, model),
    )


def step_surface(point: Point, runner: Runner, prefill: Prefill = "units") -> StepSurface:
    """Seconds of any mixed step of a runner with the point's machine, model, weights and threads.

    ``prefill``: the units or cores that multiply prompts where there are units. Raises SailsimError for a
    runner that cannot run such steps. Surfaces are cached, since their first steps are what takes time.
    """
    point = point.having(phase="decode", prompt=0, batch=1, context=1)
    key = point, runner.digest, prefill  # a runner with a machine of its own has no hash
    if key not in _SURFACES:
        machine = system_files.as_system(point.system)
        query = _runner_query(runner, _point_query(point, machine))
        backend = backend_of(query.machine, runner.kind)
        if problem := backend.refusal(query):
            raise SailsimError(problem)
        query = replace(query, prefill=prefill, host_software=runner.host_software or query.host_software)
        if runner.host_software:
            query = replace(query, machine=_with_host_software(machine, runner.host_software, "prefill"))
        _SURFACES[key] = StepSurface(backend, query)
    return _SURFACES[key]


_SURFACES: dict[tuple[Point, str, Prefill], StepSurface] = {}


def _run(
    runner: Runner,
    point_query: StepQuery,
    patterns: str,
    constants: Mapping[End, EnergyConstants],
    prior: str | None,
) -> Run:
    """One runner at a point, given the step of the point's own system.

    Raises SailsimError where that system cannot run the point.
    """
    point, system, own = point_query.point, point_query.machine, runner.machine is None
    query = _runner_query(runner, point_query)
    machine = query.machine
    backend = backend_of(machine, runner.kind)
    problem = backend.refusal(query)
    if problem is not None and own and runner.kind == "accelerator":
        raise SailsimError(problem)
    room = backend.memory_need(query)
    if problem is None and not room.fits:
        problem = room.problem(query.model, query.fmt, point.batch, point.context)
    empty = Run(
        point=query.resolved or point,
        model_title=query.model.title,
        system_title=system.title,
        patterns=patterns,
        runner=runner.name,
        title=runner.marked,
        kind=runner.kind,
        hardware=query.hardware or point.system,
        software=runner.software,
        provenance=runner.provenance,
        host_software=_host_software(runner, runner.software),
        format=query.fmt.name,
        types=query.fmt.census_in_words(query.model),
        cores=None if isinstance(machine, Gpu) else query.cores,
        pays=runner.paid,
        overhead=runner.overhead,
        curves=runner.curves,
        priced_as=backend.priced_as(machine),
        memory_bytes=room.needed,
        memory_limit_bytes=room.limit,
    )
    if problem is not None:
        return replace(empty, reason=problem)
    try:
        if runner.host_software:
            machine = _with_host_software(system, runner.host_software, point.phase)
            query = replace(query, machine=machine)
        step = backend.step(query)
    except SailsimError as error:
        if own and not runner.host_software:
            raise
        return replace(empty, reason=str(error))
    memory = machine.memory_bandwidth if isinstance(machine, Gpu) else machine.memory.read_bandwidth
    # The share is that of the record's own rate.
    share = step.dram_bytes / point.tokens * step.tokens_per_s / memory.si
    cycles = {"pim_cycles": step.pim_cycles} if runner.kind == "accelerator" else {}
    interval, words = _interval(runner, query, step, prior)
    run = replace(
        empty,
        host_software=_host_software(runner, step.software or runner.software),
        tokens_per_s=step.tokens_per_s,
        **interval,
        step_s=step.step_s,
        ttft_s=step.step_s if point.phase == "prefill" else None,
        dram_bytes=step.dram_bytes,
        bandwidth_share=float(min(1.0, share)),
        llc_share=None if isinstance(machine, Gpu) else backend.llc_share(machine),
        instances=step.instances,
        phases=dict(step.breakdown),
        counts={**step.counts, **cycles},
        events=dict(step.activity),
        traffic=dict(step.bytes_by_kind),
        chosen=dict(step.chosen),
        converted=step.converted,
        notes=(*step.notes, words) if words else step.notes,
    )
    return _with_energy(run, machine, constants)


def _interval(
    runner: Runner, query: StepQuery, step: StepResult, prior: str | None
) -> tuple[dict[str, Any], str]:
    """Interval of a step's rate, by the fields of a run, and a note on it."""
    from sailsim.analysis.uncertainty.interval import rate_interval  # stored runs are read without the engine
    from sailsim.sim.step.engine import Accelerator

    backend = backend_of(query.machine, runner.kind)
    if prior is None or not isinstance(backend, Accelerator) or not isinstance(query.machine, System):
        return {"low": step.low, "high": step.high}, ""
    point = backend.point_of(query)
    interval, words = rate_interval(point, query.machine, query.model, step.tokens_per_s, prior)
    return interval._asdict(), words


def _host_software(runner: Runner, software: str) -> str:
    """`Run.host_software` of a runner whose software is known."""
    if runner.kind == "accelerator":
        return runner.host_software or AS_FILED
    if runner.kind != "cores":
        return ""
    return software if software == FASTEST else load_software(software).host


def _with_host_software(system: System | Gpu, software: str, phase: str) -> System:
    """The point's machine with a host software. Raises SailsimError where it was not measured."""
    assert isinstance(system, System)
    problem = prompt_problem(software) if phase == "prefill" else None
    if problem is not None:
        raise SailsimError(problem)
    return with_host_software(system, software)


def _with_energy(run: Run, machine: System | Gpu, constants: Mapping[End, EnergyConstants]) -> Run:
    """A run with its joules by cause, with a GPU's bound, or with the note that they are not modelled."""
    assert run.step_s is not None
    if isinstance(machine, Gpu):
        return replace(run, energy_high_j=float(machine.tdp.value) * run.step_s)  # without the GPU's host
    try:
        use = step_events(machine, run.as_record())
    except NotModelledError as error:
        return replace(run, notes=(*run.notes, f"not modelled: {error}"))
    notes = (*run.notes, *constants_notes(machine))
    if run.kind == "accelerator":
        notes = (*notes, NOT_MODELLED)
    causes = {end: energy(use, c, end) for end, c in constants.items()}
    low, nominal, high = (sum(causes[end].values()) for end in get_args(End))
    return replace(
        run, notes=notes, energy=causes["value"], energy_j=nominal, energy_low_j=low, energy_high_j=high
    )


def _patterns(activations: str, model: ModelSpec) -> str:
    from sailsim.workloads.inference.activation_file import Activations  # stored runs are read without

    captured = Activations.load(activations or None)
    sentence = f"Pattern statistics from {captured.meta['model']} activations"
    note = captured.note(model)
    # The note repeats this sentence for another model's activations, and adds to it for the model's own.
    return f"{sentence}." if note is None or note.lower() == sentence.lower() else f"{sentence}; {note}."

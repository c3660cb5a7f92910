"""Runs: who runs a point, and one record per point and runner, with the same columns whatever it is.

A `Runner` is hardware with software on it, a rule for the weights' format and one for what it pays. Those
that ship are `data/runners.toml`; `runners` puts a user's beside them. No other module names a machine that a
point is compared with, except where the paper itself does. `runs` asks every runner for its step. What
compares runs - ratios, dollars, joules a token - is no part of a record: `compare` reckons it from several.
`evaluate` gives the records of a sweep.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import model_validator

from sailsim.analysis.costs.constants import End, NotModelledError, data_file
from sailsim.analysis.costs.energy import (
    NOT_MODELLED,
    EnergyConstants,
    borrowed,
    energy,
    use_of,
)
from sailsim.analysis.uncertainty.prior import PRIOR
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Frozen
from sailsim.base.toml_file import read_toml
from sailsim.sim.backend import (
    Backend,
    Kind,
    Prefill,
    StepQuery,
    StepResult,
    backend_of,
    check_context,
    software_of,
)
from sailsim.sim.backends.cores import CLAIMED, HOST_SOFTWARE, SERVING, SIMULATED, SOFTWARE, prompt_problem
from sailsim.sim.machine.catalog import validated
from sailsim.sim.machine.system import Gpu, System
from sailsim.sim.machine.system_files import (
    SystemReference,
    as_system,
    gpu_names,
    load_machine,
    load_system,
    system_names,
)
from sailsim.sim.point import FieldColumn, Point, set_values
from sailsim.sim.serve.surface import StepSurface
from sailsim.sim.software.fitted import with_host_software
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import weight_format
from sailsim.workloads.models.model import ModelSpec

SAIL = "sail"
"""The runner that the others are compared with."""
CORES = "cores"
"""The runner that SAIL's joules are shown beside: the same threads of the same server, llama.cpp."""
AS_FILED = "file"
"""`around` of an accelerator whose cores are as its machine's file says."""
OF_THE_POINT = "point"
"""`hardware`: the point's own system. `format`: the point's own weights."""
EVERY_GPU = "gpus"
"""`hardware` of an entry that stands for one runner a shipped GPU."""
SIGN = "\N{DAGGER}"
"""Behind the title of a record whose rate is of a simulator alone."""
LEGEND = f"{SIGN} only a simulator has run it; fastest: of measured software"
_AROUND = tuple(name for name in SOFTWARE if name not in (*HOST_SOFTWARE, SERVING))
"""Software with attention of its own."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class Runner(Frozen):
    """One runner, as a `[[runner]]` table of a file says it."""

    name: str
    """Small letters, digits, `.`, `_` and `-`; the key of its results."""
    title: str
    """In tables and figures."""
    kind: Kind
    """accelerator: PIM units do the matrix products; cores: the cores do; GPU: a GPU."""
    hardware: str
    """`point`: the point's own system; else a system or GPU by name, or its file from this one's folder."""
    software: str
    """What runs on it, of its kind's."""
    around: str = ""
    """Of an accelerator on the point's own system: whose software, of the cores', does attention and all else
    that is no matrix product; empty: as its file says."""
    threads: Literal["same", "all"] = "same"
    """Cores that work: as many as the point says, or all."""
    instances: Literal["one", "best"] = "one"
    """Processes of the software side by side on the cores: one, or as many as are fastest at the point."""
    format: str = OF_THE_POINT
    """`point`: the point's weights; else a llama.cpp format such as f16."""
    pays: Literal["used", "whole"] = "used"
    """What an hour costs: the part of a server that the run uses, or all of it. A GPU is paid whole."""
    overhead: bool = False
    """Whether the server costs more than its price says, by the cost's `overhead` (docs/cost.md)."""
    curves: bool = True
    """Whether figures by bits and by threads have a line of it; tables and dollars have every runner."""
    source: str
    """Why it stands there, or where the choice comes from."""
    machine: System | Gpu | None = None
    """The hardware, read once; None: the point's own. A file gives `hardware` instead."""

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
        if self.software not in allowed:
            raise ValueError(
                f"software is {self.software!r}; allowed on {self.kind} is one of {', '.join(allowed)}"
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
    def _is_around(self) -> Self:
        if self.around and (self.around not in _AROUND or (self.kind, self.machine) != ("accelerator", None)):
            raise ValueError(
                f"around is {self.around!r}; allowed is one of {', '.join(_AROUND)}, on an accelerator whose "
                f"hardware is {OF_THE_POINT!r}"
            )
        return self

    def __repr__(self) -> str:
        return f"Runner({self.name!r})"

    @property
    def marked(self) -> str:
        """The title, with `SIGN` where nobody has run it but a simulator."""
        simulated = self.kind == "accelerator" or self.software in (*SIMULATED, *CLAIMED)
        return f"{self.title} {SIGN}" if simulated else self.title

    @property
    def paid(self) -> Literal["used", "whole"]:
        """What an hour of it costs."""
        return "whole" if self.kind == "gpu" else self.pays

    @property
    def digest(self) -> str:
        """SHA-256 of all that the runner is, its hardware included, for keys of results."""
        content = self.model_dump(exclude={"machine", "hardware", "source"})
        # A machine's name and what it extends decide its price.
        content["machine"] = self.machine and [self.machine.digest, self.machine.name, *self.machine.extends]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def runners(against: Iterable[str | Path] = ()) -> tuple[Runner, ...]:
    """The runners that ship, and those of some files or machines behind them.

    Each of ``against`` is a file of `[[runner]]` tables, or a machine: the file of a system or a GPU, or the
    name of one that ships, with other values of its fields behind it, as in "l4:sms=60". A machine runs its
    kind's first software, a server on all of its cores or, with PIM units, as an accelerator. Raises
    SailsimError for a file that is none of these, and for two runners of one name.
    """
    every = (*shipped_runners(), *(runner for path in against for runner in read_runners(path)))
    names = [runner.name for runner in every]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SailsimError(f"beside: two runners have the name {twice!r}; allowed is one name each.")
    return every


@cache  # 13 runners, each with its machine's file, that every point is asked by
def shipped_runners() -> tuple[Runner, ...]:
    """The runners of `data/runners.toml`, in its order, GPUs by their names."""
    return tuple(runner for entry in _shipped() for runner in _expanded(entry, "runners.toml", None))


def runner_names() -> tuple[str, ...]:
    """The names of the runners that ship, without their machines."""
    return tuple(shipped_software())


def shipped_software() -> dict[str, str]:
    """The software of the runners that ship, by their names, without their machines."""
    return {each["name"]: each["software"] for entry in _shipped() for each in _each(entry)}


def _shipped() -> list[dict[str, Any]]:
    table: dict[str, list[dict[str, Any]]] = tomllib.loads(data_file("runners.toml").read_text("utf-8"))
    return table["runner"]


def named(*names: str) -> tuple[Runner, ...]:
    """Some of the runners that ship, in the order of their names here."""
    by_name = {runner.name: runner for runner in shipped_runners()}
    return tuple(by_name[name] for name in names)


def read_runners(path: str | Path) -> tuple[Runner, ...]:
    """The runners of a file, or the one that a system or GPU file or name stands for."""
    text = str(path)
    try:
        choice = SystemReference.parse(text)
    except ValueError as error:
        raise SailsimError(f"beside is {error}.") from None
    if choice.file in (*system_names(), *gpu_names()):
        return (_of_machine(text),)
    table = read_toml(Path(choice.file), "runner", "a TOML file or a machine of `sailsim list system`")
    if "runner" not in table:
        if "kind" in table or "extends" in table:
            return (_of_machine(text),)
        raise SailsimError(
            f"{path} has no [[runner]] and no kind; allowed is a file of runners, of a system or of a GPU."
        )
    if choice.changes:
        raise SailsimError(
            f"beside is {text!r}, which sets {next(iter(choice.changes))} of a file of runners; allowed is "
            "another value of a machine's field."
        )
    other = next((key for key in table if key != "runner"), None)
    entries = table["runner"]
    if other is not None or not isinstance(entries, list):
        raise SailsimError(f"{path}: {other or 'runner'} is unexpected; allowed are [[runner]] tables.")
    return tuple(runner for entry in entries for runner in _expanded(entry, str(path), Path(path).parent))


def identity(against: Sequence[Runner]) -> str:
    """What results of some runners beyond the shipped ones rest on, as text; empty for none."""
    shipped = {runner.name for runner in shipped_runners()}
    return ",".join(f"{r.name}={r.digest}" for r in against if r.name not in shipped)


def _of_machine(text: str) -> Runner:
    """The runner that a machine alone stands for."""
    machine = load_machine(text)
    backend = backend_of(machine)
    kind = backend.kind
    entry = {
        "name": re.sub(r"[^a-z0-9._-]+", "-", machine.name.lower()).strip("-."),
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
    """The runners of one table: one, or one a shipped GPU."""
    if not isinstance(entry, dict):
        raise SailsimError(f"{origin}: runner is {entry!r}; allowed are [[runner]] tables.")
    if "machine" in entry:
        raise SailsimError(
            f"{origin}: machine is not a field of a runner; allowed is hardware, a name or a file."
        )
    return [_validated(each | _machine(each.get("hardware"), folder), origin) for each in _each(entry)]


def _each(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """A table itself; of one for every GPU one a GPU, with its name in the texts."""
    if entry.get("hardware") != EVERY_GPU or entry.get("kind") != "gpu":
        return [entry]

    def of(gpu: str, said: Any) -> Any:
        return said.replace("{name}", gpu).replace("{NAME}", gpu.upper()) if isinstance(said, str) else said

    return [{k: of(gpu, said) for k, said in entry.items()} | {"hardware": gpu} for gpu in gpu_names()]


def _machine(hardware: Any, folder: Path | None) -> dict[str, Any]:
    """The hardware of a runner and its machine, from a file's folder; nothing of the point's own."""
    if not isinstance(hardware, str) or hardware == OF_THE_POINT:
        return {}
    if SystemReference.parse(hardware).file.endswith(".toml") and folder is not None:
        hardware = str(folder / hardware)
    return {"hardware": hardware, "machine": load_machine(hardware)}


def _validated(entry: Mapping[str, Any], origin: str) -> Runner:
    """The runner of a table, or SailsimError with the first thing that is wrong."""
    name = entry.get("name")
    allowed = ", ".join(field for field in Runner.model_fields if field != "machine")
    where = f"{origin}, runner {name}" if isinstance(name, str) else origin
    return validated(Runner, entry, where, f"a field of a runner; allowed are {allowed}")


RUNNERS = "are Runners, as sailsim.runners makes them of names and files"
"""What runners are, in a sentence."""
MAPS = ("phases", "counts", "events", "traffic", "chosen", "energy")
"""Columns that hold numbers by name: which names, the runner's kind decides."""


@dataclass(frozen=True)
class Run:
    """One runner at one point: a row of a store.

    Rates in tokens/s of the whole batch, times in seconds, memory in bytes, energy in joules of one step. A
    runner that cannot run the point has no numbers but memory, and `reason` says why. None: not known.
    """

    point: Point
    """With everything filled that its system decides."""
    model_title: str
    system_title: str
    patterns: str
    """Where the pattern counts come from, in a sentence."""
    runner: str
    title: str
    """In tables and figures, with `SIGN` where nobody has run it but a simulator."""
    kind: str
    hardware: str
    """A name or a file."""
    software: str
    around: str
    """Whose software does attention, norms and all else that is no matrix product: a software's name, `file`
    where an accelerator's cores are as their machine's file says; empty of a GPU."""
    format: str
    """Of the weights, by its name."""
    types: str
    """Which types the matrices have, and how many: "q4_1 210 tensors, q8_0 1"."""
    cores: int | None
    """Cores that work; None for a GPU."""
    pays: str
    """used or whole: the part of its hardware that it pays for."""
    overhead: bool
    """Whether that costs more than its price says."""
    curves: bool
    """Whether figures by bits and by threads draw it."""
    priced_as: tuple[str, ...]
    """The machines whose price it has: the hardware, then what its file extends."""
    memory_bytes: float
    """Weights and KV cache."""
    memory_limit_bytes: float | None
    """What the hardware holds of them."""
    tokens_per_s: float | None = None
    low: float | None = None
    high: float | None = None
    """Nine of ten measurements fall between low and high, of an accelerator nine of ten machines that could
    be meant (`interval`); None where a rate has no interval."""
    median: float | None = None
    """Of those machines."""
    percentile: float | None = None
    """Of the nominal machine among them, 0..100."""
    step_s: float | None = None
    ttft_s: float | None = None
    """Seconds from the prompt to the first token; None of a step of decoding."""
    dram_bytes: float | None = None
    bandwidth_share: float | None = None
    """Of what the hardware's memory gives, the part that the run takes: 0..1."""
    llc_share: float | None = None
    """Of the server's last-level cache, the part that an accelerator keeps from all cores; None of a GPU."""
    instances: int | None = None
    """Processes of the software side by side on a server's cores; None for another kind."""
    energy_j: float | None = None
    """The sum of `energy`; None for a GPU, which has a bound alone, `energy_high_j`."""
    energy_low_j: float | None = None
    energy_high_j: float | None = None
    """Every constant at one end of its range; of a GPU the board's power over the step."""
    phases: Mapping[str, float] = field(default_factory=dict)
    """Seconds; they exclude each other and sum to the step."""
    counts: Mapping[str, float] = field(default_factory=dict)
    """Of one slice's unit (docs/contract.md, section 2), and its cycles as `pim_cycles`."""
    events: Mapping[str, float] = field(default_factory=dict)
    """Of all units: what energy is reckoned from (`sailsim.sim.step.tiles`)."""
    traffic: Mapping[str, float] = field(default_factory=dict)
    """Bytes from and to DRAM by kind: weights, read, written."""
    chosen: Mapping[str, float] = field(default_factory=dict)
    """Where the point leaves the NBW to each tensor: how many of a kind have which ("attn_q 4")."""
    converted: str = ""
    """Where an accelerator's sums became floating point: memory, unit or cores."""
    energy: Mapping[str, float] = field(default_factory=dict)
    """Joules by cause."""
    reason: str = ""
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether weights and KV cache fit the hardware's memory; so too where its size is not known."""
        return self.memory_limit_bytes is None or self.memory_bytes <= self.memory_limit_bytes

    def as_record(self) -> dict[str, Any]:
        """The fields as one flat row, the point's first; lists and maps are columns of their own."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "point"}
        own |= {name: dict(own[name]) for name in MAPS}
        own |= {name: list(own[name]) for name in ("priced_as", "notes")}
        return self.point.as_dict() | own | {"fits": self.fits}


COLUMNS = tuple(
    [f.name for f in fields(Point)] + [f.name for f in fields(Run) if f.name != "point"] + ["fits"]
)
"""Of a record, in their order."""


def evaluate(
    point: Point, runners: Sequence[Runner] | None = None, fields: Sequence[FieldColumn] = ()
) -> list[dict[str, Any]]:
    """The records of a point, a row a runner: what a sweep stores. See `runs`.

    ``fields``: values of the point's own machine that are columns too, behind the others.
    """
    records = [run.as_record() for run in runs(point, runners=runners)]
    columns = set_values(fields, point, load_system(point.system))
    return [record | columns for record in records]


def runs(
    point: Point,
    system: System | str | Path | None = None,
    runners: Sequence[Runner] | None = None,
    constants: Mapping[End, EnergyConstants] | None = None,
    prior: str | None = PRIOR,
) -> list[Run]:
    """Every runner at a point, in the runners' order.

    ``system``, a machine or its name or path, takes the place of the point's; ``runners`` and the energy's
    ``constants`` those of what ships; an accelerator's interval is drawn from a ``prior``, by name or path,
    and without one it has none. On a machine without units nobody is SAIL.

    Raises SailsimError for a point that its own system cannot run at all;
    a runner on hardware of its own that cannot has a reason instead of numbers.
    """
    machine = as_system(point.system if system is None else system)
    if system is not None:
        point = point.having(system=machine.name if isinstance(system, System) else str(system))
    request = _request(point, machine)
    patterns = _patterns(point.activations, request.model)
    joules = EnergyConstants.ends() if constants is None else constants
    who = shipped_runners() if runners is None else runners
    if machine.backend is None:  # nobody is SAIL
        if point.attention == "units" or any(
            getattr(point, name) is not None for name in ("nbw", "substrate", "convert")
        ):
            machine.require_pim()
        who = [each for each in who if (each.kind, each.hardware) != ("accelerator", OF_THE_POINT)]
    return [_run(runner, request, patterns, joules, prior) for runner in who]


def _asked(runner: Runner, at: StepQuery) -> tuple[Backend, StepQuery]:
    """What runs a runner's step, and what it is asked for where the point's own system is asked for `at`."""
    machine = at.machine if runner.machine is None else runner.machine
    point = at.point
    return backend_of(machine, runner.kind), replace(
        at,
        machine=machine,
        fmt=at.fmt if runner.format == OF_THE_POINT else weight_format(runner.format),
        software=runner.software,
        cores=point.threads
        if runner.threads == "same" or isinstance(machine, Gpu)
        else machine.cores.count.whole,
        packed=runner.instances == "best",
        hardware="" if runner.machine is None else runner.hardware,
    )


def _request(point: Point, machine: System | Gpu) -> StepQuery:
    """A step of the point's own system, without a software."""
    model = load_model(point.model).cached(point.kv_bits)
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
    """Seconds of any mixed step of a runner: machine, model, weights and threads are the point's.

    ``prefill``: who multiplies prompts where there are units. Raises SailsimError for a runner that cannot
    run such steps. Known ones are kept: what a surface costs is its first steps.
    """
    point = point.having(phase="decode", prompt=0, batch=1, context=1)
    key = point, runner.digest, prefill  # a runner with a machine of its own has no hash
    if key not in _SURFACES:
        machine = as_system(point.system)
        backend, asked = _asked(runner, _request(point, machine))
        if problem := backend.refusal(asked):
            raise SailsimError(problem)
        asked = replace(asked, prefill=prefill, around=runner.around or asked.around)
        if runner.around:
            asked = replace(asked, machine=_with_cores(machine, runner.around, "prefill"))
        _SURFACES[key] = StepSurface(backend, asked)
    return _SURFACES[key]


_SURFACES: dict[tuple[Point, str, Prefill], StepSurface] = {}


def _run(
    runner: Runner, at: StepQuery, patterns: str, constants: Mapping[End, EnergyConstants], prior: str | None
) -> Run:
    """One runner at the point of a request to the point's own system.

    Raises SailsimError where that system cannot do what the point asks of it.
    """
    point, system, own = at.point, at.machine, runner.machine is None
    backend, asked = _asked(runner, at)
    machine = asked.machine
    problem = backend.refusal(asked)
    if problem is not None and own and runner.kind == "accelerator":
        raise SailsimError(problem)
    room = backend.room(asked)
    if problem is None and not room.fits:
        problem = room.problem(at.model, asked.fmt, point.batch, point.context)
    empty = Run(
        point=at.resolved or point,
        model_title=at.model.title,
        system_title=system.title,
        patterns=patterns,
        runner=runner.name,
        title=runner.marked,
        kind=runner.kind,
        hardware=asked.hardware or point.system,
        software=runner.software,
        around=_around(runner, runner.software),
        format=asked.fmt.name,
        types=asked.fmt.census_in_words(at.model),
        cores=None if isinstance(machine, Gpu) else asked.cores,
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
        if runner.around:
            machine = _with_cores(system, runner.around, point.phase)
            asked = replace(asked, machine=machine)
        step = backend.step(asked)
    except SailsimError as error:
        if own and not runner.around:
            raise
        return replace(empty, reason=str(error))
    # Of the memory's bandwidth, by the rate that is said beside it.
    memory = machine.memory_bandwidth if isinstance(machine, Gpu) else machine.memory.read_bandwidth
    share = step.dram_bytes / point.tokens * step.tokens_per_s / memory.si
    cycles = {"pim_cycles": step.pim_cycles} if runner.kind == "accelerator" else {}
    interval, words = _interval(backend, asked, step, prior)
    run = replace(
        empty,
        around=_around(runner, step.software or runner.software),
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
    backend: Backend, asked: StepQuery, step: StepResult, prior: str | None
) -> tuple[dict[str, Any], str]:
    """Of a step's rate, by the fields of a run, and what is said of it."""
    from sailsim.analysis.uncertainty.interval import spread  # stored runs are read without the engine
    from sailsim.sim.step.engine import Accelerator

    if prior is None or not isinstance(backend, Accelerator) or not isinstance(asked.machine, System):
        return {"low": step.low, "high": step.high}, ""
    interval, words = spread(backend.point_of(asked), asked.machine, asked.model, step.tokens_per_s, prior)
    return interval._asdict(), words


def _around(runner: Runner, software: str) -> str:
    """`Run.around` of a runner whose software is known."""
    if runner.kind == "accelerator":
        return runner.around or AS_FILED
    return HOST_SOFTWARE.get(software, software) if runner.kind == "cores" else ""


def _with_cores(system: System | Gpu, software: str, phase: str) -> System:
    """The point's machine with a software around its units. Raises SailsimError where it was not seen."""
    assert isinstance(system, System)
    problem = prompt_problem(software) if phase == "prefill" else None
    if problem is not None:
        raise SailsimError(problem)
    return with_host_software(system, software)


def _with_energy(run: Run, machine: System | Gpu, constants: Mapping[End, EnergyConstants]) -> Run:
    """The run with its joules: by cause, or a GPU's bound, or the note that they are not modelled."""
    assert run.step_s is not None
    if isinstance(machine, Gpu):
        return replace(run, energy_high_j=float(machine.tdp.value) * run.step_s)  # its host is not in it
    try:
        use = use_of(machine, run.as_record())
    except NotModelledError as error:
        return replace(run, notes=(*run.notes, f"not modelled: {error}"))
    notes = (*run.notes, *borrowed(machine))
    if run.kind == "accelerator":
        notes = (*notes, NOT_MODELLED)
    causes = {end: energy(use, c, end) for end, c in constants.items()}
    low, nominal, high = (sum(causes[end].values()) for end in get_args(End))
    return replace(
        run, notes=notes, energy=causes["value"], energy_j=nominal, energy_low_j=low, energy_high_j=high
    )


def _patterns(activations: str, model: ModelSpec) -> str:
    """What the pattern counts come from, in one sentence."""
    from sailsim.workloads.inference.activation_file import Activations  # stored runs are read without

    captured = Activations.load(activations or None)
    sentence = f"Pattern statistics from {captured.meta['model']} activations"
    note = captured.note(model)
    # For another model's activations the note is this sentence; for the model's own it adds to it.
    return f"{sentence}." if note is None or note.lower() == sentence.lower() else f"{sentence}; {note}."

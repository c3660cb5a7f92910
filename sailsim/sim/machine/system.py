"""Machines as data: what a system file may say, field by field, with units and bounds.

One file builds the machine of the fast engine and of gem5. Every number is a `Quantity`, so nothing here has
a default: what a machine is, is written in its file (`systems/*.toml`). Its memory is in `dram`, its
units in `pim`.

Other accelerators' backends are modules of `sailsim.sim.backends`, found by their names in that folder; a
machine names one in `[accelerator] backend = "..."`, whose section model checks the rest. No list of them
exists, so a new one is a module and a system file.
"""

from __future__ import annotations

import hashlib
import json
import pkgutil
from dataclasses import replace
from importlib import import_module, resources
from math import inf
from types import ModuleType
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    BeforeValidator,
    GetJsonSchemaHandler,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Choice, ChoiceRule, Frozen, Quantity, QuantityRule
from sailsim.sim.machine.catalog import (
    Bandwidth,
    BytesPerCycle,
    Clock,
    Cycles,
    Entries,
    Latency,
    Line,
    Share,
    Ways,
    first_problem,
)
from sailsim.sim.machine.dram import Dram, Memory, MemoryPath, MemoryReader, MemorySystem
from sailsim.sim.machine.pim import NBWS, Pim

_FOLDER = "sailsim.sim.backends"
SECTION_PROBLEM = "section_problem"
"""Type of the error of a section that its backend refuses; `tables.sentence` knows it."""


class AcceleratorSpec(Frozen):
    """What `[accelerator]` says, in any backend's words."""

    backend: str
    """Which module of `sailsim.sim.backends` reads it."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        if cls is not AcceleratorSpec:
            return handler(schema)
        return {"anyOf": [handler(model.__pydantic_core_schema__) for model in section_models().values()]}


def backend_modules() -> tuple[str, ...]:
    """The modules of backends, in alphabetical order."""
    folder = str(resources.files("sailsim.sim") / "backends")
    return tuple(sorted(module.name for module in pkgutil.iter_modules([folder])))


def backend_module(name: str) -> ModuleType:
    """The module of a backend, loaded when it is asked for first."""
    return import_module(f"{_FOLDER}.{name}")


def section_models() -> dict[str, type[AcceleratorSpec]]:
    """Backend -> model of its section, of those that have one: what their `accelerator` method takes."""
    found = {}
    for name in backend_modules():
        model = getattr(backend_module(name), "SPEC", None)
        if isinstance(model, type) and issubclass(model, AcceleratorSpec):
            found[name] = model
    return found


def _section(table: Any) -> AcceleratorSpec:
    """The section of a table, checked by the model of the backend that it names."""
    if isinstance(table, AcceleratorSpec):
        return table
    models = section_models()
    named = table.get("backend") if isinstance(table, dict) else None
    problem = f"backend is {named!r}; allowed are {', '.join(models)}"
    if named in models:
        try:
            return models[named].model_validate(table)
        except ValidationError as error:
            fields = ", ".join(models[named].model_fields)
            problem = first_problem(error, f"a field of backend {named}; allowed are {fields}")
    raise PydanticCustomError(SECTION_PROBLEM, "{text}", {"text": problem})


class CoreSpec(Frozen):
    """The host's cores. The fast engine uses count, clock and peak rates; gem5 an O3 core with all."""

    count: Annotated[Quantity, QuantityRule("cores", least=1, whole=True)]
    clock: Clock
    isa: Annotated[Choice, ChoiceRule("armv8.2-a+dotprod", "armv8.4-a+sve+i8mm", "armv9-a+sve2+i8mm")]
    """What kernels may use: SDOT alone (Neoverse N1), SVE and i8mm (V1), or SVE2 and i8mm (N2, V2)."""
    fetch_width: Annotated[Quantity, QuantityRule("instr/cycle", least=1, whole=True)]
    issue_width: Annotated[Quantity, QuantityRule("ops/cycle", least=1, whole=True)]
    """Rename, dispatch, issue and commit width."""
    rob: Entries
    iq: Entries
    lq: Entries
    sq: Entries
    int_registers: Annotated[Quantity, QuantityRule("registers", least=33, whole=True)]
    vector_registers: Annotated[Quantity, QuantityRule("registers", least=33, whole=True)]
    load_latency: Cycles
    vector_load_latency: Cycles
    fma_latency: Cycles
    table_latency: Cycles
    """TBL of one or two registers."""
    mispredict: Cycles
    simd_pipes: Annotated[Quantity, QuantityRule("pipes", least=1, whole=True)]
    simd_width: Annotated[Quantity, QuantityRule("bits", least=64, whole=True)]
    int8_macs: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)]
    """Peak of one core with SDOT."""
    fp32_flops: Annotated[Quantity, QuantityRule("FLOP/cycle", above=0)]
    """Peak of one core; a fused multiply-add is two."""


class Cache(Frozen):
    """A private cache."""

    size: Annotated[Quantity, QuantityRule("KiB", above=0)]
    ways: Ways
    line: Line
    latency: Cycles
    """Load to use, core cycles."""
    mshrs: Entries


class L2(Cache):
    """The private second level, the core's gate to everything shared."""

    bandwidth: BytesPerCycle
    """What one core can read from it, per core cycle."""


class LastLevelCache(Frozen):
    """The shared cache: slices on a mesh."""

    slices: Annotated[Quantity, QuantityRule("slices", least=1, most=64, whole=True)]
    slice_size: Annotated[Quantity, QuantityRule("MiB", above=0)]
    ways: Ways
    line: Line
    latency: Latency
    """Load to use."""
    clock: Clock
    """Of the mesh and of the slices' SRAM."""
    mshrs: Entries
    """Transactions that one slice tracks."""
    core_bandwidth: BytesPerCycle
    """What one core can read from it, per core cycle."""

    @property
    def size(self) -> int:
        """Bytes of all slices."""
        return self.slices.whole * int(self.slice_size.si)

    def slice_size_in(self, slices: float) -> float:
        """What `slice_size` must be for another number of slices to make a cache of the same size."""
        return float(self.slices.value) * float(self.slice_size.value) / slices


class ProgramAttention(Frozen):
    """How the program `decode` attends (`workloads/kernels/decode`, `AttentionModel`): threads take turns at
    runs of positions of a head of keys, then at heads of queries, and ask for the cache ahead."""

    positions: Entries
    """Of a run; a head's last one may be shorter."""
    widening: Annotated[Quantity, QuantityRule("cycles", above=0)]
    """To turn a number of the cache into a float, once for the heads of queries that share it."""
    head: Annotated[Quantity, QuantityRule("cycles", least=0)]
    """Of a head of queries over floats beside its products, however long the sequence."""
    barriers: Annotated[Quantity, QuantityRule("barriers", least=0, whole=True)]
    """That threads meet at over floats beside the one at the end."""
    codes_keys: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)]
    """Products with keys in a cycle over a cache of 8-bit codes, where a key serves one head of queries."""
    codes_keys_shared: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)]
    """The same where it serves four; between and beyond, cycles go with the keys for a head."""
    codes_values: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)]
    """As `codes_keys`, with values."""
    codes_values_shared: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)]
    """As `codes_keys_shared`."""
    codes_outputs: Entries
    """Numbers of a head's values that a thread works on at a time there."""
    codes_start: Annotated[Quantity, QuantityRule("cycles", least=0)]
    """Of as many numbers beside, a thread, however long the sequence: all threads begin in one place."""
    softmax: Annotated[Quantity, QuantityRule("cycles", least=0)]
    """Of a score between both products, by cores or units: softmax and rounding; a head is on one thread."""
    score_copy: Annotated[Quantity, QuantityRule("cycles", least=0)]
    """Of a score that units made: its softmax reads it out of their tiles first."""
    codes_score: Annotated[Quantity, QuantityRule("cycles", least=0)]
    """Of a score that cores made over codes: its way from core to core, or out of caches beyond the L1."""
    codes_head: Annotated[Quantity, QuantityRule("cycles", least=0)]
    """Of a head of queries there beside, however long the sequence."""
    codes_barriers: Annotated[Quantity, QuantityRule("barriers", least=0, whole=True)]
    """As `barriers`."""

    @model_validator(mode="after")
    def _shares(self) -> Self:
        for name in ("codes_keys", "codes_values"):
            alone, shared = getattr(self, name).value, getattr(self, f"{name}_shared").value
            if shared > 4 * alone:
                raise ValueError(
                    f"{name}_shared is {shared:g} MAC/cycle; allowed is at most four times {name}, {alone:g}"
                )
        return self


class HostSoftware(Frozen):
    """What the software on the cores costs around the PIM units."""

    simd_share: Share
    """Share of the peak fp32 rate that norm, RoPE, softmax and quantization reach."""
    attention_rate: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)]
    """Products of attention that a thread does in a cycle; a head of a sequence is on one thread, but of
    `program`, where they are those of floats alone."""
    attention_ahead: Share | None = None
    """Share of attention's computing that goes on while it reads the cache; None: they take turns."""
    program: ProgramAttention | None = None
    """Attention of this project's program; None: that of measured software, at `attention_rate` alone."""
    lines_share: Annotated[Quantity, QuantityRule("ratio", above=0, most=1)] | None = None
    """Share of the lines that its L2 can have under way to DRAM which a core does have; None: all."""
    float_rate: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)] | None = None
    """Products of a thread in a cycle where the weights are floats, which no PIM unit takes; None: such
    weights are refused."""
    grid_rate: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)] | None = None
    """The same where one code stands for several weights (IQ1, IQ2, IQ3)."""
    barrier: Annotated[Quantity, QuantityRule("ns", least=0)]
    """What each thread adds to the time in which the threads of an operation meet."""
    product_overhead: Annotated[Quantity, QuantityRule("ns", least=0)]
    """What a matrix product of the cores loses beside its barrier, whatever its size and the threads."""
    bare_metal: Annotated[Quantity, QuantityRule("ns", least=0)] | None = None
    """What every product loses besides, on cores or units, on bare metal; 0: a virtual machine loses nothing.
    None: not said which, nothing is lost and the interval holds both."""
    hand_over_share: Annotated[Quantity, QuantityRule("ratio", least=0, most=1)]
    """Share of it that is work around a product, which the cores do as well where a PIM unit multiplies:
    rounding activations, the norm of a single row, handing over from one operation to the next."""
    submit: Latency
    """Preparing one descriptor and handing it to a unit with LUTMM; a thread does one after the other."""
    poll: Latency
    """From a unit's completion record to the core that waits for it, and the time to read one record."""
    result_copy: Annotated[Quantity, QuantityRule("cycles", above=0)] | None = None
    """What a thread takes to copy a scaled result of the units to where the next operation reads it; of
    products that share an input the last one's count, the others' are copied meanwhile. None: units leave
    them there."""
    convert_cycles: Annotated[Quantity, QuantityRule("cycles", above=0)]
    """What a thread takes to make a float of an integer sum of the units, scale and add it; and as much for
    each scale, which serves all rows of a batch."""


class _MachineFile(Frozen):
    """What every machine has."""

    format: Literal[1]
    """Version of this layout."""
    name: str
    title: str
    extends: tuple[str, ...] = ()
    """The files that this one was built on, nearest first (filled when the file is read)."""
    sources: dict[str, str]
    """Citations that quantities refer to by key."""

    @field_validator("name")
    @classmethod
    def _is_named(cls, name: str) -> str:
        if not name.strip():
            raise ValueError(f"is {name!r}; allowed is a text that is not empty")
        return name

    @property
    def digest(self) -> str:
        """SHA-256 of all that the machine is, for keys of results; name, title and citations do not count."""
        return hashlib.sha256(json.dumps(self._content()).encode()).hexdigest()

    def _content(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"name", "title", "extends", "sources"}, by_alias=True)

    def citation(self, source: str) -> str:
        """The full citation behind a quantity's `source`."""
        return self.sources.get(source, source)


class System(_MachineFile):
    """A CPU server, with PIM units (`pim`) or without."""

    kind: Literal["cpu"]
    cores: CoreSpec
    l1i: Cache
    l1d: Cache
    l2: L2
    llc: LastLevelCache
    memory: Memory
    host: HostSoftware
    pim: Pim | None = None
    accelerator: Annotated[SerializeAsAny[AcceleratorSpec], BeforeValidator(_section)] | None = None
    """Another accelerator than `pim`: which, and what it is, in its backend's fields."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.accelerator is not None and self.has_pim:
            raise ValueError("accelerator stands beside an enabled pim; allowed is one of the two")
        if self.pim is not None:
            # The widths of an ordinary tile; a run's own widths are checked when it is timed.
            try:
                unit = _core.SliceConfig(self.unit_text())
                _core.plan_tile(
                    unit, (4096, 4096, 1, 4, 4, 8, self.pim.default_nbw or NBWS[0], 0), scaled=False
                )
            except ValueError as error:
                raise ValueError(f"pim does not fit: {str(error).rstrip('.')}") from None
        return self

    @property
    def has_pim(self) -> bool:
        """Whether GEMVs can go to PIM units on this machine."""
        return self.pim is not None and self.pim.enabled

    def require_pim(self) -> Pim:
        """Its PIM units.

        Raises:
            SailsimError: it has none, or they are switched off.
        """
        if self.pim is None or not self.has_pim:
            raise self._without_pim()
        return self.pim

    def _without_pim(self) -> SailsimError:
        """That it has no units, with machines of its family that have some."""
        other = self.accelerator
        its = "" if other is None else f", its accelerator has backend {other.backend}"
        bases = {f'extends = "{name}"' for name in (self.name, *self.extends)}
        texts = {
            file.name: file.read_text("utf-8")
            for file in (resources.files("sailsim.sim") / "data" / "systems").iterdir()
        }
        near = sorted(
            name.removesuffix(".toml")
            for name, text in texts.items()
            if "\n[pim]\n" in text and any(base in text.partition("[pim]")[0] for base in bases)
        )
        these = f"{' or '.join(near[:2])} has some" if near else "allowed is one with PIM units"
        return SailsimError(
            f"system {self.name} has no enabled [pim] section, so no units{its}; {these}, and "
            "`sailsim run` takes it as cores alone."
        )

    @property
    def backend(self) -> str | None:
        """The module of `sailsim.sim.backends` that runs its matrix products; None: the cores alone do."""
        if self.accelerator is not None:
            return self.accelerator.backend
        return "sail" if self.has_pim else None

    @property
    def unit_convert(self) -> str:
        """Where a unit converts that answers a descriptor by itself: cores that convert are not asked."""
        if self.pim is None or self.pim.convert.value == "cores":
            return "memory"
        return str(self.pim.convert.value)

    def _content(self) -> dict[str, Any]:
        content = super()._content()
        if self.pim is not None:  # wherever its file lies: what is in it counts
            content["pim"]["substrate"]["value"] = self.pim.load_substrate().digest
        return content

    def unit_text(self, **overrides: Any) -> str:
        """One of its PIM units in the text form that the C++ core, gem5 and the emulator read.

        `overrides` as in `Pim.unit_text`.

        Raises:
            ValueError: a field that no unit has.
            SailsimError: the machine has no PIM section, or a substrate that cannot be read.
        """
        if self.pim is None:
            raise self._without_pim()
        slices = overrides.pop("slices", self.llc.slices.whole)
        rate = weights_rate(self, max(1, slices))  # none at all the core refuses
        return self.pim.unit_text(slices, rate, **overrides)

    def slice_config(self, **overrides: Any) -> _core.SliceConfig:
        """The C++ core's view of one PIM unit; `overrides` as in `unit_text`.

        Raises:
            ValueError: as `unit_text`.
            SailsimError: as `unit_text`, and for choices that no unit has together.
        """
        return self.config_of(self.unit_text(**overrides))

    def config_of(self, unit: str) -> _core.SliceConfig:
        """The C++ core's view of one of its units in text form.

        Raises:
            SailsimError: choices that no unit has together, such as a substrate and a place of conversion.
        """
        try:
            return _core.SliceConfig(unit)
        except ValueError as error:
            raise SailsimError(f"system {self.name}: {str(error).rstrip('.')}.") from None


def memory_paths(system: System) -> tuple[MemoryPath, MemoryPath]:
    """A unit's ways to the LLC and, in long streams, to DRAM.

    The published latencies are a core's: a unit has no private caches to cross, and a stream finds its DRAM
    row open. Refreshes are part of a mean latency; they block, so what is faster between them is so by
    1 / (1 - their share).
    """
    pim, llc, dram = system.pim, system.llc, Dram(system.memory, system.llc.line.whole)
    assert pim is not None
    port, line = pim.port.value * pim.clock.si, llc.line.whole
    private = system.l2.latency.value / system.cores.clock.si
    chip = max(llc.latency.si - private, line / port)
    saved = private + system.memory.timing.trcd.si
    far = max(system.memory.latency.si - saved / (1 - dram.refreshing), chip)
    own = (port, pim.mshrs.whole, line)
    return MemoryPath(chip, *own), MemoryPath(far, *own)


def weights_rate(system: System, slices: int) -> float:
    """Bytes/s of weights that memory brings each of `slices` that read by themselves: its share of DRAM, or
    what its port and its lines under way let it have."""
    share, stream = _streamed_share(system), _stream(system, slices)
    asked = slices * memory_paths(system)[1].rate
    reader = replace(stream, demand=asked / share, window=stream.window / share)
    return _core.alone(system.memory.peak, reader.fields, 0.0) * share / slices


def window(system: System) -> float:
    """Bytes that one core has under way to DRAM."""
    share = system.host.lines_share
    return system.l2.mshrs.value * system.l2.line.value * (share.value if share is not None else 1.0)


def server_memory(system: System, threads: int, stream_limit: float = inf) -> MemorySystem:
    """A server's DRAM beside `threads` cores and a stream of weights that waits nowhere on chip.

    The stream asks for `stream_limit` bytes/s at most and shares DRAM with the cores max-min fair.
    """
    dram = Dram(system.memory, system.llc.line.whole)
    return MemorySystem(
        peak=system.memory.peak,
        read_share=_streamed_share(system),
        write_share=system.memory.write_share.value,
        stream_limit=stream_limit,
        depth=0,
        background=False,
        buffer=0.0,
        cores=MemoryReader(inf, threads * window(system), system.memory.latency.si, queue=dram.queue),
    )


def _streamed_share(system: System) -> float:
    """Share of the DRAM peak that streams of reads get: as measured, or what the device's times allow."""
    dram = Dram(system.memory, system.llc.line.whole)
    return min(system.memory.read_share.value, dram.reads(dram.lines_of_row))


def memory(system: System, threads: int = 1) -> MemorySystem:
    """DRAM, what `threads` cores and the units have under way to it and the room for waiting weights."""
    pim, llc = system.pim, system.llc
    assert pim is not None
    way, slices = memory_paths(system)[1], llc.slices
    room = pim.prefetch_share.value * llc.size
    server = server_memory(system, threads, stream_limit=slices.value * way.rate)
    return replace(
        server,
        depth=pim.prefetch_depth.whole,
        background=pim.prefetch_priority.value == "background",
        buffer=room if room >= llc.line.value else 0.0,  # what holds no line holds nothing
        stream=_stream(system, slices.whole),
    )


def _stream(system: System, slices: int) -> MemoryReader:
    """The weight stream to some slices."""
    pim, line = system.pim, system.llc.line
    assert pim is not None
    under_way = slices * pim.mshrs.value * line.value
    queue = Dram(system.memory, line.whole).queue
    return MemoryReader(inf, under_way, memory_paths(system)[1].latency, slices, queue)


class GpuKernels(Frozen):
    """What the baselines' software reaches on a GPU.

    Where a file has nothing, those GPUs stand for it that the constant was measured on.
    """

    read_share: Share | None = None
    """Of `memory_bandwidth`: weights of four bits, llama.cpp."""
    prompt_share: Share | None = None
    """Of `fp16_flops`: whole prompts, llama.cpp."""
    layer_overhead: Latency | None = None
    """Launches and small kernels of a layer, llama.cpp; where a file has none, the fits' own."""
    batch_rate: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)] | None = None
    """Of an SM: llama.cpp's matrix kernel for 9 to 64 rows."""
    prompt_share_f16: Share | None = None
    """Of `fp16_flops`: whole prompts in 16 bits, vLLM."""
    host_points: Annotated[Quantity, QuantityRule("points", above=0)] | None = None
    """Geekbench 6 single-core score of the processor beside the GPU, vLLM."""
    lone_heads: Annotated[Quantity, QuantityRule("ratio", least=0, most=1)] | None = None
    """How far query heads read keys alone beside prompts and in windows, vLLM; where a file has none, 1."""
    read_share_w4: Share | None = None
    """Of `memory_bandwidth`: LMDeploy's four-bit kernels."""
    compute_share_w4: Share | None = None
    """Of `fp16_flops`: the same."""
    layer_overhead_w4: Latency | None = None
    """Launches and small kernels of a layer: the same."""
    row_overhead_w4: Latency | None = None
    """Work of a sequence and step: the same."""


class Gpu(_MachineFile):
    """A GPU as a baseline needs it."""

    kind: Literal["gpu"]
    memory_bandwidth: Bandwidth
    memory_size: Annotated[Quantity, QuantityRule("GB", above=0)]
    fp16_flops: Annotated[Quantity, QuantityRule("TFLOP/s", above=0)]
    """Dense, tensor cores."""
    fp32_flops: Annotated[Quantity, QuantityRule("TFLOP/s", above=0)]
    sms: Annotated[Quantity, QuantityRule("SMs", least=1, whole=True)]
    clock: Clock
    """Boost."""
    l2: Annotated[Quantity, QuantityRule("MiB", above=0)]
    tdp: Annotated[Quantity, QuantityRule("W", above=0)]
    kernels: GpuKernels = GpuKernels()


class IdentityKey(NamedTuple):
    """A machine as a key of what is made of it: equal to itself alone, whatever it would take to compare."""

    system: System

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdentityKey) and self.system is other.system

    def __hash__(self) -> int:
        return id(self.system)

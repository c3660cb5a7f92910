"""Models of system files: CPU servers and GPUs, field by field, with units and bounds.

The fast engine and gem5 read the same files. Numbers are `Quantity` values without defaults, so a file is
complete. Memory is in `dram`, PIM units are in `pim`.

Backends of other accelerators are the modules in `sailsim.sim.backends`. A system names one in `[accelerator]
backend = "..."`, and that module's model checks the section. A new one is a module and a system file.
"""

from __future__ import annotations

import hashlib
import json
import pkgutil
from dataclasses import replace
from functools import lru_cache
from importlib import import_module, resources
from math import inf
from types import ModuleType
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, SerializeAsAny, ValidationError, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Choice, ChoiceRule, FrozenModel, Quantity, QuantityRule
from sailsim.sim.machine import catalog
from sailsim.sim.machine.dram import Memory, MemoryPath, MemoryReader, MemorySystem
from sailsim.sim.machine.pim import NBWS, Pim


class AcceleratorSpec(FrozenModel):
    """Section `[accelerator]`; each backend has its own subclass."""

    backend: str
    """Backend: the name of a module of `sailsim.sim.backends`."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: Any) -> JsonSchemaValue:
        if cls is not AcceleratorSpec:
            return super().__get_pydantic_json_schema__(schema, handler)
        return {"anyOf": [handler(model.__pydantic_core_schema__) for model in spec_models().values()]}


def backend_modules() -> tuple[str, ...]:
    """Names of the modules of backends, in alphabetical order."""
    folder = str(resources.files("sailsim.sim") / "backends")
    return tuple(sorted(module.name for module in pkgutil.iter_modules([folder])))


def backend_module(name: str) -> ModuleType:
    """Module of a backend, loaded at its first use."""
    return import_module(f"sailsim.sim.backends.{name}")


def spec_models() -> dict[str, type[AcceleratorSpec]]:
    """Backend -> model of its section, for backends that have one."""
    specs = {name: getattr(backend_module(name), "SPEC", None) for name in backend_modules()}
    return {
        name: spec
        for name, spec in specs.items()
        if isinstance(spec, type) and issubclass(spec, AcceleratorSpec)
    }


def _section(table: Any) -> AcceleratorSpec:
    if isinstance(table, AcceleratorSpec):
        return table
    models = spec_models()
    name = table.get("backend") if isinstance(table, dict) else None
    problem = f"backend is {name!r}; allowed are {', '.join(models)}"
    if isinstance(name, str) and name in models:
        try:
            return models[name].model_validate(table)
        except ValidationError as error:
            fields = ", ".join(models[name].model_fields)
            problem = catalog.first_problem(error, f"a field of backend {name}; allowed are {fields}")
    # `catalog.first_problem` knows this type of error.
    raise PydanticCustomError("section_problem", "{text}", {"text": problem})


class CoreSpec(FrozenModel):
    """Cores of the host. The fast engine uses count, clock and peak rates; gem5 an O3 core with all."""

    count: Annotated[Quantity, QuantityRule("cores", least=1, whole=True)]
    """Number of cores."""
    clock: catalog.Clock
    """Clock of the cores."""
    isa: Annotated[Choice, ChoiceRule("armv8.2-a+dotprod", "armv8.4-a+sve+i8mm", "armv9-a+sve2+i8mm")]
    """Instructions that kernels may use: SDOT (Neoverse N1), SVE and i8mm (V1), or SVE2 and i8mm (N2, V2)."""
    fetch_width: Annotated[Quantity, QuantityRule("instr/cycle", least=1, whole=True)]
    issue_width: Annotated[Quantity, QuantityRule("ops/cycle", least=1, whole=True)]
    """Width of rename, dispatch, issue and commit."""
    rob: catalog.Entries
    """Reorder buffer."""
    iq: catalog.Entries
    """Issue queue."""
    lq: catalog.Entries
    """Load queue."""
    sq: catalog.Entries
    """Store queue."""
    int_registers: Annotated[Quantity, QuantityRule("registers", least=33, whole=True)]
    """Physical integer registers."""
    vector_registers: Annotated[Quantity, QuantityRule("registers", least=33, whole=True)]
    """Physical vector registers."""
    load_latency: catalog.Cycles
    """Latency of a scalar load that hits L1."""
    vector_load_latency: catalog.Cycles
    """Latency of a vector load that hits L1."""
    fma_latency: catalog.Cycles
    """Latency of a vector fused multiply-add."""
    table_latency: catalog.Cycles
    """Latency of TBL with one or two registers."""
    mispredict: catalog.Cycles
    """Penalty of a mispredicted branch."""
    simd_pipes: Annotated[Quantity, QuantityRule("pipes", least=1, whole=True)]
    """Number of SIMD pipes."""
    simd_width: Annotated[Quantity, QuantityRule("bits", least=64, whole=True)]
    """Width of a SIMD pipe."""
    int8_macs: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)]
    """Peak rate of one core with SDOT."""
    fp32_flops: Annotated[Quantity, QuantityRule("FLOP/cycle", above=0)]
    """Peak rate of one core; a fused multiply-add is two operations."""


class Cache(FrozenModel):
    """Private cache of a core."""

    size: Annotated[Quantity, QuantityRule("KiB", above=0)]
    """Capacity."""
    ways: catalog.Ways
    """Associativity."""
    line: catalog.Line
    """Size of a line."""
    latency: catalog.Cycles
    """Load-to-use latency, in core cycles."""
    mshrs: catalog.Entries
    """Outstanding misses (MSHRs)."""


class L2(Cache):
    """Private second-level cache, through which a core reaches everything shared."""

    bandwidth: catalog.BytesPerCycle
    """Read bandwidth of one core, per core cycle."""


class LastLevelCache(FrozenModel):
    """Shared last-level cache (LLC): slices on a mesh."""

    slices: Annotated[Quantity, QuantityRule("slices", least=1, most=64, whole=True)]
    """Number of slices."""
    slice_size: Annotated[Quantity, QuantityRule("MiB", above=0)]
    """Capacity of a slice."""
    ways: catalog.Ways
    """Associativity."""
    line: catalog.Line
    """Size of a line."""
    latency: catalog.Latency
    """Load-to-use latency of a core."""
    clock: catalog.Clock
    """Clock of the mesh and of the slices' SRAM."""
    mshrs: catalog.Entries
    """Transactions that one slice tracks."""
    core_bandwidth: catalog.BytesPerCycle
    """Read bandwidth of one core, per core cycle."""

    @property
    def size(self) -> int:
        """Capacity of all slices, in bytes."""
        return self.slices.whole * int(self.slice_size.si)

    def slice_size_in(self, slices: float) -> float:
        """Slice size in MiB with which another number of slices makes a cache of the same capacity."""
        return float(self.slices.value) * float(self.slice_size.value) / slices


class ProgramAttention(FrozenModel):
    """Attention of the program `decode` (`workloads/kernels/decode`, `AttentionModel`).

    Threads take turns at runs of positions of a key head, then at query heads, and prefetch the KV cache. The
    cache holds floats or 8-bit codes; fields `codes_...` are for the latter.
    """

    positions: catalog.Entries
    """Positions of a run; the last run of a head may be shorter."""
    widening: Annotated[Quantity, QuantityRule("cycles", above=0)]
    """Cycles to convert a number of the KV cache to a float, once for all query heads that share it."""
    head: Annotated[Quantity, QuantityRule("cycles", least=0)]
    """Cycles of a query head over a float KV cache besides its products, for any sequence length."""
    barriers: Annotated[Quantity, QuantityRule("barriers", least=0, whole=True)]
    """Barriers over a float KV cache besides the last one."""
    codes_keys: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)]
    """Rate of products with keys over a KV cache of 8-bit codes, where a key serves one query head."""
    codes_keys_shared: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)]
    """Rate of products with 8-bit keys where a key serves four query heads. For other numbers, cycles are
    linear in keys per query head."""
    codes_values: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)]
    """Rate of products with 8-bit values, where a value serves one query head."""
    codes_values_shared: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)]
    """Rate of products with 8-bit values where a value serves four query heads."""
    codes_outputs: catalog.Entries
    """Numbers of a head's 8-bit values that a thread processes at a time."""
    codes_start: Annotated[Quantity, QuantityRule("cycles", least=0)]
    """Cycles per thread and `codes_outputs` numbers, for any length: all threads start in one place."""
    softmax: Annotated[Quantity, QuantityRule("cycles", least=0)]
    """Cycles of softmax and rounding per score, whether cores or units computed the score; a head is on one
    thread."""
    score_copy: Annotated[Quantity, QuantityRule("cycles", least=0)]
    """Cycles to read a score that units computed out of their tiles, before its softmax."""
    codes_score: Annotated[Quantity, QuantityRule("cycles", least=0)]
    """Cycles to move a score that cores computed over 8-bit codes to another core, or from beyond L1."""
    codes_head: Annotated[Quantity, QuantityRule("cycles", least=0)]
    """Cycles of a query head over 8-bit codes besides its products, for any sequence length."""
    codes_barriers: Annotated[Quantity, QuantityRule("barriers", least=0, whole=True)]
    """Barriers over a KV cache of 8-bit codes besides the last one."""

    @model_validator(mode="after")
    def _shares(self) -> Self:
        for name in ("codes_keys", "codes_values"):
            alone, shared = getattr(self, name).value, getattr(self, f"{name}_shared").value
            if shared > 4 * alone:
                raise ValueError(
                    f"{name}_shared is {shared:g} MAC/cycle; allowed is at most four times {name}, {alone:g}"
                )
        return self


class HostSoftware(FrozenModel):
    """Costs of the host software on the cores."""

    simd_share: catalog.Share
    """Share of the peak fp32 rate that norm, RoPE, softmax and quantization reach."""
    attention_rate: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)]
    """Rate of attention's products on a thread. A head of a sequence is on one thread, except in `program`,
    where the rate is for a float KV cache alone."""
    attention_ahead: catalog.Share | None = None
    """Share of attention's computation that overlaps reads of the KV cache; missing: none."""
    program: ProgramAttention | None = None
    """Attention of this project's program; missing: measured software, with `attention_rate` alone."""
    lines_share: Annotated[Quantity, QuantityRule("ratio", above=0, most=1)] | None = None
    """Share of the lines its L2 can have in flight to DRAM that a core does have in flight; missing: all."""
    float_rate: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)] | None = None
    """Rate of a thread's products with float weights, which PIM units do not take; missing: such weights are
    refused."""
    grid_rate: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)] | None = None
    """Rate of a thread's products where one code stands for several weights (IQ1, IQ2, IQ3); missing: such
    weights are refused."""
    barrier: Annotated[Quantity, QuantityRule("ns", least=0)]
    """Time that each thread adds to the barrier at the end of an operation."""
    product_overhead: Annotated[Quantity, QuantityRule("ns", least=0)]
    """Overhead of a matrix product on the cores besides its barrier, for any size and number of threads."""
    bare_metal: Annotated[Quantity, QuantityRule("ns", least=0)] | None = None
    """Further overhead of every product, on cores or units, on bare metal; 0 for a virtual machine. Missing:
    unknown which; no overhead is added and the interval covers both."""
    hand_over_share: Annotated[Quantity, QuantityRule("ratio", least=0, most=1)]
    """Share of `product_overhead` that is work around a product, which the cores also do for a PIM unit:
    rounding of activations, the norm of a single row, handing over from one operation to the next."""
    submit: catalog.Latency
    """Time to prepare a descriptor and submit it to a unit with LUTMM, one after the other on a thread."""
    poll: catalog.Latency
    """Time from a unit's completion record to the waiting core, and the time to read one record."""
    result_copy: Annotated[Quantity, QuantityRule("cycles", above=0)] | None = None
    """Cycles of a thread to copy a scaled result of the units to the input of the next operation; missing: no
    copy. Of products with the same input only the last one's copies take time, the others' overlap."""
    convert_cycles: Annotated[Quantity, QuantityRule("cycles", above=0)]
    """Cycles of a thread to convert an integer sum of the units to float, scale and add it, and as many for
    each scale, which serves all rows of a batch."""


class _SystemFile(FrozenModel):
    format: Literal[1]
    """Version of this layout."""
    name: str
    """Name, which results and tables show."""
    title: str
    """Description in one line."""
    extends: tuple[str, ...] = ()
    """Files that this one extends, nearest first (filled when the file is read)."""
    sources: dict[str, str]
    """Citations that values refer to by key."""

    def __hash__(self) -> int:
        """Identity as hash, so that caches by system need not compare all its values."""
        return id(self)

    @field_validator("name")
    @classmethod
    def _is_named(cls, name: str) -> str:
        if not name.strip():
            raise ValueError(f"is {name!r}; allowed is a text that is not empty")
        return name

    @property
    def digest(self) -> str:
        """SHA-256 of the system without name, title and citations, for keys of results."""
        return hashlib.sha256(json.dumps(self._content()).encode()).hexdigest()

    def _content(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"name", "title", "extends", "sources"}, by_alias=True)

    def citation(self, source: str) -> str:
        return self.sources.get(source, source)


class System(_SystemFile):
    """CPU server, with or without an accelerator."""

    kind: Literal["cpu"]
    """Kind of system file."""
    cores: CoreSpec
    """Cores."""
    l1i: Cache
    """First-level instruction cache of a core."""
    l1d: Cache
    """First-level data cache of a core."""
    l2: L2
    """Second-level cache of a core."""
    llc: LastLevelCache
    """Shared last-level cache."""
    memory: Memory
    """DRAM."""
    host: HostSoftware
    """Costs of the software on the cores."""
    pim: Pim | None = None
    """PIM units at the slices of the last-level cache; missing: none."""
    accelerator: Annotated[SerializeAsAny[AcceleratorSpec], BeforeValidator(_section)] | None = None
    """Accelerator other than `pim`, with the fields of its backend."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.accelerator is not None and self.has_pim:
            raise ValueError("accelerator is set with an enabled pim; allowed is one of the two")
        if self.pim is not None:
            # An ordinary tile's widths; those of a run are checked when it is timed.
            tile = (4096, 4096, 1, 4, 4, 8, self.pim.default_nbw or NBWS[0], 0)
            try:
                _core.plan_tile(_core.SliceConfig(self.unit_text()), tile, scaled=False)
            except ValueError as error:
                raise ValueError(f"pim does not fit: {str(error).rstrip('.')}") from None
        return self

    @property
    def has_pim(self) -> bool:
        """Whether the system has enabled PIM units."""
        return self.pim is not None and self.pim.enabled

    def require_pim(self) -> Pim:
        """PIM units. Raises SailsimError if there are none, or if they are disabled."""
        if self.pim is None or not self.has_pim:
            raise self._without_pim()
        return self.pim

    def _without_pim(self) -> SailsimError:
        """Error for missing units, which names related systems with units."""
        other = self.accelerator
        backend = "" if other is None else f", its accelerator has backend {other.backend}"
        bases = {f'extends = "{name}"' for name in (self.name, *self.extends)}
        folder = resources.files("sailsim.sim") / "data" / "systems"
        texts = {file.name: file.read_text("utf-8") for file in folder.iterdir()}
        near = sorted(
            name.removesuffix(".toml")
            for name, text in texts.items()
            if "\n[pim]\n" in text and any(base in text.partition("[pim]")[0] for base in bases)
        )
        advice = f"{' or '.join(near[:2])} has some" if near else "allowed is one with PIM units"
        return SailsimError(
            f"system {self.name} has no enabled [pim] section, so no units{backend}; {advice}, and "
            "`sailsim run` takes it as cores alone."
        )

    @property
    def backend(self) -> str | None:
        """Backend that runs matrix products, a module of `sailsim.sim.backends`; None for cores alone."""
        if self.accelerator is not None:
            return self.accelerator.backend
        return "sail" if self.has_pim else None

    @property
    def unit_convert(self) -> str:
        """Place of conversion (`Pim.convert`) for a descriptor without cores, which cannot convert then."""
        convert = "cores" if self.pim is None else str(self.pim.convert.value)
        return "memory" if convert == "cores" else convert

    def _content(self) -> dict[str, Any]:
        content = super()._content()
        if self.pim is not None:  # the content counts, not the path
            content["pim"]["substrate"]["value"] = self.pim.load_substrate().digest
        return content

    def unit_text(self, **overrides: Any) -> str:
        """Text form of a PIM unit for the C++ core, gem5 and the emulator; overrides as in `Pim.unit_text`.

        Raises:
            ValueError: an override that is no field of a unit.
            SailsimError: there is no section `pim`, or the substrate cannot be read.
        """
        if self.pim is None:
            raise self._without_pim()
        slices = overrides.pop("slices", self.llc.slices.whole)
        rate = weights_rate(self, max(1, slices))  # the core refuses 0
        return self.pim.unit_text(slices, rate, **overrides)

    def slice_config(self, **overrides: Any) -> _core.SliceConfig:
        """Configuration of a PIM unit in the C++ core; overrides as in `Pim.unit_text`.

        Raises:
            ValueError: as `unit_text`.
            SailsimError: as `unit_text`, and for choices that exclude each other.
        """
        return self.config_of(self.unit_text(**overrides))

    def config_of(self, unit: str) -> _core.SliceConfig:
        """Configuration of a unit's text form in the C++ core.

        Raises:
            SailsimError: choices that exclude each other, such as a substrate and a place of conversion.
        """
        try:
            return _core.SliceConfig(unit)
        except ValueError as error:
            raise SailsimError(f"system {self.name}: {str(error).rstrip('.')}.") from None


@lru_cache(maxsize=4)  # a machine is asked several times while its units are made
def memory_paths(system: System) -> tuple[MemoryPath, MemoryPath]:
    """Paths of a unit to the LLC and, for long streams, to DRAM.

    The published latencies are a core's. A unit has no private caches to cross, and a stream finds its DRAM
    row open. The mean latency has refreshes in it, which block all accesses; time saved between refreshes so
    counts 1 / (1 - refresh share) in the mean.
    """
    pim, llc, dram = system.pim, system.llc, system.memory
    assert pim is not None
    port, line = pim.port.value * pim.clock.si, llc.line.whole
    private = system.l2.latency.value / system.cores.clock.si
    chip = max(llc.latency.si - private, line / port)
    saved = private + dram.timing.trcd.si
    far = max(dram.latency.si - saved / (1 - dram.refresh_share), chip)
    return MemoryPath(chip, port, pim.mshrs.whole, line), MemoryPath(far, port, pim.mshrs.whole, line)


@lru_cache(maxsize=4)
def weights_rate(system: System, slices: int) -> float:
    """Bandwidth of weights at each of ``slices`` slices that alone read DRAM, in bytes/s.

    It is bound by the share of DRAM, the port, or the lines in flight.
    """
    share, stream = _stream_share(system), _weight_stream(system, slices)
    demand = slices * memory_paths(system)[1].rate
    reader = replace(stream, demand=demand / share, window=stream.window / share)
    return _core.alone(system.memory.peak, reader.fields, 0.0) * share / slices


def core_window_bytes(system: System) -> float:
    """Bytes that one core has in flight to DRAM."""
    share = system.host.lines_share
    return system.l2.mshrs.value * system.l2.line.value * (share.value if share is not None else 1.0)


def host_memory_system(system: System, threads: int, stream_limit: float = inf) -> MemorySystem:
    """Memory system of ``threads`` cores and a weight stream without prefetching.

    The stream demands at most ``stream_limit`` bytes/s and shares DRAM with the cores max-min fair.
    """
    queue = system.memory.burst_seconds(system.llc.line.whole)
    return MemorySystem(
        peak=system.memory.peak,
        read_share=_stream_share(system),
        write_share=system.memory.write_share.value,
        stream_limit=stream_limit,
        cores=MemoryReader(inf, threads * core_window_bytes(system), system.memory.latency.si, queue=queue),
    )


@lru_cache(maxsize=4)
def _stream_share(system: System) -> float:
    """Share of the DRAM peak that streams of reads reach: as measured, or as the device's timing allows."""
    memory, line = system.memory, system.llc.line.whole
    return min(memory.read_share.value, memory.reads(line, memory.lines_per_row(line)))


def memory_system(system: System, threads: int = 1) -> MemorySystem:
    """Memory system of ``threads`` cores and the PIM units' weight stream, with its prefetch buffer."""
    pim, llc = system.pim, system.llc
    assert pim is not None
    buffer = pim.prefetch_share.value * llc.size
    return replace(
        host_memory_system(system, threads, llc.slices.value * memory_paths(system)[1].rate),
        depth=pim.prefetch_depth.whole,
        background=pim.prefetch_priority.value == "background",
        buffer=buffer if buffer >= llc.line.value else 0.0,  # smaller than a line: nothing fits
        stream=_weight_stream(system, llc.slices.whole),
    )


def _weight_stream(system: System, slices: int) -> MemoryReader:
    pim, line = system.pim, system.llc.line
    assert pim is not None
    in_flight, queue = slices * pim.mshrs.value * line.value, system.memory.burst_seconds(line.whole)
    return MemoryReader(inf, in_flight, memory_paths(system)[1].latency, slices, queue)


class GpuKernels(FrozenModel):
    """Rates that the baselines' software reaches on a GPU.

    Where a file has none, rates from the GPUs that the constant was measured on are used.
    """

    read_share: catalog.Share | None = None
    """Share of `memory_bandwidth` that llama.cpp reaches with four-bit weights."""
    prompt_share: catalog.Share | None = None
    """Share of `fp16_flops` that llama.cpp reaches on whole prompts."""
    layer_overhead: catalog.Latency | None = None
    """Launches and small kernels of a layer in llama.cpp; missing: the fitted value."""
    batch_rate: Annotated[Quantity, QuantityRule("MAC/cycle", above=0)] | None = None
    """Rate of an SM in llama.cpp's matrix kernel for 9 to 64 rows."""
    prompt_share_f16: catalog.Share | None = None
    """Share of `fp16_flops` that vLLM reaches on whole prompts in 16 bits."""
    host_points: Annotated[Quantity, QuantityRule("points", above=0)] | None = None
    """Geekbench 6 single-core score of the host's processor, for vLLM."""
    lone_heads: Annotated[Quantity, QuantityRule("ratio", least=0, most=1)] | None = None
    """Degree to which query heads read keys separately in vLLM's mixed steps and windows; default 1."""
    read_share_w4: catalog.Share | None = None
    """Share of `memory_bandwidth` that LMDeploy's four-bit kernels reach."""
    compute_share_w4: catalog.Share | None = None
    """Share of `fp16_flops` that LMDeploy's four-bit kernels reach."""
    layer_overhead_w4: catalog.Latency | None = None
    """Launches and small kernels of a layer in LMDeploy with four-bit weights."""
    row_overhead_w4: catalog.Latency | None = None
    """Work for each sequence and step in LMDeploy with four-bit weights."""


class Gpu(_SystemFile):
    """GPU of a baseline."""

    kind: Literal["gpu"]
    memory_bandwidth: catalog.Bandwidth
    """Peak bandwidth of its memory."""
    memory_size: Annotated[Quantity, QuantityRule("GB", above=0)]
    """Capacity of its memory."""
    fp16_flops: Annotated[Quantity, QuantityRule("TFLOP/s", above=0)]
    """Dense fp16 peak rate of the tensor cores."""
    fp32_flops: Annotated[Quantity, QuantityRule("TFLOP/s", above=0)]
    sms: Annotated[Quantity, QuantityRule("SMs", least=1, whole=True)]
    """Streaming multiprocessors."""
    clock: catalog.Clock
    """Boost clock."""
    l2: Annotated[Quantity, QuantityRule("MiB", above=0)]
    tdp: Annotated[Quantity, QuantityRule("W", above=0)]
    kernels: GpuKernels = GpuKernels()

"""Machines as data: what a system file may say, field by field, with units and bounds.

One file builds the machine of the fast engine and of gem5. Every number is a `Quantity`, so nothing here has
a default: what a machine is, is written in its file (`systems/*.toml`).
"""

import hashlib
import json
import math
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from sailsim import _core
from sailsim.base.quantity import Choice, Frozen, Is, OneOf, Quantity
from sailsim.sim.accelerator import AcceleratorSection, ByBackend
from sailsim.sim.substrate import SUBSTRATES, Substrate, load_substrate
from sailsim.sim.unit import unit_text

Cycles = Annotated[Quantity, Is("cycles", least=0, whole=True)]
Latency = Annotated[Quantity, Is("ns", above=0)]
Clock = Annotated[Quantity, Is("GHz", above=0)]
Entries = Annotated[Quantity, Is("entries", least=1, whole=True)]
Bandwidth = Annotated[Quantity, Is("GB/s", above=0)]
BytesPerCycle = Annotated[Quantity, Is("B/cycle", above=0)]
Share = Annotated[Quantity, Is("ratio", above=0, most=1)]
Ways = Annotated[Quantity, Is("ways", least=1, whole=True)]
Line = Annotated[Quantity, Is("B", least=16, most=256, whole=True)]
Switch = Annotated[Choice, OneOf(True, False)]


class _SubstrateName(OneOf):
    """A choice that names a substrate: one that ships or the path of a file."""

    def __init__(self) -> None:
        super().__init__(*SUBSTRATES.names, "the path of a .toml file")

    def check(self, choice: Choice) -> Choice:
        """Return `choice`, or raise a ValueError that lists what is allowed."""
        if why := SUBSTRATES.problem(str(choice.value)):
            raise ValueError(f"is {why}")
        return choice


class Cores(Frozen):
    """The host's cores. The fast engine uses count, clock and peak rates; gem5 an O3 core with all."""

    count: Annotated[Quantity, Is("cores", least=1, whole=True)]
    clock: Clock
    isa: Annotated[Choice, OneOf("armv8.2-a+dotprod")]
    """What kernels may use: SDOT, but neither i8mm nor bf16."""
    fetch_width: Annotated[Quantity, Is("instr/cycle", least=1, whole=True)]
    issue_width: Annotated[Quantity, Is("ops/cycle", least=1, whole=True)]
    """Rename, dispatch, issue and commit width."""
    rob: Entries
    iq: Entries
    lq: Entries
    sq: Entries
    int_registers: Annotated[Quantity, Is("registers", least=33, whole=True)]
    vector_registers: Annotated[Quantity, Is("registers", least=33, whole=True)]
    load_latency: Cycles
    vector_load_latency: Cycles
    fma_latency: Cycles
    table_latency: Cycles
    """TBL of one or two registers."""
    mispredict: Cycles
    simd_pipes: Annotated[Quantity, Is("pipes", least=1, whole=True)]
    simd_width: Annotated[Quantity, Is("bits", least=64, whole=True)]
    int8_macs: Annotated[Quantity, Is("MAC/cycle", above=0)]
    """Peak of one core with SDOT."""
    fp32_flops: Annotated[Quantity, Is("FLOP/cycle", above=0)]
    """Peak of one core; a fused multiply-add is two."""


class Cache(Frozen):
    """A private cache."""

    size: Annotated[Quantity, Is("KiB", above=0)]
    ways: Ways
    line: Line
    latency: Cycles
    """Load to use, core cycles."""
    mshrs: Entries


class L2(Cache):
    """The private second level, the core's gate to everything shared."""

    bandwidth: BytesPerCycle
    """What one core can read from it, per core cycle."""


class LastLevel(Frozen):
    """The shared cache: slices on a mesh."""

    slices: Annotated[Quantity, Is("slices", least=1, most=64, whole=True)]
    slice_size: Annotated[Quantity, Is("MiB", above=0)]
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


class DramTiming(Frozen):
    """Times of a DRAM device that bound what a pattern of accesses gets (JEDEC's names)."""

    tcl: Latency
    """Read command to data."""
    tcwl: Latency
    """Write command to data."""
    trcd: Latency
    """Opening a row to its first access."""
    trp: Latency
    """Closing a row."""
    tras: Latency
    """A row stays open at least."""
    tccd_l: Latency
    """Between accesses to one group of banks; to different ones a line's transfer follows the other."""
    trrd: Latency
    """Between openings of rows in different groups of banks."""
    tfaw: Latency
    """Window for four openings in a rank."""
    trtp: Latency
    """Read to closing its row."""
    twtr: Latency
    """End of written data to a read command, same group of banks."""
    trfc: Latency
    """A refresh, in which a rank does nothing else."""
    trefi: Latency
    """Between refreshes."""


class Memory(Frozen):
    """DRAM behind all slices and cores: channels that all lines are spread over, one pool of bandwidth."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    type: Annotated[Choice, OneOf("ddr4-3200", "ddr4-2933", "ddr5-4800")]
    channels: Annotated[Quantity, Is("channels", least=1, whole=True)]
    size: Annotated[Quantity, Is("GiB", above=0)] | None = None
    """Of all channels: what weights and KV cache must fit. A file that leaves it out says no limit."""
    clock: Clock
    """Of a channel's data bus, which moves data on both edges."""
    width: Annotated[Quantity, Is("B", least=1, whole=True)]
    """Of a channel's data bus."""
    ranks: Annotated[Quantity, Is("ranks", least=1, whole=True)]
    """Of a channel."""
    banks: Annotated[Quantity, Is("banks", least=1, whole=True)]
    """Of a rank."""
    row: Annotated[Quantity, Is("KiB", above=0)]
    """Of a bank, over the channel's width."""
    timing: DramTiming
    stated_peak: Bandwidth | None = Field(default=None, alias="peak_bandwidth")
    """All channels, on the pins: channels, clock and width give it. A file may state it as a check."""
    latency: Latency
    """Load to use on an idle machine, refreshes included."""
    read_share: Share
    """Share of the peak that long streams of reads get, whoever reads."""
    core_share: Share
    """Share of the peak that the cores' own reads reach: a limit of the cores, what they leave is free."""
    write_share: Share
    """Share of the peak that written bytes get."""
    burst: Annotated[Quantity, Is("lines", least=1, most=64)]
    """Lines that come to a channel at the same time: they queue long before the bandwidth is used up."""
    write_batch: Annotated[Quantity, Is("lines", least=1)]
    """Lines that a controller writes before it turns to reads again; for closed forms to compare with."""

    @property
    def peak_bandwidth(self) -> Quantity:
        """All channels, on the pins."""
        channel = 2 * self.clock.value * self.width.value
        return Quantity(
            value=self.channels.value * channel,
            unit="GB/s",
            source=self.clock.source,
            kind="derived",
            note=f"{self.channels} x {channel:g} GB/s",
        )

    @property
    def read_bandwidth(self) -> Quantity:
        """What reading threads on all cores reach together."""
        return _part(self.read_share, self.peak_bandwidth)

    @property
    def write_bandwidth(self) -> Quantity:
        """What writing threads on all cores reach together."""
        return _part(self.write_share, self.peak_bandwidth)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        rate = 2000 * self.clock.value
        name = str(self.type.value)
        if not math.isclose(rate, float(name.partition("-")[2]), rel_tol=1e-3):
            raise ValueError(
                f"clock is {self.clock}, which is {rate:g} MT/s; allowed is what type says, {name}"
            )
        stated, peak = self.stated_peak, self.peak_bandwidth
        if stated is not None and not math.isclose(stated.si, peak.si, rel_tol=1e-3):
            each = peak.value / self.channels.value
            raise ValueError(
                f"peak_bandwidth is {stated}, but channels is {self.channels} of {each:g} GB/s, which are "
                f"{peak}; allowed is that, or to leave peak_bandwidth out"
            )
        return self


def _part(share: Quantity, whole: Quantity) -> Quantity:
    return Quantity(
        value=share.value * whole.value,
        unit=whole.unit,
        source=share.source,
        kind="derived",
        note=f"{share.value:.3g} of {whole}",
    )


class Host(Frozen):
    """What the software on the cores costs around the PIM units."""

    simd_share: Share
    """Share of the peak fp32 rate that norm, RoPE, softmax and quantization reach."""
    attention_rate: Annotated[Quantity, Is("MAC/cycle", above=0)]
    """Products of attention that a thread does in a cycle; a head of a sequence is on one thread."""
    float_rate: Annotated[Quantity, Is("MAC/cycle", above=0)] | None = None
    """Products of a thread in a cycle where the weights are floats, which no PIM unit takes; None: such
    weights are refused."""
    grid_rate: Annotated[Quantity, Is("MAC/cycle", above=0)] | None = None
    """The same where one code stands for several weights (IQ1, IQ2, IQ3)."""
    barrier: Latency
    """What each thread adds to the time in which the threads of an operation meet."""
    product_overhead: Annotated[Quantity, Is("ns", least=0)]
    """What a matrix product of the cores loses beside its barrier, whatever its size and the threads."""
    hand_over_share: Annotated[Quantity, Is("ratio", least=0, most=1)]
    """Share of it that is work around a product, which the cores do as well where a PIM unit multiplies:
    rounding activations, the norm of a single row, handing over from one operation to the next."""
    submit: Latency
    """Preparing one descriptor and handing it to a unit with LUTMM; a thread does one after the other."""
    poll: Latency
    """From a unit's completion record to the core that waits for it, and the time to read one record."""
    convert_flops: Annotated[Quantity, Is("FLOP/element", above=0)]
    """Converting and scaling one integer accumulator on the cores."""


class Pim(Frozen):
    """The PIM unit beside each LLC slice: C-SRAM arrays and a data feeding module (DFM)."""

    enabled: bool
    """false: the same machine without C-SRAM, which is the baseline."""
    substrate: Annotated[Choice, _SubstrateName()]
    """What the arrays are: a substrate that ships, or the path of its file, relative to the system file."""
    arrays: Annotated[Quantity, Is("arrays", least=1, most=4096, whole=True)]
    """Per slice, in lockstep."""
    rows: Annotated[Quantity, Is("rows", least=4, most=4096, whole=True)]
    cols: Annotated[Quantity, Is("columns", least=8, most=4096, whole=True)]
    clock: Clock
    """Of the C-SRAM and the DFM: every cycle of a tile's timing."""
    port: BytesPerCycle
    """Slice port of the unit, per C-SRAM cycle."""
    accumulator: Annotated[Quantity, Is("bits", least=16, most=64, whole=True)]
    prt_entries: Annotated[Quantity, Is("entries", least=0, whole=True)]
    """Pattern reuse table of a DFM; 0 is none."""
    prt_policy: Annotated[Choice, OneOf("lru", "fifo", "direct")]
    t_zero: Cycles
    """Cycles that the all-zero pattern takes."""
    t_prt: Cycles
    """Cycles that a PRT hit takes."""
    double_buffer: Switch
    """Whether the next group's weights load while this one is worked on."""
    convert: Annotated[Choice, OneOf("memory", "cores")]
    """Where integer sums become scaled fp32."""
    nbw: Annotated[Quantity, Is("weights", least=1, most=6, whole=True)]
    """Weights of a group, where a run does not say."""
    mshrs: Entries
    """Lines that one unit has under way to DRAM."""
    fetch_ahead: Annotated[Quantity, Is("ratio", least=1)]
    """Weights under way or waiting for the arrays beyond the group in turn; 1 is what `mshrs` hold."""
    queue: Entries
    """Descriptors that one unit holds."""
    unit_cache: Annotated[Quantity, Is("KiB", above=0)]
    """The small coherent cache between a unit and its slice (gem5)."""
    prefetch_depth: Annotated[Quantity, Is("tensors", least=0, whole=True)]
    """How many tensors ahead weights stream into the LLC; 0: only as the tile asks."""
    prefetch_share: Annotated[Quantity, Is("ratio", least=0, most=1)]
    """Share of the LLC that waiting weights may take."""
    prefetch_priority: Annotated[Choice, OneOf("background", "fair")]
    """Whether weights that no slice works on yet give way to the cores' accesses to DRAM."""

    def load_substrate(self) -> Substrate:
        """The substrate that `substrate` names.

        Raises:
            SailsimError: its file cannot be read, or is wrong.
        """
        return load_substrate(str(self.substrate.value))


class _Described(Frozen):
    """What every machine has."""

    format: Literal[1]
    """Version of this layout."""
    name: str
    title: str
    extends: tuple[str, ...] = ()
    """The files that this one was built on, nearest first (filled when the file is read)."""
    sources: dict[str, str]
    """Citations that quantities refer to by key."""

    @property
    def digest(self) -> str:
        """SHA-256 of all that the machine is, for keys of results; name, title and citations do not count."""
        return hashlib.sha256(json.dumps(self._content()).encode()).hexdigest()

    def _content(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"name", "title", "extends", "sources"}, by_alias=True)

    def citation(self, source: str) -> str:
        """The full citation behind a quantity's `source`."""
        return self.sources.get(source, source)


class System(_Described):
    """A CPU server, with PIM units (`pim`) or without."""

    kind: Literal["cpu"]
    cores: Cores
    l1i: Cache
    l1d: Cache
    l2: L2
    llc: LastLevel
    memory: Memory
    host: Host
    pim: Pim | None = None
    accelerator: Annotated[AcceleratorSection, ByBackend()] | None = None
    """Another accelerator than `pim`: which, and what it is, in its backend's fields."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.accelerator is not None and self.has_pim:
            raise ValueError("accelerator stands beside an enabled pim; allowed is one of the two")
        if self.pim is not None:
            # The widths of an ordinary tile; a run's own widths are checked when it is timed.
            try:
                _core.plan_tile(
                    self.slice_config(), k=4096, n=4096, batch=1, wbits=4, value_bits=4, abits=8,
                    nbw=self.pim.nbw.whole, group_size=0,
                )  # fmt: skip
            except ValueError as error:
                raise ValueError(f"pim does not fit: {error}") from None
        return self

    @property
    def has_pim(self) -> bool:
        """Whether GEMVs can go to PIM units on this machine."""
        return self.pim is not None and self.pim.enabled

    @property
    def backend(self) -> str | None:
        """The module of `sailsim.sim.backends` that runs its matrix products; None: the cores alone do."""
        if self.accelerator is not None:
            return self.accelerator.backend
        return "sail" if self.has_pim else None

    def baseline(self) -> "System":
        """The same machine with its PIM units switched off."""
        if not self.has_pim:
            return self
        assert self.pim is not None
        return self.model_copy(update={"pim": self.pim.model_copy(update={"enabled": False})})

    def _content(self) -> dict[str, Any]:
        content = super()._content()
        if self.pim is not None:  # wherever its file lies: what is in it counts
            content["pim"]["substrate"]["value"] = self.pim.load_substrate().digest
        return content

    def unit_text(self, **overrides: Any) -> str:
        """One PIM unit in the text form that the C++ core, gem5 and the emulator read.

        `overrides` replace single fields (`unit.FIELDS`); `substrate` is a name, a path or a `Substrate`.

        Raises:
            ValueError: the machine has no PIM section, or a field that no unit has.
            SailsimError: a substrate that cannot be read.
        """
        pim = self.pim
        if pim is None:
            raise ValueError(f"system {self.name!r} has no [pim] section")
        fields: dict[str, Any] = {
            "rows": pim.rows.whole,
            "cols": pim.cols.whole,
            "arrays": pim.arrays.whole,
            "slices": self.llc.slices.whole,
            "port_bytes": pim.port.whole,
            "accumulator_bits": pim.accumulator.whole,
            "prt_entries": pim.prt_entries.whole,
            "prt_policy": pim.prt_policy.value,
            "t_zero": pim.t_zero.whole,
            "t_prt": pim.t_prt.whole,
            "double_buffer": pim.double_buffer.value,
            "convert_in_memory": pim.convert.value == "memory",
        }
        fields.update(overrides)
        substrate = fields.pop("substrate", pim.substrate.value)
        if not isinstance(substrate, Substrate):
            substrate = load_substrate(substrate)
        return unit_text(fields, substrate)

    def slice_config(self, **overrides: Any) -> _core.SliceConfig:
        """The C++ core's view of one PIM unit; `overrides` as in `unit_text`.

        Raises:
            ValueError: as `unit_text`, and for a field that is out of range.
        """
        return _core.SliceConfig(self.unit_text(**overrides))


class Gpu(_Described):
    """A GPU as a baseline needs it."""

    kind: Literal["gpu"]
    memory_bandwidth: Bandwidth
    memory_size: Annotated[Quantity, Is("GB", above=0)]
    fp16_flops: Annotated[Quantity, Is("TFLOP/s", above=0)]
    """Dense, tensor cores."""
    fp32_flops: Annotated[Quantity, Is("TFLOP/s", above=0)]
    int8_ops: Annotated[Quantity, Is("TOP/s", above=0)]
    """Dense; tensor cores where they have int8."""
    sms: Annotated[Quantity, Is("SMs", least=1, whole=True)]
    clock: Clock
    """Boost."""
    l2: Annotated[Quantity, Is("MiB", above=0)]
    tdp: Annotated[Quantity, Is("W", above=0)]

"""What a system file says of cores, caches and the software around the PIM units."""

from typing import Annotated

from sailsim.base.quantity import Choice, Frozen, Is, OneOf, Quantity
from sailsim.sim.tables import BytesPerCycle, Clock, Cycles, Entries, Latency, Line, Share, Ways


class Cores(Frozen):
    """The host's cores. The fast engine uses count, clock and peak rates; gem5 an O3 core with all."""

    count: Annotated[Quantity, Is("cores", least=1, whole=True)]
    clock: Clock
    isa: Annotated[Choice, OneOf("armv8.2-a+dotprod", "armv8.4-a+sve+i8mm", "armv9-a+sve2+i8mm")]
    """What kernels may use: SDOT alone (Neoverse N1), SVE and i8mm (V1), or SVE2 and i8mm (N2, V2)."""
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

    def slice_size_in(self, slices: float) -> float:
        """What `slice_size` must be for another number of slices to make a cache of the same size."""
        return float(self.slices.value) * float(self.slice_size.value) / slices


class Host(Frozen):
    """What the software on the cores costs around the PIM units."""

    simd_share: Share
    """Share of the peak fp32 rate that norm, RoPE, softmax and quantization reach."""
    attention_rate: Annotated[Quantity, Is("MAC/cycle", above=0)]
    """Products of attention that a thread does in a cycle; a head of a sequence is on one thread."""
    attention_ahead: Share | None = None
    """Share of attention's computing that goes on while it reads the cache; None: they take turns."""
    attention_simd_share: Share | None = None
    """As `simd_share`, of attention's softmax and of turning numbers of its cache into floats; None: it."""
    attention_widening: Annotated[Quantity, Is("cycles", above=0)] | None = None
    """What a thread takes to turn a number of its cache into a float, once for all query heads that share it;
    None: of floats it is in `attention_rate`, of integers arithmetic at `attention_simd_share`."""
    attention_head: Annotated[Quantity, Is("ns", least=0)] | None = None
    """What a query head of a row takes beside its products, however long the sequence; None: nothing."""
    lines_share: Annotated[Quantity, Is("ratio", above=0, most=1)] | None = None
    """Share of the lines that its L2 can have under way to DRAM which a core does have; None: all."""
    float_rate: Annotated[Quantity, Is("MAC/cycle", above=0)] | None = None
    """Products of a thread in a cycle where the weights are floats, which no PIM unit takes; None: such
    weights are refused."""
    grid_rate: Annotated[Quantity, Is("MAC/cycle", above=0)] | None = None
    """The same where one code stands for several weights (IQ1, IQ2, IQ3)."""
    barrier: Annotated[Quantity, Is("ns", least=0)]
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
    result_copy: Annotated[Quantity, Is("cycles", above=0)] | None = None
    """What a thread takes to copy a scaled result of the units to where the next operation reads it; of
    products that share an input the last one's count, the others' are copied meanwhile. None: units leave
    them there."""
    convert_flops: Annotated[Quantity, Is("FLOP/element", above=0)]
    """Converting and scaling one integer accumulator on the cores."""

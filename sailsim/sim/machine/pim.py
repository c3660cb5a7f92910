"""What a system file says of its PIM units."""

from __future__ import annotations

from math import ceil
from typing import Annotated, Any, Literal

from sailsim._core import UNIT_TEXT_VERSION
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Choice, ChoiceRule, Frozen, Quantity, QuantityOrWord, QuantityRule
from sailsim.lut_gemv.descriptor import NBW_MAX
from sailsim.sim.machine.catalog import BytesPerCycle, Clock, Cycles, Entries, Switch
from sailsim.sim.machine.substrate import OPERATIONS, SUBSTRATES, Substrate, load_substrate, settled_substrate

# ---- NBW, the weights of a look-up table: a number, or left to each tensor's tile -------------------------
AUTO = "auto"
"""What a user says where each tensor has its own."""
PER_TENSOR = 0
"""What auto is in a point and its records, a number as all others: for each tensor the NBW whose tile is the
fastest of those that fit the rows."""
NBWS = range(1, NBW_MAX + 1)
"""The numbers that there are."""


class _OrAuto(QuantityOrWord):
    """A field of a system file that is a number of weights with its source, or bare: "auto"."""

    def __init__(self) -> None:
        super().__init__(QuantityRule("weights", least=1, most=NBW_MAX, whole=True), {"const": AUTO})

    def word(self, value: str) -> str:
        """The word itself."""
        if value != AUTO:
            raise ValueError(f"is {value!r}; allowed is a number of weights, or {AUTO!r}")
        return value


Nbw = Annotated[Quantity | Literal["auto"], _OrAuto()]
"""The type of such a field."""


def nbw_of(said: int | str) -> int:
    """The number in a point for what a user says.

    Raises:
        SailsimError: neither a whole number of `NBWS` nor "auto".
    """
    if said == AUTO or (said == PER_TENSOR and type(said) is int):
        return PER_TENSOR
    if type(said) is not int or said not in NBWS:
        raise SailsimError(f"nbw is {said!r}; allowed is a whole number 1..{NBW_MAX}, or {AUTO!r}.")
    return said


def nbw_in_words(nbw: Any) -> str:
    """What a point's number means: "NBW 4", or "NBW auto"."""
    return f"NBW {AUTO if nbw == PER_TENSOR else f'{nbw:g}'}"


SLOWEST_KIB = 1 << 30
"""The most cycles a KiB of weights that a unit's text may say."""


class _SubstrateName(ChoiceRule):
    """A choice that names a substrate: one that ships or the path of a file."""

    def __init__(self) -> None:
        super().__init__(*SUBSTRATES.names, "the path of a .toml file", "either with other costs, :add=3")

    def check(self, choice: Choice) -> Choice:
        """Return `choice`, written in one way, or raise a ValueError that lists what is allowed."""
        try:
            settled = settled_substrate(str(choice.value))
        except ValueError as error:
            raise ValueError(f"is {error}") from None
        return choice.model_copy(update={"value": settled})


class Pim(Frozen):
    """The PIM unit beside each LLC slice: C-SRAM arrays and a data feeding module (DFM)."""

    enabled: bool
    """false: the same machine without C-SRAM, which is the baseline."""
    substrate: Annotated[Choice, _SubstrateName()]
    """What the arrays are: a substrate that ships, or the path of its file, relative to the system file."""
    arrays: Annotated[Quantity, QuantityRule("arrays", least=1, most=4096, whole=True)]
    """Per slice, in lockstep."""
    rows: Annotated[Quantity, QuantityRule("rows", least=4, most=4096, whole=True)]
    cols: Annotated[Quantity, QuantityRule("columns", least=8, most=4096, whole=True)]
    clock: Clock
    """Of the C-SRAM and the DFM: every cycle of a tile's timing."""
    port: BytesPerCycle
    """Slice port of the unit, per C-SRAM cycle."""
    accumulator: Annotated[Quantity, QuantityRule("bits", least=16, most=64, whole=True)]
    prt_entries: Annotated[Quantity, QuantityRule("entries", least=0, whole=True)]
    """Pattern reuse table of a DFM; 0 is none."""
    prt_policy: Annotated[Choice, ChoiceRule("lru", "fifo", "direct")]
    t_zero: Cycles
    """Cycles that the all-zero pattern takes."""
    t_prt: Cycles
    """Cycles that a PRT hit takes in the DFM; what it leaves to the arrays is the substrate's phase `hit`."""
    double_buffer: Switch
    """Whether the next group's weights load while this one is worked on."""
    activation_buffer: Annotated[Quantity, QuantityRule("KiB", above=0)]
    """Of a DFM: two groups' activations of as many batch rows as it works on. What it cannot keep it reads
    from the slice again in every further pass over the outputs."""
    accumulator_buffer: Annotated[Quantity, QuantityRule("KiB", above=0)]
    """Sums of all DFMs of a slice, where the substrate has them there: a batch beyond it takes passes of
    fewer outputs."""
    dfms: Annotated[Quantity, QuantityRule("DFMs", least=1, most=4096, whole=True)]
    """Of a slice: each feeds as many of its arrays and has a PRT of its own."""
    dfm_split: Annotated[Choice, ChoiceRule("n", "k")]
    """What they share out: `n`, outputs, all with the same patterns; `k`, the groups of a block, each with
    patterns and sums of its own, which are added up at the block's end."""
    convert: Annotated[Choice, ChoiceRule("memory", "unit", "cores")]
    """Where integer sums become scaled fp32: in the arrays, in floating-point units at the DFMs, on the
    host's cores."""
    convert_units: Annotated[Quantity, QuantityRule("units", least=1, most=4096, whole=True)]
    """Floating-point units of a slice, where `convert` is `unit`."""
    convert_latency: Annotated[Quantity, QuantityRule("cycles", least=1, whole=True)]
    """From a sum to its scaled result in one of them."""
    convert_interval: Annotated[Quantity, QuantityRule("cycles", least=1, whole=True)]
    """Between the sums that one of them takes; at most its latency."""
    nbw: Nbw
    """Weights of a group, where a run does not say; "auto": each tensor's own (`sailsim.sim.machine.pim`)."""
    mshrs: Entries
    """Lines that one unit has under way to DRAM."""
    fetch_ahead: Annotated[Quantity, QuantityRule("ratio", least=1)]
    """Weights under way or waiting for the arrays beyond the group in turn; 1 is what `mshrs` hold."""
    queue: Entries
    """Descriptors that one unit holds."""
    unit_cache: Annotated[Quantity, QuantityRule("KiB", above=0)]
    """The small coherent cache between a unit and its slice (gem5)."""
    prefetch_depth: Annotated[Quantity, QuantityRule("tensors", least=0, whole=True)]
    """How many tensors ahead weights stream into the LLC; 0: only as the tile asks."""
    prefetch_share: Annotated[Quantity, QuantityRule("ratio", least=0, most=1)]
    """Share of the LLC that waiting weights may take."""
    prefetch_priority: Annotated[Choice, ChoiceRule("background", "fair")]
    """Whether weights that no slice works on yet give way to the cores' accesses to DRAM."""

    one_pass: Switch | None = None
    """Whether software cuts a slice's share of a product into tiles of one pass: several passes would each
    read pieces of all rows from memory, where no weights run ahead. None: it does not."""

    @property
    def default_nbw(self) -> int:
        """What a point has that does not say: a number of weights, or `PER_TENSOR`."""
        return PER_TENSOR if isinstance(self.nbw, str) else self.nbw.whole

    @property
    def widest_nbw(self) -> int:
        """What the unit is built for: its NBW, or the largest that any point may choose."""
        return NBWS[-1] if isinstance(self.nbw, str) else self.nbw.whole

    def load_substrate(self) -> Substrate:
        """The substrate that `substrate` names.

        Raises:
            SailsimError: its file cannot be read, or is wrong.
        """
        return load_substrate(str(self.substrate.value))

    def kib_cycles(self, weights_rate: float) -> int:
        """Cycles in which memory brings a slice a KiB at `weights_rate` bytes/s."""
        return min(ceil(1024 * self.clock.si / weights_rate), SLOWEST_KIB)

    def unit_text(self, slices: int, weights_rate: float, **overrides: Any) -> str:
        """A unit in the text form that the C++ core, gem5 and the emulator read.

        Args:
            slices: that share the outputs of a tensor.
            weights_rate: bytes/s of weights that memory brings each of them; layouts reckon with it.
            **overrides: replace single fields, named and explained in `sim_ext/pim/config.hh`; `substrate` is
                a name, a path or a `Substrate`.

        Raises:
            ValueError: a field that no unit has.
            SailsimError: a substrate that cannot be read.
        """

        def as_they_are(*names: str) -> dict[str, Any]:
            every = ((name, getattr(self, name)) for name in names)
            return {name: own.whole if isinstance(own, Quantity) else own.value for name, own in every}

        fields: dict[str, Any] = {
            **as_they_are("rows", "cols", "arrays"),
            "slices": slices,
            "port_bytes": self.port.whole,
            "weights_kib_cycles": self.kib_cycles(weights_rate),
            "accumulator_bits": self.accumulator.whole,
            **as_they_are("prt_entries", "prt_policy", "t_zero", "t_prt", "double_buffer"),
            "activation_buffer_bits": int(8 * self.activation_buffer.si),
            "accumulator_buffer_bits": int(8 * self.accumulator_buffer.si),
            **as_they_are("dfms", "dfm_split", "convert", "convert_units"),
            **as_they_are("convert_latency", "convert_interval"),
        }
        substrate = overrides.pop("substrate", self.substrate.value)
        if not isinstance(substrate, Substrate):
            substrate = load_substrate(substrate)
        for name, value in overrides.items():
            if name not in fields:
                known = ", ".join(fields)
                raise ValueError(f"{name} is no field of a unit; allowed are {known} and substrate")
            fields[name] = value
        fields["substrate"] = substrate.name
        fields |= {name: getattr(substrate, name) for name in ("layout", "accumulate", "prt_helps")}
        lines = [f"sailsim-unit {UNIT_TEXT_VERSION}"]
        lines += [
            f"{name} {str(value).lower() if isinstance(value, bool) else value}"
            for name, value in fields.items()
        ]
        for name in OPERATIONS:
            lines.append(f"cost.{name} {' '.join(map(str, substrate.costs[name].coefficients))}")
        for phase, steps in substrate.phases.steps().items():
            lines.append(f"phase.{phase} {', '.join(map(str, steps)) or 'none'}")
        return "\n".join(lines) + "\n"

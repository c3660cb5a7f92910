"""PIM units of a system file."""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import Annotated, Any, Literal

from sailsim._core import UNIT_TEXT_VERSION
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Choice, ChoiceRule, FrozenModel, Quantity, QuantityRule
from sailsim.lut_gemv.descriptor import NBW_MAX
from sailsim.sim.machine.catalog import BytesPerCycle, Clock, Cycles, Entries, Switch
from sailsim.sim.machine.substrate import (
    OPERATIONS,
    SUBSTRATES,
    Substrate,
    canonical_substrate,
    load_substrate,
)

# ---- NBW, the weights of a look-up table: a number, or each tensor's own ----------------------------------
AUTO = "auto"
"""NBW in a file or option where each tensor has its own."""
PER_TENSOR = 0
"""NBW in a point or record where each tensor has its own: that of the fastest tile that fits the rows."""
NBWS = range(1, NBW_MAX + 1)
"""Allowed numbers of weights."""


def _check_auto(word: str) -> str:
    if word != AUTO:
        raise ValueError(f"is {word!r}; allowed is a number of weights, or {AUTO!r}")
    return word


_NBW_RULE = QuantityRule(
    "weights", least=1, most=NBW_MAX, whole=True, word=_check_auto, word_schema=("const", AUTO)
)


def parse_nbw(value: int | str) -> int:
    """NBW of a point from a user's value, which is a number of `NBWS` or "auto". Raises SailsimError."""
    if value == AUTO or (value == PER_TENSOR and type(value) is int):
        return PER_TENSOR
    if type(value) is not int or value not in NBWS:
        raise SailsimError(f"nbw is {value!r}; allowed is a whole number 1..{NBW_MAX}, or {AUTO!r}.")
    return value


def format_nbw(nbw: Any) -> str:
    """Label of a point's NBW: "NBW 4" or "NBW auto"."""
    return f"NBW {AUTO if nbw == PER_TENSOR else f'{nbw:g}'}"


MAX_KIB_CYCLES = 1 << 30
"""Largest number of cycles per KiB of weights in a unit's text form."""
_SUBSTRATE_RULE = ChoiceRule(
    *SUBSTRATES.names, "the path of a .toml file", "either with other costs, :add=3",
    canonical=canonical_substrate,
)  # fmt: skip


class Pim(FrozenModel):
    """PIM unit at each LLC slice: C-SRAM arrays and data feeding modules (DFMs)."""

    enabled: bool
    """Whether the units are used; false gives the same system without C-SRAM, the baseline."""
    substrate: Annotated[Choice, _SUBSTRATE_RULE]
    """Substrate of the arrays: a shipped name, or the path of a file relative to the system file."""
    arrays: Annotated[Quantity, QuantityRule("arrays", least=1, most=4096, whole=True)]
    """C-SRAM arrays per slice, which work in lockstep."""
    rows: Annotated[Quantity, QuantityRule("rows", least=4, most=4096, whole=True)]
    """Rows of an array."""
    cols: Annotated[Quantity, QuantityRule("columns", least=8, most=4096, whole=True)]
    """Columns of an array."""
    clock: Clock
    """Clock of C-SRAM and DFMs; a tile's cycles are cycles of it."""
    port: BytesPerCycle
    """Bandwidth of the unit's port to its slice, per C-SRAM cycle."""
    accumulator: Annotated[Quantity, QuantityRule("bits", least=16, most=64, whole=True)]
    """Width of an integer sum."""
    prt_entries: Annotated[Quantity, QuantityRule("entries", least=0, whole=True)]
    """Entries of a DFM's pattern reuse table (PRT); 0 means no PRT."""
    prt_policy: Annotated[Choice, ChoiceRule("lru", "fifo", "direct")]
    """Replacement policy of the PRT."""
    t_zero: Cycles
    """Cycles of an all-zero pattern."""
    t_prt: Cycles
    """Cycles of a PRT hit in the DFM; the substrate's phase `hit` has the remaining work of the arrays."""
    double_buffer: Switch
    """Whether the next group's weights load while the current group is processed."""
    activation_buffer: Annotated[Quantity, QuantityRule("KiB", above=0)]
    """Activation buffer of a DFM, for two groups of all batch rows in work. Activations beyond it are read
    from the slice again in every further pass over the outputs."""
    accumulator_buffer: Annotated[Quantity, QuantityRule("KiB", above=0)]
    """Buffer for the sums of all DFMs of a slice, where the DFMs add (`accumulate`); a larger batch takes
    more passes, of fewer outputs each."""
    dfms: Annotated[Quantity, QuantityRule("DFMs", least=1, most=4096, whole=True)]
    """DFMs of a slice; each feeds an equal share of the arrays and has its own PRT."""
    dfm_split: Annotated[Choice, ChoiceRule("n", "k")]
    """Work that the DFMs share out: outputs, with the same patterns (`n`), or the groups of a block (`k`),
    each with its own patterns and sums, which are added up at the block's end."""
    convert: Annotated[Choice, ChoiceRule("memory", "unit", "cores")]
    """Place where integer sums become scaled fp32: the arrays (`memory`), floating-point units at the DFMs
    (`unit`) or the host's cores (`cores`)."""
    convert_units: Annotated[Quantity, QuantityRule("units", least=1, most=4096, whole=True)]
    """Floating-point units of a slice, where `convert` is `unit`."""
    convert_latency: Annotated[Quantity, QuantityRule("cycles", least=1, whole=True)]
    """Latency of a floating-point unit, from a sum to its scaled result."""
    convert_interval: Annotated[Quantity, QuantityRule("cycles", least=1, whole=True)]
    """Cycles between two sums that enter a floating-point unit; at most its latency."""
    nbw: Annotated[Quantity | Literal["auto"], _NBW_RULE]
    """Weights of a group (NBW) unless a run sets it; "auto": for each tensor that of its fastest tile."""
    mshrs: Entries
    """Cache lines that one unit has in flight to DRAM."""
    fetch_ahead: Annotated[Quantity, QuantityRule("ratio", least=1)]
    """Weights in flight or waiting ahead of the current group, as a multiple of the bytes of `mshrs`."""
    queue: Entries
    """Descriptors that one unit can hold."""
    unit_cache: Annotated[Quantity, QuantityRule("KiB", above=0)]
    """Size of the coherent cache between a unit and its slice (gem5 only)."""
    prefetch_depth: Annotated[Quantity, QuantityRule("tensors", least=0, whole=True)]
    """Number of tensors whose weights stream into the LLC ahead of use; 0: only on the tile's demand."""
    prefetch_share: Annotated[Quantity, QuantityRule("ratio", least=0, most=1)]
    """Share of the LLC that prefetched weights may occupy."""
    prefetch_priority: Annotated[Choice, ChoiceRule("background", "fair")]
    """DRAM priority of prefetched weights: below the cores' accesses (`background`) or equal (`fair`)."""
    one_pass: Switch | None = None
    """Whether software cuts a slice's share of a product into tiles of one pass; missing: no. Each of several
    passes would read pieces of all rows from memory, where no weights are prefetched."""

    @property
    def default_nbw(self) -> int:
        """NBW of a point that does not set it: a number of weights, or `PER_TENSOR`."""
        return PER_TENSOR if isinstance(self.nbw, str) else self.nbw.whole

    @property
    def widest_nbw(self) -> int:
        """Largest NBW that the unit supports: its own, or the largest of all with "auto"."""
        return NBWS[-1] if isinstance(self.nbw, str) else self.nbw.whole

    def load_substrate(self) -> Substrate:
        """Read the substrate of the arrays.

        Raises:
            SailsimError: its file cannot be read, or is wrong.
        """
        return load_substrate(str(self.substrate.value))

    def kib_cycles(self, weights_rate: float) -> int:
        """Unit cycles in which memory delivers 1 KiB to a slice at ``weights_rate`` bytes/s."""
        return min(ceil(1024 * self.clock.si / weights_rate), MAX_KIB_CYCLES)

    def unit_text(self, slices: int, weights_rate: float, **overrides: Any) -> str:
        """Text form of a unit, which the C++ core, gem5 and the emulator read.

        Args:
            slices: number of slices that share the outputs of a tensor.
            weights_rate: bytes/s of weights that memory delivers to each slice, for layouts.
            **overrides: replacements of fields of `sim_ext/pim/config.hh`; `substrate` is a name, a path or a
                `Substrate`.

        Raises:
            ValueError: an override that is no field of a unit.
            SailsimError: a substrate that cannot be read.
        """

        def unchanged(*names: str) -> dict[str, Any]:
            return {
                name: int(own.value) if isinstance(own := getattr(self, name), Quantity) else own.value
                for name in names
            }

        fields: dict[str, Any] = {
            **unchanged("rows", "cols", "arrays"),
            "slices": slices,
            "port_bytes": self.port.whole,
            "weights_kib_cycles": self.kib_cycles(weights_rate),
            "accumulator_bits": self.accumulator.whole,
            **unchanged("prt_entries", "prt_policy", "t_zero", "t_prt", "double_buffer"),
            "activation_buffer_bits": int(8 * self.activation_buffer.si),
            "accumulator_buffer_bits": int(8 * self.accumulator_buffer.si),
            **unchanged("dfms", "dfm_split", "convert", "convert_units"),
            **unchanged("convert_latency", "convert_interval"),
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
        for name, value in fields.items():  # as `format_value`, without a call for each of a population's
            lines.append(f"{name} {str(value).lower() if value is True or value is False else value}")
        return "\n".join([*lines, *_substrate_lines(substrate)]) + "\n"


@lru_cache(maxsize=64)  # most machines of a study have one substrate
def _substrate_lines(substrate: Substrate) -> list[str]:
    """Lines of a unit's text form with the costs of operations and the operations of phases."""
    costs = [f"cost.{each} {' '.join(map(str, substrate.costs[each].coefficients))}" for each in OPERATIONS]
    for phase, ops in substrate.phases.steps().items():
        texts = (f"{times} {operation} {n}" for times, operation, n in ops)
        costs.append(f"phase.{phase} {', '.join(texts) or 'none'}")
    return costs

"""Machines as data: what a system file may say, field by field, with units and bounds.

One file builds the machine of the fast engine and of gem5. Every number is a `Quantity`, so nothing here has
a default: what a machine is, is written in its file (`systems/*.toml`). Its parts are in `cores`, `memory`
and `pim`.
"""

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import field_validator, model_validator

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Frozen, Is, Quantity
from sailsim.sim.accelerator import AcceleratorSection, ByBackend
from sailsim.sim.cores import L2, Cache, Cores, Host, LastLevel
from sailsim.sim.dram import Memory
from sailsim.sim.memory_path import weights_rate
from sailsim.sim.pim import NBWS, Pim
from sailsim.sim.tables import Bandwidth, Clock, Latency, Share


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
                unit = _core.SliceConfig(self.unit_text())
                _core.plan_tile(
                    unit, k=4096, n=4096, batch=1, wbits=4, value_bits=4, abits=8,
                    nbw=self.pim.default_nbw or NBWS[0], group_size=0, scaled=False,
                )  # fmt: skip
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
        other = self.accelerator
        its = "" if other is None else f", its accelerator has backend {other.backend}"
        return SailsimError(
            f"system {self.name} has no enabled [pim] section{its}; allowed is one with PIM units."
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


class CardKernels(Frozen):
    """What the baselines' software reaches on a card.

    Where a file has nothing, those cards stand for it that the constant was measured on.
    """

    read_share: Share | None = None
    """Of `memory_bandwidth`: weights of four bits, llama.cpp."""
    prompt_share: Share | None = None
    """Of `fp16_flops`: whole prompts, llama.cpp."""
    batch_rate: Annotated[Quantity, Is("MAC/cycle", above=0)] | None = None
    """Of an SM: llama.cpp's matrix kernel for 9 to 64 rows."""
    prompt_share_f16: Share | None = None
    """Of `fp16_flops`: whole prompts in 16 bits, vLLM."""
    read_share_w4: Share | None = None
    """Of `memory_bandwidth`: LMDeploy's four-bit kernels."""
    compute_share_w4: Share | None = None
    """Of `fp16_flops`: the same."""
    layer_overhead_w4: Latency | None = None
    """Launches and small kernels of a layer: the same."""
    row_overhead_w4: Latency | None = None
    """Work of a sequence and step: the same."""


class Gpu(_Described):
    """A GPU as a baseline needs it."""

    kind: Literal["gpu"]
    memory_bandwidth: Bandwidth
    memory_size: Annotated[Quantity, Is("GB", above=0)]
    fp16_flops: Annotated[Quantity, Is("TFLOP/s", above=0)]
    """Dense, tensor cores."""
    fp32_flops: Annotated[Quantity, Is("TFLOP/s", above=0)]
    sms: Annotated[Quantity, Is("SMs", least=1, whole=True)]
    clock: Clock
    """Boost."""
    l2: Annotated[Quantity, Is("MiB", above=0)]
    tdp: Annotated[Quantity, Is("W", above=0)]
    kernels: CardKernels = CardKernels()

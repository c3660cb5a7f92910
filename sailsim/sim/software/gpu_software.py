"""Records of software on GPUs: a file for each family in `data/gpu_software`."""

from __future__ import annotations

from functools import cache
from typing import Literal

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import FrozenModel
from sailsim.sim.machine.catalog import Catalog, validate
from sailsim.sim.software.records import Provenance
from sailsim.workloads.models.formats import WeightFormat

FormatKind = Literal["sixteen-bit", "four-bit", "other"]
GpuLaw = Literal["reads", "served", "tiles", "packed"]
_CATALOG = Catalog("software", "data/gpu_software")


class GpuSoftware(FrozenModel):
    """Family of software on GPUs; its constants are in the GPUs' files and in `fits.json`."""

    order: int
    """Place in lists."""
    name: str
    title: str
    """Title with the builds that were measured."""
    provenance: Provenance
    """Whether its rates were measured on machines, simulated, or claimed by its authors alone."""
    source: str
    """Runs that its constants rest on."""
    kernels: dict[FormatKind, GpuLaw]
    """Law of decoding by kind of format (`roofline.gpu_fit`); a missing kind is not decoded."""
    allowed: str = ""
    """The formats that it decodes in words, as the end of a sentence; needed where a kind is missing."""
    prompts: list[FormatKind]
    """Kinds of formats whose prompts were measured."""
    no_prompts: str = ""
    """Reason why prompts of the other kinds are not predicted."""
    stronger: str = ""
    """Software with stronger kernels for batches of its quantized formats, which a note compares it with."""

    def law(self, fmt: WeightFormat) -> GpuLaw:
        """Law of decoding a format. Raises SailsimError for one without a kernel."""
        if problem := self.decode_problem(fmt):
            raise SailsimError(problem)
        return self.kernels[kind_of(fmt)]

    def decode_problem(self, fmt: WeightFormat) -> str | None:
        """Reason why it does not decode a format, None if it does."""
        if kind_of(fmt) in self.kernels:
            return None
        return f"format is {fmt.name}, allowed with software {self.name!r} is one of {self.allowed}"


def is_sixteen_bit(fmt: WeightFormat) -> bool:
    """Whether a format's weights are 16-bit floats."""
    return fmt.base.name in ("f16", "bf16")


def is_four_bit(fmt: WeightFormat) -> bool:
    """Whether a format is like the measured q4_k_m: four-bit integer codes with scales."""
    code = fmt.base.code
    return code is not None and code.wbits == 4 and code.kind != "book"


def kind_of(fmt: WeightFormat) -> FormatKind:
    """Kind of a format, by which kernels differ."""
    return "sixteen-bit" if is_sixteen_bit(fmt) else "four-bit" if is_four_bit(fmt) else "other"


@cache
def gpu_software() -> dict[str, GpuSoftware]:
    """The records that ship by name, in their order."""
    hint = "a field of a software's record"
    records = [validate(GpuSoftware, _CATALOG.read(name), name, hint) for name in _CATALOG.names]
    return {record.name: record for record in sorted(records, key=lambda record: record.order)}


def load_gpu_software(name: str) -> GpuSoftware:
    """Record of a software. Raises SailsimError for a name that no record has."""
    try:
        return gpu_software()[name]
    except KeyError:
        allowed = ", ".join(gpu_software())
        raise SailsimError(f"software is {name!r}, allowed is one of {allowed}") from None

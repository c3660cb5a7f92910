"""One run: which machine does what."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from sailsim.errors import SailsimError
from sailsim.sim.substrate import SUBSTRATES
from sailsim.sim.system import System

CONVERT = ("memory", "cores")

# field -> (least, most); what the descriptor can carry and what stays computable.
_RANGES = {
    "wbits": (1, 8),
    "abits": (1, 16),
    "nbw": (1, 6),
    "group_size": (0, 65535),
    "batch": (1, 65535),
    "threads": (1, 4096),
    "context": (1, 1 << 24),
    "seed": (0, (1 << 63) - 1),
}


@dataclass(frozen=True, kw_only=True)
class Point:
    """Inputs of one simulated step; hashable, and JSON-able by `as_dict`.

    `nbw`, `substrate` and `convert` may be None: then the system file decides (`resolved`). `group_size` is
    the number of weights along K that share a scale (0: all of K). `substrate` is the name of one that ships
    or the path of its file. `activations` is the path of the capture that pattern counts come from; empty is
    the one that ships.

    Raises:
        SailsimError: one sentence that names the field, the value and what is allowed.
    """

    system: str = "sail-n1"
    model: str = "llama-2-7b"
    wbits: int = 4
    abits: int = 8
    nbw: int | None = None
    group_size: int = 128
    batch: int = 1
    threads: int = 16
    context: int = 512
    substrate: str | None = None
    convert: Literal["memory", "cores"] | None = None
    prt: bool = True
    seed: int = 0
    activations: str = ""

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value is None and name == "nbw":
                continue
            if type(value) is not int or not least <= value <= most:
                raise SailsimError(f"{name} is {value!r}; allowed is a whole number {least}..{most}.")
        for name in ("system", "model", "activations"):
            if not isinstance(getattr(self, name), str):
                raise SailsimError(f"{name} is {getattr(self, name)!r}; allowed is a name or a path.")
        if self.substrate is not None and (why := SUBSTRATES.problem(str(self.substrate))):
            raise SailsimError(f"substrate is {why}.")
        if self.convert is not None and self.convert not in CONVERT:
            raise SailsimError(f"convert is {self.convert!r}; allowed are {', '.join(CONVERT)}.")
        if not isinstance(self.prt, bool):
            raise SailsimError(f"prt is {self.prt!r}; allowed are true and false.")

    def resolved(self, system: System) -> "Point":
        """The point with everything filled that `system` decides."""
        pim = system.pim
        if pim is None or None not in (self.nbw, self.substrate, self.convert):
            return self
        return replace(
            self,
            nbw=self.nbw if self.nbw is not None else pim.nbw.whole,
            substrate=self.substrate or str(pim.substrate.value),
            convert=self.convert or ("memory" if pim.convert.value == "memory" else "cores"),
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields in their order, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Point":
        """The point of `as_dict`; other keys are ignored, so a result's record will do."""
        return cls(**{f.name: record[f.name] for f in fields(cls) if f.name in record})

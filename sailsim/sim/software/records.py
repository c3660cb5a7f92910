"""Records of software on cores: a file for each family, shipped (`data/software`) or given by its path.

A record says who ran the software, how its kernels' rates follow the format of the weights, and whose
attention it brings. Constants that were fitted stand in the same file; `research/fits/fit.py` writes them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sailsim.base.errors import SailsimError
from sailsim.base.input_file import Stamp, stamp
from sailsim.base.quantity import FrozenModel, Quantity, QuantityRule
from sailsim.sim.machine.catalog import Catalog, validate

N1 = "neoverse-n1"
"""Core of Graviton2 and Altra, on which three software stacks were measured."""
CORES = (N1, "neoverse-v1", "neoverse-v2", "neoverse-n2")
"""Cores that constants may be of."""
FILED = "llama.cpp"
"""Software whose constants the files of systems have."""

Provenance = Literal["measured", "simulated", "claimed"]
Law = Literal["listed", "ratios", "nearest", "single", "look-ups", "gain", "codes", "code tables"]
_CATALOG = Catalog("software", "data/software")


class SoftwareNotes(FrozenModel):
    """Sentences that runs of a software carry."""

    always: tuple[str, ...] = ()
    prompts: str = ""
    """Note of prompts."""
    elsewhere: str = ""
    """Note of cores other than Neoverse N1, whose name stands for `{core}`."""


class SoftwareRecord(FrozenModel):
    """Family of software on cores."""

    order: int = 99
    """Place in lists."""
    name: str
    title: str
    provenance: Provenance
    """Whether its rates were measured on machines, simulated, or claimed by its authors alone."""
    source: str
    """Runs that its constants or rates rest on."""
    law: Law = "listed"
    """How rates follow formats (`kernel_rates`); "listed": the record's own `rates`."""
    based_on: str = ""
    """Software whose constants it takes on cores for which it has none."""
    attention: str = ""
    """Software whose attention and norms it runs; missing: that of `based_on`, else its own."""
    program: str = ""
    """System file with the attention of its program; empty: attention at a fitted rate."""
    gain: Quantity | None = None
    """Rate of its kernels over those of `based_on`, for the law "gain"."""
    formats: tuple[str, ...] = ()
    """Formats of weights that it multiplies; empty: all that its law knows."""
    allowed: str = ""
    """The allowed formats in words, as the end of a sentence."""
    cache: Literal["unified", "separate"] = "unified"
    """Cache that a sequence of a batch scans: that of all, or its own."""
    serves: bool = False
    """Whether it was measured as a server, whose steps mix prompts and answers; its attention is not known
    next to units."""
    no_prompts: str = ""
    """Reason why its prompts are not predicted; empty: they are."""
    notes: SoftwareNotes = SoftwareNotes()
    rates: dict[str, dict[str, Annotated[Quantity, QuantityRule("MAC/cycle", above=0)]]] = Field(
        default_factory=dict
    )
    """Core -> format -> MAC/cycle of a thread, for the law "listed"."""
    cores: dict[str, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    """Core -> its `constants` and `intervals`, as fitted."""

    @model_validator(mode="before")
    @classmethod
    def _with_tuples(cls, table: Any) -> Any:
        if isinstance(table, dict):
            notes = table.get("notes")
            lists: dict[str, Any] = {k: tuple(v) for k, v in table.items() if isinstance(v, list)}
            if isinstance(notes, dict) and isinstance(notes.get("always"), list):
                lists["notes"] = notes | {"always": tuple(notes["always"])}
            return table | lists
        return table

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not (self.name.strip() and self.title.strip() and self.source.strip()):
            raise ValueError("needs a name, a title and a source that are not empty")
        for place, table in (("rates", self.rates), ("cores", self.cores)):
            if unknown := next((core for core in table if core not in CORES), None):
                raise ValueError(f"{place} has {unknown!r}; allowed are {', '.join(CORES)}")
        if self.based_on and self.based_on not in _CATALOG.names:
            raise ValueError(f"based_on is {self.based_on!r}; allowed are {', '.join(_CATALOG.names)}")
        if self.law == "listed" and not (self.based_on and self.formats and self.rates):
            raise ValueError("lists its rates, so it needs based_on, formats and rates")
        for core, rates in self.rates.items():
            if odd := next((key for key in rates if key not in self.formats), None):
                raise ValueError(f"rates.{core} has {odd!r}; allowed are formats, {', '.join(self.formats)}")
        return self

    @property
    def host(self) -> str:
        """Name of the software whose attention and norms it runs."""
        return self.attention or (load_software(self.based_on).host if self.based_on else self.name)

    @property
    def measured_on(self) -> frozenset[str]:
        """Cores for which it has rates, or constants of its own."""
        return frozenset({*self.rates, *self.cores})

    @property
    def can_host(self) -> bool:
        """Whether its attention runs on the cores next to units: it is its own, and known alone."""
        return self.host == self.name and not self.serves

    @property
    def is_measured(self) -> bool:
        """Whether machines have run it."""
        return self.provenance == "measured"


def load_software(name_or_path: str) -> SoftwareRecord:
    """Record of a software by its shipped name or the path of a TOML file.

    Raises:
        SailsimError: one sentence that names the file or the field, the value and what is allowed.
    """
    return _load(name_or_path, stamp(_CATALOG.path(name_or_path)))


@lru_cache(maxsize=64)
def _load(name_or_path: str, _stamp: Stamp) -> SoftwareRecord:
    """Read a record; ``_stamp`` has a changed file read again."""
    hint = "a field of a software's record; docs/baselines.md lists what is"
    record = validate(SoftwareRecord, _CATALOG.read(name_or_path), name_or_path, hint)
    if record.name in _CATALOG.names and record.name != name_or_path:
        raise SailsimError(f"{name_or_path}: name is {record.name!r}, which ships; allowed is another.")
    return record


@lru_cache(maxsize=1)
def shipped_records() -> tuple[SoftwareRecord, ...]:
    """The records that ship, in their order."""
    return tuple(sorted(map(load_software, _CATALOG.names), key=lambda record: record.order))


def software_names() -> tuple[str, ...]:
    """Names of the software that ships, in the order of lists."""
    return tuple(record.name for record in shipped_records())

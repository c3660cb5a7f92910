"""What a system file takes from elsewhere beside what it extends: a memory type's table, another's PIM units.

A type of DRAM (`memory.type`) is a file of `dram_types`: what all channels of it have in common. A file says
what it does not leave to the type, as the type's own fields stand below those of the file; one that names
another type than what it extends has nothing of the old one (`over_machine`). `cores.extends` names a core of
`core_types` in the same way, with its private caches; `pim.extends` a shipped machine whose PIM units stand
beside this one's caches.
"""

from __future__ import annotations

from sailsim.base.errors import SailsimError
from sailsim.sim.tables import Shelf, Table, over

_DRAM = Shelf("DRAM type", "dram_types")
_CORES = Shelf("core type", "core_types")
_OF_TYPE = ("clock", "width", "banks", "row", "timing", "peak_bandwidth")
"""Of `memory`: what a type decides, and the peak that a file may state to check it."""
_OF_CORES = ("cores", "l1i", "l1d", "l2", "sources")


def dram_types() -> tuple[str, ...]:
    """The types of DRAM whose timing tables ship."""
    return _DRAM.names


def dram_type(name: str) -> Table:
    """The table of one: `memory`, with its timing, and the citations of its values."""
    return _DRAM.read(name)


def _type_of(table: Table) -> object:
    """The memory's type that a table states; None where it states none."""
    memory = table.get("memory")
    choice = memory.get("type") if isinstance(memory, dict) else None
    return choice.get("value") if isinstance(choice, dict) else None


def over_machine(upper: Table, lower: Table) -> Table:
    """`over` of a system file and what it extends, whose clock and times go where the file names another type
    of memory: times of DDR4 say nothing about HBM."""
    named = _type_of(upper)
    if named is not None and named != _type_of(lower) and isinstance(lower.get("memory"), dict):
        kept = {key: value for key, value in lower["memory"].items() if key not in _OF_TYPE}
        lower = lower | {"memory": kept}
    return over(upper, lower)


def with_dram_type(table: Table) -> Table:
    """A system's table with what its memory's type says where the table itself says nothing."""
    name = _type_of(table)
    if not isinstance(name, str) or name not in dram_types():
        return table
    return over(table, {key: value for key, value in dram_type(name).items() if key in ("memory", "sources")})


def with_core_type(table: Table, where: str) -> Table:
    """A system's table with the core that `cores.extends` names, if it does.

    Raises:
        SailsimError: it names no core that ships.
    """
    cores = table.get("cores")
    if not isinstance(cores, dict) or "extends" not in cores:
        return table
    named = cores["extends"]
    if named not in _CORES.names:
        raise SailsimError(f"{where}: cores.extends is {named!r}; allowed are {', '.join(_CORES.names)}.")
    own = {key: value for key, value in cores.items() if key != "extends"}
    core = _CORES.read(named)
    return over(table | {"cores": own}, {key: core[key] for key in _OF_CORES})


def with_pim_of(table: Table, shelf: Shelf, where: str) -> Table:
    """A system's table with the PIM units of the shipped machine that `pim.extends` names, if it does.

    Raises:
        SailsimError: it names no shipped machine with PIM units.
    """
    pim = table.get("pim")
    if not isinstance(pim, dict) or "extends" not in pim:
        return table
    named = pim["extends"]
    other = shelf.read(named) if isinstance(named, str) and named in shelf.names else {}
    if "pim" not in other or "extends" in other["pim"]:
        having = [
            name for name in shelf.names if "extends" not in shelf.read(name).get("pim", {"extends": 0})
        ]
        raise SailsimError(f"{where}: pim.extends is {named!r}; allowed are {', '.join(having)}.")
    own = {key: value for key, value in pim.items() if key != "extends"}
    lower = {"pim": other["pim"], "sources": other["sources"]}
    return over(table | {"pim": own}, lower)


def completed(table: Table, shelf: Shelf, where: str) -> Table:
    """A system's table with all that it takes from elsewhere; `where` is its file, for errors.

    Raises:
        SailsimError: it names a core or a machine that does not ship.
    """
    return with_dram_type(with_core_type(with_pim_of(table, shelf, where), where))

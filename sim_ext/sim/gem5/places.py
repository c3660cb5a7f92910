"""Where gem5's part of sailsim lies, and a machine as gem5's scripts read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sailsim
from sailsim.base.errors import SailsimError
from sailsim.sim.system import System


def _part(installed: str, checkout: str, proof: str) -> Path:
    """A folder that a wheel carries inside the package and a checkout has at its top."""
    package = Path(sailsim.__file__).resolve().parent
    for folder in (package / "_gem5" / installed, package.parent / checkout):
        if (folder / proof).exists():
            return folder
    raise SailsimError(f"folder {checkout} is missing from this installation; install sailsim again.")


def extras_path() -> Path:
    """The folder that gem5's build takes as EXTRAS."""
    return _part("sim_ext", "sim_ext", "gem5/SConscript")


def configs_path() -> Path:
    """The folder of the scripts that gem5 runs."""
    return _part("configs", "gem5-configs", "machine.py")


def gem5_unit(system: System, **overrides: Any) -> str:
    """A PIM unit of gem5 in the text form; raises as `System.unit_text`.

    A descriptor is one slice's tile, and a unit scales by itself whenever a descriptor asks for it.
    """
    return system.unit_text(slices=1, convert=system.unit_convert, **overrides)


def machine_json(system: System) -> str:
    """A machine as gem5's scripts read it: its file's sections, and its PIM unit in the text form.

    Raises SailsimError for a machine with another accelerator, which gem5 does not have.
    """
    if system.accelerator is not None:
        raise SailsimError(
            f"system {system.name} has an accelerator with backend {system.accelerator.backend}, which gem5 "
            f"does not have; allowed is a machine with PIM units, or with cores alone."
        )
    content = system.model_dump(mode="json")
    if system.pim is not None:
        content["unit"] = gem5_unit(system)
    return json.dumps(content)

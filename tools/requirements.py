"""Print pyproject.toml's requirements, so that an editable install needs no build isolation.

Usage: requirements.py GROUP... where GROUP is ``build`` (the build backend) or an optional-dependencies name.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path


def requirements(groups: list[str]) -> list[str]:
    """Base requirements plus those of `groups`; ``sailsim[a,b]`` inside a group is followed."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    extras: dict[str, list[str]] = project["project"]["optional-dependencies"]
    found = list(project["project"]["dependencies"])
    for group in groups:
        wanted = project["build-system"]["requires"] if group == "build" else extras[group]
        for requirement in wanted:
            own = re.fullmatch(r"sailsim\[(.+)\]", requirement)
            found += requirements(own[1].split(",")) if own else [requirement]
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1:])))

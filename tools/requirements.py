"""Print pyproject.toml's requirements, so that an editable install needs no build isolation.

Usage: requirements.py [--lowest] GROUP... where GROUP is ``build`` (the build backend) or an
optional-dependencies name. With ``--lowest`` every requirement is pinned to the oldest version that it
allows: what a second pass of the tests runs with, because a lower bound is a claim.
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


def lowest(requirement: str) -> str:
    """The requirement pinned to its lower bound; one without a bound is an error."""
    name, _, bounds = requirement.partition(">=")
    if not bounds:
        raise SystemExit(f"{requirement} has no lower bound, allowed is one like name>=1.2")
    return f"{name}=={bounds.split(',')[0]}"


if __name__ == "__main__":
    words = sys.argv[1:]
    found = requirements([word for word in words if word != "--lowest"])
    print("\n".join(map(lowest, found) if "--lowest" in words else found))

"""`--coherence` of `sailsim gem5 run` and `replay`: gem5's classic caches, or Ruby's with CHI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from sailsim.base.errors import SailsimError
from sailsim.sim.gem5 import Gem5

with_coherence = click.option(
    "--coherence",
    type=click.Choice(("classic", "chi")),
    help="gem5's classic caches, or Ruby's with the CHI protocol; default: classic.",
)

REFUSED = ("start_with", "restore", "checkpoint", "checkpoint_at", "simpoint_interval", "capacity_mode")
"""Options that a CHI machine cannot follow: Ruby has no atomic mode, and CHI writes no checkpoints."""


def require_coherence(simulator: Gem5, options: Mapping[str, Any], cpu: str | None = None) -> None:
    """Raise SailsimError where a CHI machine is asked for and gem5, or another option, does not allow it."""
    if options["coherence"] != "chi":
        return
    if cpu == "atomic":
        raise SailsimError("coherence is chi on atomic cores; allowed are timing, minor and o3.")
    for name in REFUSED:
        if options.get(name) not in (None, False):
            raise SailsimError(
                f"coherence is chi beside {name.replace('_', '-')}; allowed is coherence classic, since Ruby "
                "has no atomic mode, CHI writes no checkpoints, and its slices have the system file's ways."
            )
    if not simulator.chi:
        raise SailsimError(
            f"gem5 at {simulator.path} has no Ruby with CHI; build it with RUBY=y and RUBY_PROTOCOL_CHI=y, "
            "see docs/gem5.md."
        )

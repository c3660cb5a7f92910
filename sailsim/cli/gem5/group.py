"""The group of the commands on gem5."""

from __future__ import annotations

import click


@click.group()
def gem5() -> None:
    """Run programs and traces on gem5 with sailsim's module."""

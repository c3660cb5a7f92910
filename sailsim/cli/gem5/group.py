"""The group of the commands on gem5."""

from __future__ import annotations

import click

from sailsim.cli._command import Group


@click.group(cls=Group)
def gem5() -> None:
    """Run programs and traces on gem5 with sailsim's module."""

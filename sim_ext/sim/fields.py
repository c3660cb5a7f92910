"""Quantities that several parts of a machine have: each with its unit and bounds."""

from typing import Annotated

from sailsim.base.quantity import Choice, Is, OneOf, Quantity

Cycles = Annotated[Quantity, Is("cycles", least=0, whole=True)]
Latency = Annotated[Quantity, Is("ns", above=0, most=1e6)]
"""Up to a millisecond, a hundred times what the slowest DRAM has."""
Clock = Annotated[Quantity, Is("GHz", least=1e-3, most=1e3)]
"""From 1 MHz to 1 THz."""
Entries = Annotated[Quantity, Is("entries", least=1, whole=True)]
Bandwidth = Annotated[Quantity, Is("GB/s", above=0)]
BytesPerCycle = Annotated[Quantity, Is("B/cycle", above=0)]
Share = Annotated[Quantity, Is("ratio", above=0, most=1)]
Ways = Annotated[Quantity, Is("ways", least=1, whole=True)]
Line = Annotated[Quantity, Is("B", least=16, most=256, whole=True)]
Switch = Annotated[Choice, OneOf(True, False)]

"""Machines as data, the fast engine, sweeps and their results.

Reading order: `quantity` (a number with its source), `system` (what a machine is), `files` (reading it),
`point` (what one run is), `flow` (bandwidth shared by what asks for it), `engine` (one decode step), `store`
and `sweep` (many runs, on disk).
"""

from .files import card_names, json_schema, load_card, load_machine, load_system, system_names
from .quantity import UNITS, Choice, Quantity
from .system import Card, System

__all__ = [
    "UNITS",
    "Card",
    "Choice",
    "Quantity",
    "System",
    "card_names",
    "json_schema",
    "load_card",
    "load_machine",
    "load_system",
    "system_names",
]

"""Dollars, joules and square millimetres of a machine, from sourced constants.

Reading order: `constants` (values with sources as one object), `dollars`, `energy`, `area`. docs/cost.md
explains.
"""

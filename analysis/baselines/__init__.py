"""What the same server's cores and what GPU cards reach without SAIL.

Reading order: `prediction` (what a baseline answers), `cpu` and `gpu` (their formulas), `fitted` (their
constants as data), `predict` (any machine by its name), `runners` (who runs a point).
docs/baselines.md explains.
"""

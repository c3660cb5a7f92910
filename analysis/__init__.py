"""Runs, cost, figures, claims and the report, all over results and system files.

Rooms, each using only those below it: `render` (figures, the report), `paper` (claims, and all that is not
published), `results` (who runs, runs, and what compares them), `costs` (dollars, joules, square millimetres).
docs/baselines.md, docs/cost.md, docs/reuse.md and docs/reproduction.md explain.
"""

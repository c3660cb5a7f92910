"""A paper's claims against what is simulated, nominally and under all that is not published.

Reading order: `claims` (what is claimed, as data), `stored_claims` (a sweep against it); `machine` and
`unknowns` (machines drawn from what is not published), `evaluator` (what claims are on one), `study` (many of
them in a folder, and the nearest), `reproduce`, `joint`; `explore` (a search for good machines); `check`
(what this project claims). docs/reproduction.md explains.
"""

"""The paper's claims against what is simulated, nominally and under all that is not published.

Reading order: `claims` (a sweep against the claims), `uncertainty` (the unknowns), `sampling` (machines drawn
from them), `readings` (the claims as numbers), `reproduce`, `explore` (a search for good machines).
docs/reproduction.md explains.
"""

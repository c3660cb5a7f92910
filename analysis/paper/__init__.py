"""A paper's claims against what is simulated, nominally and under all that is not published.

Reading order: `claims` (what is claimed, as data), `metrics` (the numbers that claims are about),
`stored_claims` (a sweep against the claims); `parameters`, `machine`, `space`, `unknowns` (what is not
published), `evaluator` and `sampling` (machines drawn from it), `sample_outcomes` (what they did, for
`metrics`), `distributions`, `sensitivity`, `nearest`, `reproduce`; `explore` (a search for good machines).
docs/reproduction.md explains.
"""

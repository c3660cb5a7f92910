"""A paper's claims against what is simulated, nominally and under all that is not published.

Reading order: `claim` (what is claimed, as data), `stored_claims` (a sweep against it); `parameter_space`
and `sampled_machine` (the unpublished values and a draw of them), `evaluator` (a machine's metrics);
`claim_study`, `reproduce` and `joint` (many machines); `claim_check` (this project's own claims).
docs/reproduction.md explains.
"""

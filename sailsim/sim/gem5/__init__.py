"""gem5 with sailsim's module: running it, storing its results, and the experiments on it.

Reading order: `binary` (a run and its statistics), `records` and `stored` (results in a store); then `replay`
(a trace in order, a tile's timeline), `decode` (whole tokens) and `validation` (gem5 against the engine).
"""

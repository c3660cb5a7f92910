"""gem5 with sailsim's module: running it, storing what comes of it, and what is measured on it.

Reading order: `places` (what gem5 is handed), `binary` (running it), `outcome` (what came of a run),
`records` (results in a store); then `tiles` (a sweep's), `decode` (whole tokens), `timeline` (one tile, group
by group), `measure` (kernels and bandwidth), `cases`, `validation` and `streams` (does the core's time
agree?).
"""

"""gem5 with sailsim's module: running it, storing what comes of it, and what is measured on it.

Reading order: `binary` (running it, what came of a run), `records` (results in a store); then `replay` (a
trace in order, one tile group by group), `decode` (whole tokens) and `validation` (does the core's time
agree?).
"""

"""Machines as data, the fast engine, sweeps and their results.

Reading order: `quantity` (a number with its source), `substrate` (what the arrays are), `unit` (a PIM unit as
text), `cores`, `memory`, `pim` and `system` (what a machine is), `vary` (one with other values), `tables` and
`files` (reading and writing it), `point` (what one run is), `schedule` (cores, PIM units and DRAM from event
to event), `patterns`, `step_parts`, `jobs` and `engine` (one decode step), `replay` (a trace), `ranges`,
`grid` and `plan` (many points from few words), `keys`, `study` and `sweep` (many runs, on disk).
"""

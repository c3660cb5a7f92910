"""Machines as data, the fast engine, sweeps and their results.

Reading order: `substrate` (what the arrays are), `pim` (a PIM unit), `dram` and `system` (what a machine is),
`tables` and `files` (reading, varying and writing it), `point` (what one run is), `schedule` (cores, PIM
units and DRAM from event to event), `patterns`, `step_parts`, `tiles`, `jobs` and `engine` (one decode step),
`replay` (a trace), `ranges` and `plan` (many points from few words), `study` and `sweep` (many runs, on
disk).
"""

"""Many tasks, kept in a folder: one way to run, stop and go on, from a laptop to a cluster (docs/studies.md).

Reading order: `chunks` and `folder` (what is on disk), `tasks` (what is evaluated), `workers` (by whom),
`run` (all of it together), `origin` (by which code), `collect` (tidying up). `scan` (reading much of it) is
not loaded with the rest: Arrow's data sets load pandas, which takes as long as everything else here.
"""

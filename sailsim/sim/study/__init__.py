"""Many tasks, kept in a folder: one way to run, stop and go on, from a laptop to a cluster (docs/studies.md).

Reading order: `folder` (what is on disk), `workers` (who evaluates), `run` (what, and all of it together),
`origin` (by which code).
"""

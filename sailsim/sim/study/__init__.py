"""Studies: many tasks whose results are kept in a folder, on a laptop or a cluster (docs/studies.md).

Reading order: `store` (the folder), `workers` (processes that evaluate tasks), `open_study` (running the
tasks), `keys` and `origin` (inputs and code of a result), `plan` (the points of a sweep).
"""

"""Plans: which points a study has, from axes, constraints and samples (docs/studies.md).

Reading order: `axis` (a field and its values), `constraint` (which combinations count), `sample` (how some of
them are drawn), `combination` (one as a point), `plan` (all of it), `file` (a plan as TOML).
"""

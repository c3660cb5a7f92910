"""Plans: which points a study has, from axes and samples (docs/studies.md).

Reading order: `sample` (how some combinations are drawn), `plan` (axes, combinations as points, all of it),
`file` (a plan as TOML).
"""

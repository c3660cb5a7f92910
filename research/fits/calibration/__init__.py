"""Where the constants of the baselines come from: measurements, the fit, and how far off it is.

Reading order: `measurements` (rows), `solver` (least squares that says what is open), `calibrate` (the fits),
`held_out` and `held_out_check` (rows that no fit saw). docs/baselines.md explains.
"""

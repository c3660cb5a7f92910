"""Runs, and what compares them.

Reading order: `runs` (one record per point and runner), `compare` (ratios, dollars, joules; the answer of
`sailsim run`), `results` (a store's runs as figures read them).
"""

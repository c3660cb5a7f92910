"""Accelerators, a module each: what turns a matrix product into a job of a step (`sailsim.sim.backend`).

A module has `BACKEND`, and `Section`, the model of its `[accelerator]` table in a system file, where it has
one. It is found by its name: nothing else lists it.
"""

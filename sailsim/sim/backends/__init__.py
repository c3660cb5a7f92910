"""Backends, a module each: accelerators, a server's cores, GPUs (`sailsim.sim.backend`).

A module has `BACKEND` and, for an accelerator, `SPEC`, the model of its `[accelerator]` table in a system
file. It is found by its file name and listed nowhere else.
"""

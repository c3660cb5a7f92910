"""What runs a step, a module each: accelerators, a server's cores, GPUs (`sailsim.sim.backend`).

A module has `BACKEND`, and `SPEC`, the model of its `[accelerator]` table in a system file, where it has
one. It is found by its name: nothing else lists it.
"""

"""LUT-GEMV: the arithmetic, the patterns and the counts of the simulated machine.

``sailsim.lut_gemv.reference`` is the specification in NumPy, and ``sailsim.lut_gemv.fast`` gives the same
results through the C++ core; docs/start.md explains both.
"""

"""LUT-GEMV: the arithmetic, the patterns and the counts of the simulated machine.

``sailsim.lut_gemv.reference`` is the specification in NumPy; docs/start.md explains it. The functions
here give the same results through the C++ core.
"""

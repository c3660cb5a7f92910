"""sailsim: what if the last-level cache could run the quantized LLM?

A simulator of SAIL-style processing in memory: compute-capable SRAM beside every LLC slice builds
lookup tables from quantized weights, looks them up with activation bits and reuses repeated patterns.

The floors, from the ground: ``sailsim._core`` (C++, shared with gem5), ``sailsim.lut_gemv`` (arithmetic),
``sailsim.workloads`` (models and real inputs), ``sailsim.sim`` (systems, engines, sweeps, results),
``sailsim.analysis`` (baselines, cost, figures, report) and ``sailsim.cli`` (the commands).
"""

from importlib.metadata import version as _version

__version__ = _version("sailsim")

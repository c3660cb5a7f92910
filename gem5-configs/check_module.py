# SPDX-License-Identifier: BSD-3-Clause
"""Prints gem5's version and whether it has sailsim's module, as a line of JSON."""

import json

import _m5.core
import m5.objects

has_module = hasattr(m5.objects, "SailPimUnit")
which = {"version": _m5.core.gem5Version, "compiled": _m5.core.compileDate}
print(json.dumps({"sailsim_module": has_module, **which}))

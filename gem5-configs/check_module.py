# SPDX-License-Identifier: BSD-3-Clause
"""Says which gem5 this is and whether it has sailsim's module: one line of JSON."""

import json

import _m5.core
import m5.objects

print(
    json.dumps(
        {
            "sailsim_module": hasattr(m5.objects, "SailPimUnit"),
            "version": _m5.core.gem5Version,
            "compiled": _m5.core.compileDate,
        }
    )
)

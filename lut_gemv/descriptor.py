"""The descriptor, the completion record and the status codes of the ABI as NumPy types.

``sim_ext/abi/lutmm.h`` defines them, and the C++ core exports them. All fields are little endian.
"""

from typing import Any, cast

import numpy as np

from sailsim import _core
from sailsim._core import ABI_VERSION as ABI_VERSION
from sailsim._core import ABITS_MAX as ABITS_MAX
from sailsim._core import BUFFER_ALIGN as BUFFER_ALIGN
from sailsim._core import CODE_MASK as CODE_MASK
from sailsim._core import CODE_TWOS as CODE_TWOS
from sailsim._core import COMPLETION_ALIGN as COMPLETION_ALIGN
from sailsim._core import INSN_BASE as INSN_BASE
from sailsim._core import NBW_MAX as NBW_MAX
from sailsim._core import RESERVED as RESERVED
from sailsim._core import UNITS_MAX as UNITS_MAX
from sailsim._core import WBITS_MAX as WBITS_MAX
from sailsim._core import Flag as Flag
from sailsim._core import Status as Status

DESCRIPTOR = np.dtype(cast(Any, _core.DESCRIPTOR_LAYOUT))
"""``struct lutmm_descriptor``, 64 bytes."""

COMPLETION = np.dtype(cast(Any, _core.COMPLETION_LAYOUT))
"""``struct lutmm_completion``, 32 bytes."""

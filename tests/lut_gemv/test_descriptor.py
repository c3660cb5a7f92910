"""The NumPy types of the C header, which the C++ core hands on, against what the documents say."""

import re
from pathlib import Path

from sailsim.lut_gemv import descriptor as abi

HEADER = (Path(__file__).parents[2] / "sim_ext" / "abi" / "lutmm.h").read_text("utf-8")


def test_layouts_are_those_of_the_structures():
    for name, dtype in (("descriptor", abi.DESCRIPTOR), ("completion", abi.COMPLETION)):
        found = re.search(rf"struct lutmm_{name} {{\n(.*?)\n}};", HEADER, re.DOTALL)
        assert found is not None
        fields = re.findall(r"^ +uint(\d+)_t (\w+);", found[1], re.MULTILINE)
        assert dtype == abi.np.dtype([(field, f"<u{int(bits) // 8}") for bits, field in fields])
    assert (abi.DESCRIPTOR.itemsize, abi.COMPLETION.itemsize) == (64, 32)


def test_statuses_and_flags_are_all_there():
    statuses = re.findall(r"^ +LUTMM_(\w+) = (\d+)", HEADER, re.MULTILINE)
    assert {name: str(status.value) for name, status in abi.Status.__members__.items()} == dict(statuses)
    flags = {name: int(value, 16) for name, value in re.findall(r"#define LUTMM_F_(\w+) (0x\w+)u", HEADER)}
    ours = {name: flag.value for name, flag in abi.Flag.__members__.items()}
    ours |= {"CODE_TWOS": abi.CODE_TWOS, "CODE_MASK": abi.CODE_MASK, "RESERVED": abi.RESERVED}
    assert ours == flags

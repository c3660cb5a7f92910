"""The NumPy types against the C header, by compiling it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sailsim.lut_gemv import descriptor as abi

HEADER = Path(__file__).parents[2] / "sim_ext" / "abi" / "lutmm.h"


@pytest.fixture(scope="module")
def from_c(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    """Sizes, offsets and constants as the C compiler sees them."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler here: cc, gcc and clang were looked for")
    text = HEADER.read_text()
    constants = re.findall(r"^#define (LUTMM_\w+) +[0-9(]", text, re.MULTILINE)
    constants += re.findall(r"^ +(LUTMM_\w+) = \d+", text, re.MULTILINE)
    lines = [f'"{name}", (unsigned long)({name})' for name in constants]
    for struct, dtype in (("descriptor", abi.DESCRIPTOR), ("completion", abi.COMPLETION)):
        lines.append(f'"sizeof {struct}", (unsigned long)sizeof(struct lutmm_{struct})')
        for field in dtype.names or ():
            member = f"((struct lutmm_{struct} *)0)->{field}"
            lines.append(f'"{struct}.{field}", (unsigned long)offsetof(struct lutmm_{struct}, {field})')
            lines.append(f'"sizeof {struct}.{field}", (unsigned long)sizeof({member})')
    prints = "\n".join(f'printf(",\\n\\"%s\\": %lu", {line});' for line in lines)
    source = f'#include <stddef.h>\n#include <stdio.h>\n#include "{HEADER}"\nint main(void) {{\n'
    source += (
        f'printf("{{\\"insn 5 9\\": %lu", (unsigned long)LUTMM_INSN(5, 9));\n{prints}\nprintf("}}"); }}\n'
    )
    folder = tmp_path_factory.mktemp("abi")
    (folder / "abi.c").write_text(source)
    command = [compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", "abi.c", "-o", "abi"]
    subprocess.run(command, cwd=folder, check=True)
    values = json.loads(subprocess.run([folder / "abi"], check=True, capture_output=True).stdout)
    assert isinstance(values, dict)
    return values


@pytest.mark.parametrize("struct", ["descriptor", "completion"])
def test_layout(from_c: dict[str, int], struct: str) -> None:
    dtype = {"descriptor": abi.DESCRIPTOR, "completion": abi.COMPLETION}[struct]
    assert from_c[f"sizeof {struct}"] == dtype.itemsize
    assert dtype.fields is not None
    for field, (field_type, offset, *_) in dtype.fields.items():
        assert from_c[f"{struct}.{field}"] == offset
        assert from_c[f"sizeof {struct}.{field}"] == field_type.itemsize


def test_sizes_that_the_documents_name() -> None:
    assert abi.DESCRIPTOR.itemsize == 64
    assert abi.COMPLETION.itemsize == 32


def test_statuses(from_c: dict[str, int]) -> None:
    in_header = {name: value for name, value in from_c.items() if re.match(r"LUTMM_(OK|PENDING|ERR_)", name)}
    assert in_header == {f"LUTMM_{status.name}": status.value for status in abi.Status}


def test_flags(from_c: dict[str, int]) -> None:
    in_header = {name: value for name, value in from_c.items() if name.startswith("LUTMM_F_")}
    ours = {f"LUTMM_F_{flag}": member.value for flag, member in abi.Flag.__members__.items()}
    ours |= {
        "LUTMM_F_CODE_TWOS": abi.CODE_TWOS,
        "LUTMM_F_CODE_MASK": abi.CODE_MASK,
        "LUTMM_F_RESERVED": abi.RESERVED,
    }
    assert in_header == ours


def test_constants(from_c: dict[str, int]) -> None:
    names = ["ABI_VERSION", "WBITS_MAX", "ABITS_MAX", "NBW_MAX", "BUFFER_ALIGN", "COMPLETION_ALIGN"]
    for name in [*names, "UNITS_MAX", "INSN_BASE"]:
        assert from_c[f"LUTMM_{name}"] == getattr(abi, name)
    assert from_c["insn 5 9"] == abi.INSN_BASE | 5 << 10 | 9 << 5

"""A program without an operating system, in the secure state: the unit sees what its caches hold."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sailsim.lut_gemv import read_trace, write_trace
from sailsim.lut_gemv.descriptor import DESCRIPTOR
from sailsim.sim import System
from sailsim.sim.gem5 import Gem5, configs_path, machine_json
from sailsim.sim.gem5.cases import random_tile

pytestmark = pytest.mark.gem5
COMPILER = shutil.which("aarch64-linux-gnu-gcc")
IMAGE, COMMAND, SOURCE = 0x81000000, 0x82000000, 0x83000000
"""Where the program puts the operands and the descriptor, and where its file has them."""

# At EL3: every address of memory and of the doorbell (entry 448 of 512, a GiB each) maps to itself, caches
# are on. Operands are copied, so that they lie in the core's cache alone. 0xff210110 ends the simulation
# well, 0xff220110 badly.
PROGRAM = """
    .global _start
_start:
    ldr x0, =table
    msr ttbr0_el3, x0
    ldr x0, =0x00ff
    msr mair_el3, x0
    ldr x0, =0x80823519
    msr tcr_el3, x0
    isb
    ldr x0, =0x30c51835
    msr sctlr_el3, x0
    isb
    ldr x1, ={source}
    ldr x2, ={image}
    ldr x3, ={words}
1:  ldr x4, [x1], 8
    str x4, [x2], 8
    subs x3, x3, 1
    b.ne 1b
    ldr x1, =descriptor
    ldr x2, ={command}
    mov x3, 8
2:  ldr x4, [x1], 8
    str x4, [x2], 8
    subs x3, x3, 1
    b.ne 2b
    ldr x9, ={command}
    .inst 0x06540000 | (9 << 5)
    ldr x1, ={completion}
3:  ldr w0, [x1]
    cbz w0, 3b
    ldr x1, ={output}
    ldr x2, ={expected}
    ldr x3, ={results}
4:  ldr w4, [x1], 4
    ldr w5, [x2], 4
    cmp w4, w5
    b.ne 5f
    subs x3, x3, 1
    b.ne 4b
    mov x0, 0
    .inst 0xff210110
5:  mov x0, 0
    mov x1, 1
    .inst 0xff220110
    b 5b
    .ltorg
descriptor: .incbin "descriptor"
    .balign 4096
table:
    .quad 0, 0, 0x80000701
    .fill 445, 8, 0
    .quad 0x7000000705
    .fill 63, 8, 0
    .section .operands, "a"
    .incbin "image"
    .balign 8
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None:
        pytest.skip("there is no aarch64-linux-gnu-gcc")
    folder = tmp_path_factory.mktemp("bare")
    write_trace(
        folder / "t", [random_tile(np.random.default_rng(2), 64, 40, 2, 4, 8, 4, 32, True, uniform=True)]
    )
    trace = read_trace(folder / "t")
    shift = IMAGE - trace.base
    descriptor = trace.descriptors[:1].copy()
    for field in ("weights", "activations", "output", "scales", "completion"):
        descriptor[field] = int(descriptor[field][0]) + shift
    assert descriptor.dtype == DESCRIPTOR
    (folder / "descriptor").write_bytes(descriptor.tobytes())
    image = bytes(trace.image)
    (folder / "image").write_bytes(image)
    text = PROGRAM.format(
        source=SOURCE,
        image=IMAGE,
        words=len(image) // 8,
        command=COMMAND,
        completion=int(descriptor["completion"][0]),
        output=int(descriptor["output"][0]),
        expected=int(trace.expected[0]) + shift,
        results=2 * 40,
    )
    (folder / "bare.s").write_text(text)
    places = ["-Wl,-Ttext=0x80010000", f"-Wl,--section-start=.operands={SOURCE:#x}", "-Wl,--build-id=none"]
    words = [COMPILER, "-static", "-nostdlib", *places, "-o", "bare", "bare.s"]
    subprocess.run(words, cwd=folder, check=True)
    return folder / "bare"


@pytest.mark.parametrize("model", ["atomic", "timing", "minor", "o3"])
def test_a_unit_reads_what_the_secure_state_has_in_its_caches(
    gem5: Gem5, machine: System, program: Path, tmp_path: Path, model: str
) -> None:
    (tmp_path / "machine.json").write_text(machine_json(machine))
    words = [
        gem5.path,
        "-q",
        "-d",
        tmp_path,
        configs_path() / "bare_metal.py",
        tmp_path / "machine.json",
        program,
    ]
    command = [*(str(word) for word in words), "--model", model, "--max-ticks", str(10**11)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = [line for line in done.stdout.splitlines() if line.startswith("sailsim-gem5: ")]
    assert last, done.stdout[-2000:] + done.stderr[-2000:]
    assert "m5_exit instruction encountered" in last[0]
    assert done.returncode == 0

"""A program without an operating system, in the secure state: the unit sees what its caches hold."""

import re
import shutil
import subprocess

import pytest

from sailsim.sim.gem5.binary import CPU_MODELS, configs_path, machine_json

from .conftest import ROOT
from .pages import the_command

pytestmark = pytest.mark.gem5
SOURCE = ROOT / "workloads" / "kernels" / "example" / "bare_metal.c"


@pytest.mark.parametrize(
    ("cpu", "old", "new", "end", "status"),
    [
        *((cpu, "expected = 0", "expected = 0", "m5_exit .*", 0) for cpu in CPU_MODELS),
        ("o3", "descriptor.wbits = 4", "descriptor.wbits = 9", "m5_fail .* exit status 2", 3),
        ("o3", "expected = 0", "expected = 1", "m5_fail .* exit status 100", 3),
    ],
)
def test_a_unit_reads_what_the_secure_state_has_in_its_caches(
    script, machine, tmp_path, cpu, old, new, end, status
):
    """And the program, built by the command that docs/gem5.md gives for it, says what went wrong."""
    if shutil.which("aarch64-linux-gnu-gcc") is None:
        pytest.skip("there is no aarch64-linux-gnu-gcc")
    text = SOURCE.read_text("utf-8")
    assert text.count(old) == 1
    source, program, spec = (tmp_path / name for name in ("source.c", "bare_metal", "machine.json"))
    source.write_text(text.replace(old, new))
    spec.write_text(machine_json(machine))
    places = {"out/bare_metal": str(program), str(SOURCE.relative_to(ROOT)): str(source)}
    words = the_command("gem5.md", SOURCE.name).words.split()
    subprocess.run([places.get(word, word) for word in words], cwd=ROOT, check=True)
    done = script(configs_path() / "bare_metal.py", spec, program, "--model", cpu, "--max-ticks", 10**11)
    assert re.search(rf"^sailsim-gem5: {end}$", done.stdout, re.M), done.stdout[-2000:] + done.stderr[-2000:]
    assert done.returncode == status

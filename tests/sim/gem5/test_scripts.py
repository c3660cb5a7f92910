"""What gem5's Python scripts do before gem5 itself is asked for anything: its modules are stood in for."""

import ast
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from sailsim.lut_gemv.descriptor import UNITS_MAX
from sailsim.sim.gem5.binary import configs_path, machine_json
from sailsim.sim.gem5.decode import ADDRESS
from sailsim.sim.machine.system_files import load_system

SCRIPTS = ("core", "hierarchy", "machine")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], ModuleType]]:
    """A script by its name, with classes of gem5 that take anything."""
    for name in ("m5", "m5.objects"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    sys.modules["m5"].options.outdir = str(tmp_path)
    sys.modules["m5.objects"].DDR4_2400_8x8 = SimpleNamespace  # a script derives a class from it
    monkeypatch.syspath_prepend(str(configs_path()))
    yield importlib.import_module
    for name in SCRIPTS:
        sys.modules.pop(name, None)


@pytest.fixture
def spec(script: Callable[[str], Any], tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "machine.json"
    path.write_text(machine_json(load_system("sail-n1")))
    return script("hierarchy").load(path)


both_ways = pytest.mark.parametrize("bare", [False, True])
"""To a machine: with an operating system's memory, and without."""


@both_ways
@pytest.mark.parametrize("units", [-1, 65])
def test_a_number_of_units_that_cannot_be_is_refused(script, spec, units, bare):
    with pytest.raises(ValueError, match=rf"^units is {units}; allowed: 0\.\.64$"):
        script("machine").build(spec, cpu="atomic", units=units, bare=bare)


@both_ways
@pytest.mark.parametrize(("units", "count"), [(None, 32), (0, 0), (1, 1), (64, 64)])
def test_units_are_as_many_as_asked_for_or_one_a_slice(script, spec, units, count, bare):
    script("machine").build(spec, cpu="atomic", units=units, bare=bare)
    made = script("m5.objects").SailPimUnit.call_args_list
    assert [call.kwargs["unit"] for call in made] == list(range(count))


@pytest.mark.parametrize(
    ("machine", "channels", "burst", "between", "groups"),
    [("sail-n1", 8, 2.5, 5.0, 4), ("graviton3", 16, 64 / 4.8 / 4, 5.0, 4)],
)
def test_dram_is_the_system_files(script, tmp_path, machine, channels, burst, between, groups):
    """A channel of DDR5 is two sub-channels in gem5, whose accesses the file has as taking turns."""
    (tmp_path / "machine.json").write_text(machine_json(load_system(machine)))
    spec = script("hierarchy").load(tmp_path / "machine.json")
    made = script("m5.objects").MemCtrl
    made.reset_mock()
    script("machine").build(spec, units=0)
    assert len(made.call_args_list) == channels
    parts = channels // 8
    found = script("machine").dram_parameters(spec["memory"], 64, parts)
    assert float(found["tBURST"].removesuffix("ns")) == pytest.approx(burst)
    assert float(found["tCCD_L"].removesuffix("ns")) == between
    assert found["tCL"] == f"{spec['memory']['timing']['tcl']}ns"
    assert found["banks_per_rank"] * parts == spec["memory"]["banks"]
    assert (found["burst_length"] * found["devices_per_rank"], found["bank_groups_per_rank"]) == (64, groups)


def test_channels_that_cannot_take_turns_are_refused(script, spec):
    spec["memory"]["channels"] = 12
    with pytest.raises(ValueError, match="over 12 slices or channels; gem5 allows a power of two"):
        script("machine").build(spec)


# --- Numbers that gem5's scripts and its module each have to say themselves are the same ---

ROOT = Path(__file__).parents[3]


def constants(path: str) -> dict[str, int]:
    """The numbers that a file of gem5's Python gives a name, those of parameters' defaults too."""
    found = {}
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value.args[0] if isinstance(node.value, ast.Call) and node.value.args else node.value
            if isinstance(value, ast.Constant) and isinstance(value.value, int):
                found[node.targets[0].id] = value.value
    return found


def test_the_scripts_say_the_same_as_the_module_and_the_programs():
    scripts = constants("gem5-configs/hierarchy.py")
    assert scripts["DOORBELL_VIRTUAL"] == constants("sim_ext/gem5/SailCPU.py")["doorbell"]
    assert scripts["UNITS_MAX"] == UNITS_MAX
    assert constants("gem5-configs/preload.py")["ADDRESS"] == ADDRESS


@pytest.fixture
def pipes(script) -> Callable[[dict[str, Any]], list[dict[str, tuple[int, bool]]]]:
    """What each vector pipe of a core takes: latency, and whether pipelined, by operation class."""
    objects = script("m5.objects")
    objects.OpDesc, objects.FUDesc = SimpleNamespace, SimpleNamespace
    core = script("core")

    def of(cores: dict[str, Any]) -> list[dict[str, tuple[int, bool]]]:
        return [
            {each.opClass: (each.opLat, each.pipelined) for each in unit.opList}
            for unit in core._vector_pipes(cores)
        ]

    return of


def test_a_vector_pipe_takes_what_an_n1s_takes(pipes, spec):
    first, second = pipes(spec["cores"])
    assert first["SimdCvt"] == (4, True)
    assert first["SimdFloatDiv"] == (10, False)
    assert "SimdCvt" not in second
    assert "SimdShift" not in first
    assert second["SimdShift"] == (2, True)
    both = {"SimdAlu", "SimdAdd", "SimdMisc", "SimdFloatMultAcc"}
    assert both <= first.keys() & second.keys()
    assert not {"SimdMultAcc", "SimdFloatDiv"} & second.keys()


def test_four_pipes_take_together_what_two_do(pipes, spec):
    two, four = pipes(spec["cores"]), pipes(spec["cores"] | {"simd_pipes": 4})
    assert set().union(*two) == set().union(*four)
    assert ["SimdShift" in pipe for pipe in four] == [False, True, False, True]


def test_ports_that_no_pipe_has_are_refused(pipes, spec, script, monkeypatch):
    with pytest.raises(ValueError, match=r"^cores\.simd_pipes is 3; allowed with O3 cores are 2 and 4$"):
        pipes(spec["cores"] | {"simd_pipes": 3})
    monkeypatch.setitem(script("core").PIPES[2], "shift", "2")
    with pytest.raises(ValueError, match=r"^shift is on port V2; allowed are V0\.\.V1$"):
        pipes(spec["cores"])


@pytest.mark.parametrize(("instructions", "renamed", "width"), [(4, 8, 6), (6, 8, 8), (1, 8, 2)])
def test_a_front_end_takes_micro_operations_but_no_more_than_are_renamed(
    script, pipes, spec, instructions, renamed, width
):
    """With nine for eight that are renamed V2's loops took twice as long."""
    cores = spec["cores"] | {"fetch_width": instructions, "issue_width": renamed}
    core = script("core").make_core("o3", cores)
    assert (core.fetchWidth, core.decodeWidth, core.renameWidth) == (width, width, renamed)

"""`sailsim list` and `show`: what is listed is what ships, what is shown is what the file says."""

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from sailsim.analysis.costs.dollars import prices
from sailsim.sim.machine.substrate import substrate_names
from sailsim.sim.machine.system_files import gpu_names, load_system, system_names
from sailsim.sim.study.store import Store
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import format_names
from sailsim.workloads.models.model import model_names

from .commands import answer, sailsim

NAMES = {
    "system": [*system_names(), *gpu_names()],
    "substrate": list(substrate_names()),
    "model": list(model_names()),
    "format": format_names(),
    "price": [row.instance for row in prices().rows],
}


@pytest.mark.parametrize("kind", NAMES)
def test_list_names_what_ships_and_show_shows_it(kind: str) -> None:
    rows = answer("list", kind)[f"{kind}s"]
    assert [row.get("name") or row["instance"] for row in rows] == NAMES[kind]
    text = sailsim("list", kind).output
    assert all(name in text for name in NAMES[kind])
    assert answer("list")[f"{kind}s"] == rows
    assert [answer("show", kind, NAMES[kind][i])["schema"] for i in (0, -1)] == [1, 1]
    for name in NAMES[kind]:
        assert sailsim("show", kind, name).exit_code == 0, name


def test_a_system_with_other_values_is_printed_as_a_file_that_runs(tmp_path: Path) -> None:
    other = "sail-n1:pim.t_prt=0:memory.read_share=0.7:llc.slices=64"
    path = tmp_path / "mine.toml"
    path.write_text(sailsim("show", "system", other, "--as", "toml").stdout)
    machine, said = load_system(path), load_system(other)
    assert (machine.memory, machine.pim, machine.llc) == (said.memory, said.pim, said.llc)
    assert "64 slices of llc.slice_size=0.5 would keep" in path.read_text()
    path.write_text(sailsim("show", "system", "sail-n1", "--as", "toml").stdout)
    assert load_system(path).pim == load_system("sail-n1").pim


def test_models_and_formats(smollm2_path: Path) -> None:
    listed = answer("list", "model")["models"]
    assert {row["name"]: row["n_params"] for row in listed} == {
        name: load_model(name).n_params for name in model_names()
    }
    shown = answer("show", "model", "llama-2-7b")
    assert shown["d_ffn"] == 11008
    assert shown["formats"]["q8_0"] == pytest.approx(shown["n_params"] * 8.5 / 8, rel=1e-3)
    file = answer("show", "model", smollm2_path)
    assert len(file["tensors"]) == 272
    assert file["bytes"] == sum(tensor["bytes"] for tensor in file["tensors"])
    assert "210 q4_1" in sailsim("show", "model", smollm2_path).output
    rows = {row["name"]: row for row in answer("list", "format")["formats"]}
    assert rows["q4_k_m"]["bits_per_weight"] == pytest.approx(4.84, abs=0.01)
    assert rows["f16"]["wbits"] is None


SMALL = ["--model", "smollm2-135m", "--group-size", "32"]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A slower row_dfm in a file of one's own, of which energy and area are known."""
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "row_dfm"\nname = "mine"\ntitle = "slower arrays"\n'
        'costs.add = { value = [0, 2], unit = "cycles", source = "a test", kind = "paper" }\n'
    )
    return path


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A whole file that says nothing of energy and area, which stand at the end of what ships."""
    shipped = (resources.files("sailsim.sim") / "data" / "substrates" / "row_dfm.toml").read_text("utf-8")
    path = tmp_path / "bare.toml"
    path.write_text(shipped.partition("[energy]")[0].replace('name = "row_dfm"', 'name = "bare"'))
    return path


def tokens_per_s(*arguments: object) -> float:
    return float(answer("run", *SMALL, *arguments)["runs"]["sail"]["tokens_per_s"])


@pytest.mark.slow
def test_costs_behind_a_name_are_swept_and_shown(tmp_path: Path) -> None:
    assert tokens_per_s("--substrate", "row_dfm:add=2n") < tokens_per_s()
    out = tmp_path / "out"
    names = "row_dfm,row_dfm:add=1,row_dfm:add=2n"
    arguments = ["sweep", *SMALL, "--substrate", names, "--out", out]
    assert answer(*arguments)["points"] == 3
    frame = Store(out).frame()
    rates = frame[frame["runner"] == "sail"].set_index("substrate")["tokens_per_s"]
    assert rates["row_dfm"] == rates["row_dfm:add=1"] > rates["row_dfm:add=2n"]
    slow = tmp_path / "slow.toml"
    slow.write_text(sailsim("show", "system", "sail-n1:pim.substrate.add=2n", "--as", "toml").stdout)
    assert tokens_per_s("--system", slow) == rates["row_dfm:add=2n"]


def test_gemv_and_replay_take_a_file(mine: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.ones((32, 100), int))
    np.save(tmp_path / "x.npy", np.ones((2, 32), int))
    files = ["--weights", tmp_path / "w.npy", "--activations", tmp_path / "x.npy", "--wbits", 2, "--abits", 2]
    trace = tmp_path / "t.trace"
    where = ["--layers", "0:1", "--tensors", "*.attn_k", "--out", trace]
    assert sailsim("trace", "--model", "smollm2-135m", *where).exit_code == 0
    for command in (["gemv", *files], ["replay", trace]):
        plain, own = (
            answer(*command, "--system", f"sail-n1:pim.substrate={name}") for name in ("row_dfm", mine)
        )
        assert own["cycles"] != plain["cycles"]


def test_what_the_file_does_not_say_is_not_modelled(bare: Path) -> None:
    found = answer("run", *SMALL, "--substrate", bare)["runs"]
    assert found["sail"]["j_per_token"] is None
    assert any("not modelled: the energy of substrate" in note for note in found["sail"]["notes"])
    assert found["cores"]["j_per_token"] > 0

"""`sailsim substrates`, and a substrate of one's own through the commands."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from sailsim.cli import main
from sailsim.sim.study.folder import Store
from sailsim.sim.substrate import substrate_names

SMALL = ["--model", "smollm2-135m", "--group-size", "32"]


def sailsim(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


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
    """A whole file that says nothing of energy and area."""
    path = tmp_path / "bare.toml"
    operations = ("read", "write", "logic", "shift", "copy", "add", "fp_mul", "fp_add")
    costs = [
        f'{name} = {{ value = 2, unit = "cycles", source = "a test", kind = "paper" }}' for name in operations
    ]
    names = ("stage", "table_add", "lookup", "hit", "merge", "scale_block", "scale_row")
    phases = [f'{name} = ["read", "write"]' for name in names]
    path.write_text(
        'format = 1\nname = "bare"\ntitle = "bare"\nlayout = "rows"\naccumulate = "behind"\n'
        "prt_helps = true\n[sources]\n[costs]\n" + "\n".join([*costs, "[phases]", *phases, ""])
    )
    return path


def tokens_per_s(*arguments: object) -> float:
    result = sailsim("run", *SMALL, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return float(json.loads(result.stdout)["runs"]["sail"]["tokens_per_s"])


def test_list_and_show(mine: Path, bare: Path) -> None:
    listed = json.loads(sailsim("substrates", "list", "--json").stdout)["substrates"]
    assert [row["name"] for row in listed] == substrate_names()
    assert all(row["title"] in sailsim("substrates", "list").stdout for row in listed)
    for name in (*substrate_names(), mine):
        shown = sailsim("substrates", "show", name, "--sources")
        assert shown.exit_code == 0
        assert "fp_mul" in shown.stdout
        assert "table_add" in shown.stdout
        assert "not modelled" not in shown.stdout
    assert json.loads(sailsim("substrates", "show", mine, "--json").stdout)["costs"]["add"]["value"] == [0, 2]
    assert sailsim("substrates", "show", bare).stdout.count("not modelled") == 2


def test_run_takes_a_file_and_the_answer_changes(mine: Path) -> None:
    assert tokens_per_s("--substrate", mine) < tokens_per_s()
    printed = sailsim("run", *SMALL, "--substrate", mine)
    assert printed.exit_code == 0
    assert "not modelled in the energy" in printed.stdout


def test_a_system_file_takes_it(mine: Path) -> None:
    system = mine.with_name("machine.toml")
    system.write_text(
        'extends = "sail-n1"\nname = "machine"\n'
        'pim.substrate = { value = "./mine.toml", source = "a test", kind = "paper" }\n'
    )
    assert tokens_per_s("--system", system) == tokens_per_s("--substrate", mine)
    assert "substrate mine" in sailsim("systems", "unit", system).stdout


def test_a_sweep_takes_it(mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["sweep", *SMALL, "--substrate", f"row_dfm,{mine}", "--out", out, "--json"]
    assert json.loads(sailsim(*arguments).stdout)["points"] == 2
    frame = Store(out).frame()
    rates = frame[frame["runner"] == "sail"].set_index("substrate")["tokens_per_s"]
    assert rates[str(mine)] < rates["row_dfm"]
    assert json.loads(sailsim(*arguments).stdout)["held_before"] == 2
    mine.write_text(mine.read_text().replace("[0, 2]", "[0, 3]"))  # other content is another question
    assert json.loads(sailsim(*arguments).stdout)["held_before"] == 1


def test_costs_behind_a_name_are_swept_and_shown(tmp_path: Path) -> None:
    assert tokens_per_s("--substrate", "row_dfm:add=2n") < tokens_per_s()
    shown = " ".join(sailsim("run", *SMALL, "--substrate", "row_dfm:add=2n").stdout.split())
    assert "on sail-n1, substrate row_dfm:add=2n" in shown
    out = tmp_path / "out"
    arguments = [
        "sweep",
        *SMALL,
        "--substrate",
        "row_dfm,row_dfm:add=1,row_dfm:add=2n",
        "--out",
        out,
        "--json",
    ]
    assert json.loads(sailsim(*arguments).stdout)["points"] == 3
    frame = Store(out).frame()
    rates = frame[frame["runner"] == "sail"].set_index("substrate")["tokens_per_s"]
    assert rates["row_dfm"] == rates["row_dfm:add=1"] > rates["row_dfm:add=2n"]
    saved = sailsim(
        "systems", "save", "sail-n1", "--set", "pim.substrate.add=2n", "--out", tmp_path / "slow.toml"
    )
    assert saved.exit_code == 0, saved.output
    assert tokens_per_s("--system", tmp_path / "slow.toml") == rates["row_dfm:add=2n"]
    wrong = sailsim("run", *SMALL, "--substrate", "row_dfm:add=-3")
    assert wrong.exit_code == 2
    assert "substrate is 'row_dfm:add=-3', where add is -3 cycles" in wrong.output


def test_gemv_and_replay_take_it(mine: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.ones((32, 100), int))
    np.save(tmp_path / "x.npy", np.ones((2, 32), int))
    files = ["--weights", tmp_path / "w.npy", "--activations", tmp_path / "x.npy", "--wbits", 2, "--abits", 2]
    trace = tmp_path / "t.trace"
    where = ["--layers", "0:1", "--tensors", "*.attn_k", "--out", trace]
    assert sailsim("trace", "--model", "smollm2-135m", *where).exit_code == 0
    for command in (["gemv", *files], ["replay", trace]):
        plain, own = (
            json.loads(sailsim(*command, "--substrate", name, "--json").stdout)["cycles"]
            for name in ("row_dfm", mine)
        )
        assert own != plain


def test_what_the_file_does_not_say_is_not_modelled(bare: Path) -> None:
    printed = sailsim("run", *SMALL, "--substrate", bare, "--wide")
    assert printed.exit_code == 0, printed.output
    assert printed.stdout.count("not modelled") >= 11
    assert "sail: not modelled: the energy of substrate" in printed.stdout
    found = json.loads(sailsim("run", *SMALL, "--substrate", bare, "--json").stdout)
    assert found["runs"]["sail"]["j_per_token"] is None
    assert found["runs"]["cores"]["j_per_token"] > 0


def test_an_operation_without_energy_is_not_modelled_where_a_step_does_it(tmp_path: Path) -> None:
    path = tmp_path / "part.toml"
    kept = '[energy]\nread = "array_read_fj_bit"\nwrite = "array_write_fj_bit"\n'
    path.write_text(
        (Path(__file__).parents[2] / "sim_ext/sim/substrates/row_dfm.toml")
        .read_text()
        .split("# A column")[0]
        .replace('"row_dfm"', '"part"')
        + kept
    )
    converting, not_here = (
        json.loads(sailsim("run", *SMALL, "--substrate", path, "--convert", where, "--json").stdout)["runs"][
            "sail"
        ]
        for where in ("memory", "cores")
    )
    assert converting["j_per_token"] is None
    assert any(
        "not modelled: the energy of substrate" in note and "no energy.logic" in note
        for note in converting["notes"]
    )
    assert not_here["j_per_token"] > 0


def test_a_search_of_what_has_no_area_is_refused(bare: Path, tmp_path: Path) -> None:
    system = tmp_path / "machine.toml"
    system.write_text(
        'extends = "sail-n1"\nname = "machine"\n'
        'pim.substrate = { value = "./bare.toml", source = "a test", kind = "paper" }\n'
    )
    refused = sailsim("claims", "explore", "--system", system, "--samples", 1, "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert "substrate bare has no [area] table" in refused.output


def test_unit_is_what_gem5_reads(tmp_path: Path) -> None:
    printed = sailsim("systems", "unit", "sail-n1", "--substrate", "bit_serial").stdout
    assert printed.startswith("sailsim-unit 2\n")
    for line in ("slices 1", "convert memory", "substrate bit_serial"):
        assert line in printed.splitlines()
    out = tmp_path / "unit.txt"
    assert sailsim("systems", "unit", "sail-n1", "--substrate", "bit_serial", "--out", out).exit_code == 0
    assert out.read_text() == printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--substrate", "none.toml"], ("none.toml", "cannot be read")),
        (["sweep", "--substrate", "none.toml", "--out", "out"], ("none.toml", "cannot be read")),
        (["substrates", "show", "magic"], ("magic", "row_dfm")),
        (["systems", "unit", "graviton2"], ("graviton2", "[pim]")),
        (["systems", "unit", "sail-n1", "--substrate", "magic"], ("magic", "row_dfm")),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = sailsim(*arguments)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert all(word in result.stderr for word in words)

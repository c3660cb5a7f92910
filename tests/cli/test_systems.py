"""`sailsim systems`: what it lists is what ships, what it shows is what the file says."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sailsim.analysis.costs.area import area
from sailsim.cli import main
from sailsim.sim.files import card_names, load_system, system_names

ROOT = Path(__file__).parents[2]


def sailsim(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["systems", *arguments])


def test_list_names_every_machine() -> None:
    rows = json.loads(sailsim("list", "--json").stdout)["systems"]
    assert [row["name"] for row in rows] == [*system_names(), *card_names()]
    assert {row["name"] for row in rows if row["pim"]} == {name for name in system_names() if "sail" in name}
    text = sailsim("list").output
    assert all(row["title"] in text for row in rows)


@pytest.mark.parametrize("name", [*system_names(), *card_names()])
def test_show_prints_every_value_and_its_source(name: str) -> None:
    result = sailsim("show", name, "--sources")
    assert result.exit_code == 0
    shown = json.loads(sailsim("show", name, "--json").stdout)
    for section, fields in shown.items():
        if isinstance(fields, dict) and section != "sources":
            names = [f"{section}.{field}" for field in fields] if "value" not in fields else [section]
            assert all(path in result.output for path in names)


def test_show_says_what_the_units_take() -> None:
    found = area(load_system("sail-n1"))
    whole, arrays = (
        found.share(counted, "LLC and cores") for counted in ("all of the unit", "C-SRAM arrays")
    )
    said = sailsim("show", "sail-n1").stdout.splitlines()[-1]
    assert said == (
        f"32 units of {found.added_mm2 / 32:.3g} mm2, for weights of 4 bits, are "
        f"{found.added_mm2:.3g} mm2: {100 * whole:.3g} % of LLC and cores, their arrays alone "
        f"{100 * arrays:.3g} % (docs/cost.md)."
    )
    assert "units of" not in sailsim("show", "graviton2").stdout


def test_show_says_where_areas_are_not_modelled(tmp_path: Path) -> None:
    text = (ROOT / "sim_ext" / "sim" / "substrates" / "row_dfm.toml").read_text("utf-8")
    whole = text.index("[area]")
    (tmp_path / "bare.toml").write_text(text[:whole].replace('"row_dfm"', '"bare"'))
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "sail-n1"\nname = "mine"\n'
        'pim.substrate = { value = "./bare.toml", source = "a test", kind = "derived" }\n'
    )
    said = sailsim("show", str(path))
    assert said.exit_code == 0, said.output
    assert said.stdout.splitlines()[-1].startswith("The units' area is not modelled: ")


def test_json_is_the_system() -> None:
    shown = json.loads(sailsim("show", "sail-n1", "--json").stdout)
    assert shown["pim"]["arrays"]["value"] == load_system("sail-n1").pim.arrays.value  # type: ignore[union-attr]
    assert shown["sources"]["sail"].startswith("SAIL")


def test_schema_is_json() -> None:
    assert "GB/s" in json.dumps(json.loads(sailsim("schema").stdout))


def test_bad_files_exit_with_2_and_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('extends = "sail-n1"\npim.rows = 3\n')
    for name in ("no-such-machine", str(path), str(tmp_path / "none.toml")):
        result = sailsim("show", name)
        assert result.exit_code == 2
        assert result.output.count("\n") == 1, result.output
        assert name in result.output


def test_save_writes_a_machine_that_runs(tmp_path: Path) -> None:
    out = tmp_path / "mine.toml"
    result = sailsim(
        "save",
        "sail-n1",
        "--set",
        "pim.t_prt=0",
        "--set",
        "memory.read_share=0.7",
        "--out",
        str(out),
        "--json",
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["changes"] == {"pim.t_prt": 0, "memory.read_share": 0.7}
    machine = load_system(out)
    assert (machine.name, machine.memory.read_share.value) == ("mine", 0.7)
    assert machine.title == f"{load_system('sail-n1').title} with pim.t_prt 0, memory.read_share 0.7"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["llc.slices=64"], "The LLC has 64 MiB instead of 32; 64 slices of llc.slice_size=0.5 would keep"),
        (["llc.slices=64", "llc.slice_size=0.5"], ""),
    ],
)
def test_save_says_when_other_slices_make_another_cache(
    tmp_path: Path, settings: list[str], said: str
) -> None:
    changes = [word for setting in settings for word in ("--set", setting)]
    result = sailsim("save", "sail-n1", *changes, "--out", str(tmp_path / "mine.toml"))
    assert result.exit_code == 0, result.output
    told = " ".join(result.output.split())
    assert ("The LLC has" in told) == bool(said)
    assert said in told


def test_save_refuses_what_is_no_field(tmp_path: Path) -> None:
    result = sailsim("save", "sail-n1", "--set", "pim.speed=2", "--out", str(tmp_path / "mine.toml"))
    assert result.exit_code == 2
    assert "pim.speed" in result.stderr
    assert not (tmp_path / "mine.toml").exists()

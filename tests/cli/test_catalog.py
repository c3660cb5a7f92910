"""`sailsim list` and `show`: what is listed is what ships, what is shown is what the file says."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sailsim.analysis.costs.area import area
from sailsim.analysis.costs.dollars import prices
from sailsim.cli import main
from sailsim.sim.files import card_names, load_system, system_names
from sailsim.sim.substrate import substrate_names
from sailsim.workloads.formats import format_names
from sailsim.workloads.load import load_model
from sailsim.workloads.model import model_names

ROOT = Path(__file__).parents[2]
NAMES = {
    "system": [*system_names(), *card_names()],
    "substrate": list(substrate_names()),
    "model": list(model_names()),
    "format": format_names(),
    "price": [row.instance for row in prices().rows],
}


def sailsim(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.mark.parametrize("kind", NAMES)
def test_list_names_what_ships_and_show_shows_it(kind: str) -> None:
    rows = json.loads(sailsim("list", kind, "--json").stdout)[f"{kind}s"]
    assert [row.get("name") or row["instance"] for row in rows] == NAMES[kind]
    text = sailsim("list", kind).output
    assert all(name in text for name in NAMES[kind])
    assert json.loads(sailsim("list", "--json").stdout)[f"{kind}s"] == rows
    assert json.loads(sailsim("show", kind, NAMES[kind][0], "--json").stdout)["schema"] == 1
    for name in NAMES[kind]:
        assert sailsim("show", kind, name).exit_code == 0, name


@pytest.mark.parametrize("name", NAMES["system"])
def test_a_system_is_shown_with_every_value_and_its_source(name: str) -> None:
    output = sailsim("show", "system", name, "--sources").output
    for section, fields in json.loads(sailsim("show", "system", name, "--json").stdout).items():
        if isinstance(fields, dict) and section != "sources":
            names = [f"{section}.{field}" for field in fields] if "value" not in fields else [section]
            assert all(path in output for path in names)


def test_a_system_says_what_its_units_take(tmp_path: Path) -> None:
    units = area(load_system("sail-n1"))
    whole = 100 * units.share("all of the unit", "LLC and cores")
    last = sailsim("show", "system", "sail-n1").stdout.splitlines()[-1]
    assert last.startswith(f"32 units of {sum(units.parts.values()):.3g} mm2, for weights of 4 bits, are ")
    assert f"{whole:.3g} % of LLC and cores" in last
    assert "units of" not in sailsim("show", "system", "graviton2").stdout
    text = (ROOT / "sim_ext" / "sim" / "substrates" / "row_dfm.toml").read_text("utf-8")
    (tmp_path / "bare.toml").write_text(text[: text.index("[area]")].replace('"row_dfm"', '"bare"'))
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "sail-n1"\nname = "mine"\n'
        'pim.substrate = { value = "./bare.toml", source = "a test", kind = "derived" }\n'
    )
    shown = sailsim("show", "system", path)
    assert shown.stdout.splitlines()[-1].startswith("The units' area is not modelled: ")


def test_a_system_with_other_values_is_printed_as_a_file_that_runs(tmp_path: Path) -> None:
    other = "sail-n1:pim.t_prt=0:memory.read_share=0.7:llc.slices=64"
    path = tmp_path / "mine.toml"
    path.write_text(sailsim("show", "system", other, "--toml").stdout)
    machine, said = load_system(path), load_system(other)
    assert (machine.memory, machine.pim, machine.llc) == (said.memory, said.pim, said.llc)
    assert "64 slices of llc.slice_size=0.5 would keep" in path.read_text()
    path.write_text(sailsim("show", "system", "sail-n1", "--toml").stdout)
    assert load_system(path).pim == load_system("sail-n1").pim


def test_documents_of_a_system() -> None:
    assert "GB/s" in json.dumps(json.loads(sailsim("show", "system", "sail-n1", "--schema").stdout))
    unit = sailsim("show", "system", "sail-n1:pim.substrate=bit_serial", "--unit").stdout
    assert unit.startswith("sailsim-unit 2\n")
    assert {"slices 1", "convert memory", "substrate bit_serial"} <= set(unit.splitlines())


def test_models_and_formats(smollm2_path: Path) -> None:
    listed = json.loads(sailsim("list", "model", "--json").stdout)["models"]
    assert {row["name"]: row["n_params"] for row in listed} == {
        name: load_model(name).n_params for name in model_names()
    }
    shown = json.loads(sailsim("show", "model", "llama-2-7b", "--json").stdout)
    assert shown["d_ffn"] == 11008
    assert shown["formats"]["q8_0"] == pytest.approx(shown["n_params"] * 8.5 / 8, rel=1e-3)
    file = json.loads(sailsim("show", "model", smollm2_path, "--json").stdout)
    assert len(file["tensors"]) == 272
    assert file["bytes"] == sum(tensor["bytes"] for tensor in file["tensors"])
    assert "210 q4_1" in sailsim("show", "model", smollm2_path).output
    rows = {row["name"]: row for row in json.loads(sailsim("list", "format", "--json").stdout)["formats"]}
    assert rows["q4_k_m"]["bits_per_weight"] == pytest.approx(4.84, abs=0.01)
    assert rows["f16"]["wbits"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("list nosuch", "'nosuch' is not one of 'system', 'substrate', 'model', 'format', 'price'"),
        ("show system no-such-machine", "no-such-machine"),
        ("show system none.toml", "none.toml cannot be read"),
        ("show system mine.toml", "mine.toml"),
        ("show system sail-n1:pim.speed=2 --toml", "pim.speed is not a value of system sail-n1"),
        ("show system graviton2 --unit", "graviton2 has no enabled [pim] section"),
        ("show system sail-n1:pim.substrate=magic --unit", "magic"),
        ("show system sail-n1 --unit --toml", "allowed is one of toml, unit, schema, json"),
        ("show model llama-2-7b --unit", "--unit is given with a model; allowed is it with a system"),
        ("show model llama-2-7b --sources", "--sources is given with a model"),
        ("show substrate magic", "allowed are bit_parallel, bit_serial, row_dfm"),
        ("show model nope", "model is 'nope'; allowed is a path"),
        ("show format q9", "q9"),
        ("show price aws/none", "instance is 'aws/none'"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('extends = "sail-n1"\npim.rows = 3\n')
    result = sailsim(*arguments.split())
    assert result.exit_code == 2
    assert result.output.count("\n") == 1, result.output
    assert words in result.stderr

"""What can be said about the module without a gem5 binary."""

import ast
import re
import sys
from pathlib import Path
from statistics import median

import pytest
from click.testing import CliRunner

from sailsim.base.atomic import read_records
from sailsim.cli import main
from sailsim.sim.gem5.binary import VARIABLE, configs_path, extras_path
from sailsim.sim.gem5.cases import TILES, tiles
from sailsim.sim.gem5.outcome import read_stats
from sailsim.sim.gem5.validation import SUBSTRATES

ROOT = Path(__file__).parents[2]


def run(*arguments, **environment):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=environment)


def listed(script: Path) -> set[str]:
    """Names of the sources in an SConscript."""
    sources = re.search(r"for source in \(([^)]*)\)", script.read_text())
    assert sources
    return set(re.findall(r"'(\w+)'", sources.group(1)))


def test_extras_path_is_printed():
    result = run("gem5", "extras-path")
    assert result.exit_code == 0
    assert (Path(result.output.strip()) / "gem5" / "SConscript").is_file()


def test_every_source_of_the_module_is_listed_and_no_other():
    for folder in ("gem5", "pim"):
        found = {path.stem for path in (extras_path() / folder).glob("*.cc")}
        assert listed(extras_path() / folder / "SConscript") == found


def test_the_scripts_need_nothing_but_gem5_and_python():
    ours = {path.stem for path in configs_path().glob("*.py")}
    for path in configs_path().glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                top = name.split(".")[0]
                known = sys.stdlib_module_names | ours | {"m5", "_m5", "gem5"}
                assert top in known, f"{path.name} imports {name}"


@pytest.mark.parametrize(
    ("gem5", "sentence"),
    [
        ("", f"no gem5 is named: set {VARIABLE}"),
        ("/no/such/gem5", "no program that can be run"),
        ("/bin/true", "does not answer as gem5 does"),
    ],
)
def test_a_missing_or_wrong_gem5_is_one_sentence(gem5, sentence, tmp_path):
    trace = tmp_path / "t.trace"
    trace.write_bytes(b"")
    result = run("gem5", "replay", trace, "--out", tmp_path / "out", **{VARIABLE: gem5})
    assert result.exit_code == 2
    assert sentence in result.output
    assert "EXTRAS" in result.output
    assert result.output.count("\n") == 1


def test_statistics_are_read_from_the_last_dump(tmp_path):
    path = tmp_path / "stats.txt"
    path.write_text(
        "---------- Begin Simulation Statistics ----------\n"
        "system.units0.tiles   1   # Tiles (Count)\n"
        "---------- End Simulation Statistics   ----------\n"
        "\n---------- Begin Simulation Statistics ----------\n"
        "system.units0.tiles   3   # Tiles (Count)\n"
        "system.units0.prtHitRate   nan   # (Ratio)\n"
        "system.text   word   # text\n"
        "---------- End Simulation Statistics   ----------\n"
    )
    stats = read_stats(path)
    assert stats["system.units0.tiles"] == 3
    assert "system.text" not in stats
    assert read_stats(tmp_path / "absent") == {}


def test_the_agreement_tiles_cover_what_they_should():
    assert len(TILES) >= 24
    assert len(SUBSTRATES) == 3
    _, ns, batches, wbits, _, nbws, _, _ = zip(*TILES, strict=True)
    assert set(wbits) == set(range(2, 9))
    assert set(nbws) == {2, 3, 4, 5}
    assert {1, 32} <= set(batches)
    assert any(n % 8 for n in ns)
    assert [tile.k for tile in tiles()] == [fields[0] for fields in TILES]


def test_every_statistic_of_the_unit_has_a_unit_and_a_sentence():
    text = (extras_path() / "gem5" / "unit_stats.cc").read_text()
    declared = set()
    header = (extras_path() / "gem5" / "unit_stats.hh").read_text()
    kinds = "Scalar|Vector|Average|Distribution|Formula"
    for names in re.findall(rf"statistics::(?:{kinds}) ([\w, \n]+);", header):
        declared |= set(re.findall(r"\w+", names))
    described = dict(re.findall(r"ADD_STAT\((\w+),\s*[\w:]+::get\(\),\s*\"([^\"]+)\"", text))
    assert set(described) == declared
    assert all(sentence[0].isupper() and " " in sentence for sentence in described.values())


def test_the_committed_validation_holds_what_it_must():
    data = read_records(ROOT / "analysis" / "data" / "gem5" / "validation.jsonl")
    assert len({(row["tile"], row["substrate"]) for row in data["tiles"]}) >= 24
    assert all(row["correct"] and row["phases_equal"] for row in data["tiles"])
    alone = [row for row in data["tiles"] if row["streams"] == 0]
    assert median(abs(row["error"]) for row in alone) < 0.05
    assert max(abs(row["error"]) for row in alone if not row["refreshes"]) < 0.2

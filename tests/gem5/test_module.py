"""What can be said about the module without a gem5 binary."""

import ast
import re
import sys
from pathlib import Path

from click.testing import CliRunner

from sailsim.cli import main
from sailsim.sim.gem5.binary import VARIABLE, configs_path, extras_path


def listed(script: Path) -> set[str]:
    """Names of the sources in an SConscript."""
    sources = re.search(r"for source in \(([^)]*)\)", script.read_text())
    assert sources
    return set(re.findall(r"'(\w+)'", sources.group(1)))


def test_without_gem5_the_folder_for_its_build_is_told(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    result = CliRunner().invoke(main, ["gem5", "machine", "--check"])
    folder = re.search(r"EXTRAS=([^,]+),", result.output)
    assert result.exit_code == 2
    assert (Path(folder[1]) / "gem5" / "SConscript").is_file()


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

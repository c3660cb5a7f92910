"""What a release says of itself is said once, and its notes are made of fragments."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import sailsim

from .by_path import tool

ROOT = Path(__file__).parents[1]
LATEST = re.compile(r"^## (\d+\.\d+\.\d+) \((\d{4}-\d\d-\d\d)\)$", re.MULTILINE)


@pytest.fixture
def changelog() -> ModuleType:
    return tool("changelog")


def test_the_version_is_that_of_the_changelog_and_of_the_citation() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    latest = LATEST.search((ROOT / "CHANGELOG.md").read_text("utf-8"))
    assert latest is not None
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert latest.groups() == (cited["version"], str(cited["date-released"]))
    assert declared == cited["version"]
    assert sailsim.__version__ == version("sailsim") == declared


def test_the_fragments_that_wait_can_be_released(changelog: ModuleType) -> None:
    changelog.fragments(ROOT)


def test_fragments_become_the_first_section_and_go(changelog: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "changelog.d").mkdir()
    (tmp_path / "changelog.d" / "README.md").write_text("Not one.\n")
    (tmp_path / "changelog.d" / "b.md").write_text("- Second\n  of two lines.\n")
    (tmp_path / "changelog.d" / "a.md").write_text("- First.")
    page = tmp_path / "CHANGELOG.md"
    page.write_text("# Changelog\n\nWords.\n\n## 0.2.0 (2026-11-26)\n- Old.\n")
    changelog.main(tmp_path, "0.3.0", "2027-01-31")
    assert page.read_text() == (
        "# Changelog\n\nWords.\n\n## 0.3.0 (2027-01-31)\n- First.\n- Second\n  of two lines.\n"
        "\n## 0.2.0 (2026-11-26)\n- Old.\n"
    )
    assert [path.name for path in (tmp_path / "changelog.d").iterdir()] == ["README.md"]
    with pytest.raises(SystemExit, match="no fragment"):
        changelog.main(tmp_path, "0.3.1", "2027-01-31")
    with pytest.raises(SystemExit, match="version and date are next"):
        changelog.main(tmp_path, "next", "2027-01-31")
    (tmp_path / "changelog.d" / "c.md").write_text("No list.\n")
    with pytest.raises(SystemExit, match="begins with something else"):
        changelog.main(tmp_path, "0.3.1", "2027-01-31")

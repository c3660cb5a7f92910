"""Everything that a program writes into the checkout is what it writes now."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sailsim.analysis.render import docs as generated
from sailsim.analysis.render.marks import parts
from sailsim.base.errors import SailsimError
from sailsim.cli import main
from sailsim.cli.docs import ENTRIES

ROOT = Path(__file__).parents[2]
BY_NAME = {entry.name: entry for entry in ENTRIES}


def small(root: Path, text: str = "old") -> tuple[generated.Generated, ...]:
    """Two entries in a checkout of nothing else: a page with a part, and a whole file."""
    (root / "sim_ext" / "abi").mkdir(parents=True)
    (root / "sim_ext" / "abi" / "lutmm.h").touch()
    (root / "page.md").write_text(f"a\n<!-- generated: page/one -->\n{text}\n<!-- end: page/one -->\nb\n")
    return (
        generated.Generated("page", "page.md", f"{__name__}:one_part", "nothing"),
        generated.Generated("file", "file.txt", f"{__name__}:whole", "nothing", kind="file", words=True),
        generated.Generated("folder", "units", f"{__name__}:files", "nothing", kind="folder"),
        generated.Generated("slow", "page.md", f"{__name__}:never", "nothing", minutes=True, stamp="x:stamp"),
    )


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the small entries' functions give."""
    given: dict[str, object] = {
        "one_part": {"one": "new"},
        "whole": "some words",
        "files": {"a": "text"},
        "stamp": "of today",
    }

    def called(target: str) -> object:
        return given[target.partition(":")[2]]

    monkeypatch.setattr(generated, "_called", called)
    return given


@pytest.mark.parametrize("name", [entry.name for entry in ENTRIES])
def test_a_piece_is_what_it_would_be_now(name: str) -> None:
    assert generated.stale(BY_NAME[name], ROOT, quick=True) == [], f"run sailsim docs --write {name}"


def test_every_mark_and_name_of_a_page_belongs_to_an_entry() -> None:
    assert len(BY_NAME) == len(ENTRIES)
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for mark in parts(path.read_text("utf-8")):
            assert BY_NAME[mark.partition("/")[0]].path == path.relative_to(ROOT).as_posix(), mark


def test_what_is_old_is_named_written_and_then_new(tmp_path: Path, made: dict[str, object]) -> None:
    entries = small(tmp_path)
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / "b").touch()
    assert [generated.stale(entry, tmp_path) for entry in entries[:3]] == [
        ["page.md"],
        ["file.txt"],
        ["units/b", "units/a"],
    ]
    for entry in entries[:3]:
        generated.write(entry, tmp_path)
        assert generated.stale(entry, tmp_path) == []
    assert (tmp_path / "page.md").read_text() == (
        "a\n<!-- generated: page/one -->\nnew\n<!-- end: page/one -->\nb\n"
    )
    assert [path.name for path in (tmp_path / "units").iterdir()] == ["a"]
    (tmp_path / "file.txt").write_text("some\nwords\n")
    assert generated.stale(entries[1], tmp_path) == []
    made["whole"] = "other words"
    assert generated.stale(entries[1], tmp_path) == ["file.txt"]


@pytest.mark.usefixtures("made")
def test_what_takes_minutes_is_judged_by_its_stamp(tmp_path: Path) -> None:
    slow = small(tmp_path)[3]
    assert generated.stale(slow, tmp_path, quick=True) == ["page.md"]
    (tmp_path / "page.md").write_text("made of today")
    assert generated.stale(slow, tmp_path, quick=True) == []
    with pytest.raises(KeyError):  # its function, which is not there
        generated.stale(slow, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("page/one", "page/two", "nobody writes the part 'page/two'"),
        ("page/one", "other/one", "no part 'page/one'"),
        ("end: page/one", "end: page/x", "does not end"),
    ],
)
@pytest.mark.usefixtures("made")
def test_a_page_of_other_marks_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    page = small(tmp_path)[0]
    (tmp_path / "page.md").write_text((tmp_path / "page.md").read_text().replace(old, new))
    with pytest.raises(SailsimError, match=said):
        generated.made(page, tmp_path)


def test_names_choose_and_minutes_are_asked_for(tmp_path: Path) -> None:
    entries = small(tmp_path)
    assert [entry.name for entry in generated.chosen(entries, [])] == ["page", "file", "folder"]
    assert generated.chosen(entries, [], everything=True) == list(entries)
    assert [entry.name for entry in generated.chosen(entries, ["slow", "page"])] == ["page", "slow"]
    with pytest.raises(SailsimError, match="'no' is no generated piece; allowed are page, file"):
        generated.chosen(entries, ["no"])


@pytest.mark.usefixtures("made")
def test_the_command_lists_checks_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sailsim.cli.docs.ENTRIES", small(tmp_path)[:2])

    def docs(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["docs", "--root", str(tmp_path), *words])
        return done.exit_code, done.output

    assert "from nothing" in docs()[1]
    assert [row["name"] for row in json.loads(docs("--json")[1])["pieces"]] == ["page", "file"]
    code, said = docs("--check")
    assert (code, said.splitlines()) == (
        1,
        ["page.md is old: sailsim docs --write page", "file.txt is old: sailsim docs --write file"],
    )
    assert docs("--write", "file") == (0, "file.txt\n")
    assert docs("--check", "file") == (0, "")
    assert json.loads(docs("--write", "--json")[1])["pieces"] == {"page": ["page.md"], "file": []}
    assert docs("--check") == (0, "")
    assert docs("page")[0] == docs("--all")[0] == 2


def test_only_a_checkout_has_generated_pieces(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["docs", "--check", "--root", str(tmp_path)])
    assert done.exit_code == 2
    assert "is no checkout of sailsim" in done.stderr

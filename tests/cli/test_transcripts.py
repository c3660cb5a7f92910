"""Pages with transcripts have what their commands print."""

import re
from pathlib import Path

import pytest

from sailsim.sim.study.store import Store

from ..transcripts import BLOCK, PAGES, ROOT, assert_as_printed


def test_every_result_in_readme_is_in_a_transcript_or_on_the_page_that_it_links_to() -> None:
    """So README agrees with `run` and with the pages, whose tables are made of the results."""
    told = BLOCK.sub("", (ROOT / "README.md").read_text("utf-8")).replace("90 % intervals", "")
    lines = re.findall(r"^- \*\*.*?(?=\n- |\n\n)", told, re.MULTILINE | re.DOTALL)
    number = r"(?<![\w.-])\d+(?:\.\d+)?(?![\w.])"
    for line in lines:
        page = (ROOT / re.findall(r"\]\((docs/\w+\.md)", line)[0]).read_text("utf-8").replace(",", "")
        there = [float(each) for each in re.findall(r"\d+(?:\.\d+)?", page)]
        for each in re.findall(number, line):
            assert each in {f"{one:.{len(each.partition('.')[2])}f}" for one in there}, (each, line)
        told = told.replace(line, "")
    assert re.findall(r"\d *(?:x\b|%|tokens/|USD|J\b|nats|mm)", told) == []


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(set(PAGES) - {"docs/systems.md"}))
def test_a_page_has_what_its_commands_print(page: str, tmp_path: Path) -> None:
    assert_as_printed(page, tmp_path)


@pytest.mark.slow
def test_what_is_added_by_file_is_in_every_command(tmp_path: Path) -> None:
    """A substrate, a GPU and an accelerator of docs/systems.md are in every table."""
    assert_as_printed("docs/systems.md", tmp_path)
    frame = Store(tmp_path / "out").frame()
    added = {"twice-l4": "L4, twice as wide", "slow-banks": "AiM, half the clock \N{DAGGER}"}
    shown = frame[frame["runner"].isin(added)]
    assert dict(zip(shown["runner"], shown["title"], strict=True)) == added
    assert (shown["tokens_per_s"] > 0).all()
    # One that is slower than what it was made from, and one that is faster.
    rates = frame.groupby("runner")["tokens_per_s"].mean()
    assert rates["twice-l4"] > rates["l4"]
    sail = frame[(frame["runner"] == "sail") & (frame["batch"] == 8)].set_index("substrate")["tokens_per_s"]
    assert sail["slow-adder.toml"] < sail["row_dfm"]

    report = (tmp_path / "out" / "report.html").read_text("utf-8")
    drawn = "".join(path.read_text("utf-8") for path in (tmp_path / "out" / "figures").glob("*.svg"))
    for title in added.values():
        assert title in report
        assert title in drawn
    assert "slow-adder" in report

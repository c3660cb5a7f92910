"""Files and folders of models, as docs/models.md shows them."""

from pathlib import Path

import pytest

from ..transcripts import PAGES, ROOT, renewed

PAGE = "docs/models.md"


@pytest.mark.slow
def test_the_page_has_what_the_commands_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    PAGES[PAGE](tmp_path)
    text = (ROOT / PAGE).read_text("utf-8")
    assert renewed(text) == text, f"python -m tests.transcripts {PAGE} writes it anew"

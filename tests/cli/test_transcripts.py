"""Pages with transcripts have what their commands print."""

from pathlib import Path

import pytest

from ..transcripts import PAGES, assert_as_printed


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(set(PAGES) - {"docs/systems.md"}))  # that: test_by_file.py
def test_a_page_has_what_its_commands_print(page: str, tmp_path: Path) -> None:
    assert_as_printed(page, tmp_path)

"""Pages with transcripts have what their commands print."""

from pathlib import Path

import pytest

from ..transcripts import PAGES, assert_as_printed

ELSEWHERE = {"docs/systems.md"}
"""Pages of which a test looks at what the commands made, too."""


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(PAGES.keys() - ELSEWHERE))
def test_a_page_has_what_its_commands_print(page: str, tmp_path: Path) -> None:
    assert_as_printed(page, tmp_path)

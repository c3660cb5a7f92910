"""docs/columns.md: the dictionary of all columns."""

from __future__ import annotations

from sailsim.analysis.render.markdown import table
from sailsim.analysis.results.columns import Column, groups

HEAD = """# Columns

What every record says, in the order in which tables, frames and files have it. Written by
`sailsim docs --write columns` from `analysis/data/columns.toml`; tests hold it beside what commands store.
`sailsim results`, `sailsim plot`, `--json` and `sailsim.Results` use these names ([studies.md](studies.md),
[library.md](library.md)). Columns of a study of your own that are not here stand behind those that are.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for group in groups():
        rows = [(_name(column), column.words, column.unit or "-", column.meaning) for column in group.columns]
        parts.append(
            f"## {group.title}\n{group.about}\n\n{table(('column', 'in words', 'unit', 'meaning'), rows)}\n"
        )
    return "\n".join(parts)


def _name(column: Column) -> str:
    if not column.name.startswith("/"):
        return f"`{column.name}`"
    return f"names like `{column.name.strip('/')}`"

"""The table of docs/artifact.md: claims, commands, minutes and what to expect."""

from __future__ import annotations

from sailsim.analysis.render.markdown import table
from sailsim.analysis.results.artifact import expected, steps


def artifact_parts() -> dict[str, str]:
    """The steps, and the values of each."""
    known = expected()
    rows, commands = [], []
    for step in steps():
        of = known[step.name]
        for value in step.values:
            allowed = f"{value.tolerance:.1%}" if value.tolerance else "exact"
            rows.append((step.name, value.what, f"{of['values'][value.what]:.6g}", allowed))
        commands.append((step.name, step.title, f"{step.minutes:g}", f"`{of['hash']}`"))
    return {
        "steps": table(("step", "what is claimed", "minutes", "hash"), commands, "llrl"),
        "values": table(("step", "value", "expected", "tolerance"), rows, "llrr"),
        "commands": "\n".join(
            ["```text", *(f"sailsim {command}" for step in steps() for command in step.commands), "```"]
        ),
    }

"""The system file of a machine that a search has found, what it changes, and the command that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sailsim.analysis.paper.factors import GROUP_SIZE
from sailsim.analysis.paper.parameters import Value, Workload
from sailsim.analysis.paper.space import ParameterSpace
from sailsim.sim import changed_values, leaves_and_words, load_system, save_system, value_of


def run_command(file: str, workload: Workload, group_size: int) -> str:
    """The command that runs a saved machine on a workload, where docs/ has its file."""
    return (
        f"sailsim run --system docs/systems/{file} --model {workload.model} "
        f"--wbits {workload.wbits} --batch {workload.batch} --threads {workload.threads} "
        f"--context {workload.context} --group-size {group_size} --json"
    )


def save_found(
    space: ParameterSpace, changes: Mapping[str, Value], path: Path, title: str, source: str, comment: str
) -> dict[str, dict[str, Value]]:
    """Write the nominal machine with some changes as a file of its name; returns what it changes by field,
    `value` and what it `was`, with the weights of a scale, which no system file says.

    Raises SailsimError for a machine that cannot be, and OSError.
    """
    machine, base = space.nominal.with_values(changes), space.hosts[space.software]
    system = machine.system(space.software, source=source, name=path.stem)
    system = system.model_copy(update={"title": title})
    save_system(system, path, base, comment)
    nominal = load_system(base)
    was = {field: value_of(said) for field, said in leaves_and_words(nominal).items()}
    now = {field: value_of(said) for field, said in changed_values(system, nominal).items()}
    changed = {
        field: {"value": value, "was": was[field]} for field, value in now.items() if value != was[field]
    }
    if GROUP_SIZE in changes:
        changed[GROUP_SIZE] = {"value": machine.group_size, "was": space.nominal.group_size}
    return changed

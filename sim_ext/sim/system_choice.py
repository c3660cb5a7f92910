"""Which machine a point runs on, in words: a name or a file, and other values of its fields behind it."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from sailsim.base.errors import SailsimError
from sailsim.sim.substrate import SubstrateChoice
from sailsim.sim.vary import Value, parse_value

_FIELD = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_CHOICE = re.compile(rf"(.*?)((?::\s*{_FIELD}\s*=[^:=]*)*)", re.DOTALL)
_SUBSTRATE = "pim.substrate"
_LARGEST_WHOLE = 1 << 53
"""From here on a float is not surely the whole number that was meant."""


class SystemChoice(NamedTuple):
    """What names a machine: one that ships or a file, and fields that have other values than it says.

    In words "sail-n1", "./mine.toml:llc.slices=16", "sail-n1:memory.channels=4:pim.clock=2.5".
    """

    file: str
    """The name of one that ships or the path of a file."""
    changes: Mapping[str, Value]
    """As `vary` takes them, by the fields' names in alphabetical order."""

    @classmethod
    def parse(cls, text: str) -> "SystemChoice":
        """The choice that a text means. Whether the machine has such fields is seen when it is read.

        Raises:
            ValueError: a field twice, or without a value; the message goes on after "system is", without a
                full stop.
        """
        found = _CHOICE.fullmatch(text)
        assert found is not None  # the first group takes anything
        file, settings = found.groups()
        changes: dict[str, Value] = {}
        for setting in settings.split(":")[1:]:
            field, _, words = (part.strip() for part in setting.partition("="))
            if not words:
                raise ValueError(f"{text!r}, where {field} has no value; allowed is one, as in llc.slices=16")
            if field in changes:
                raise ValueError(f"{text!r}, which sets {field} twice; allowed is once")
            changes[field] = _whole(parse_value(words))
        return cls(file, dict(sorted(changes.items())))

    def changed(self, changes: Mapping[str, Value]) -> "SystemChoice":
        """The choice with other values of some fields, in the place of those that it has.

        Raises:
            ValueError: a text that has no place behind a name; the message is a sentence of its own without
                a full stop.
        """
        added = {field: _whole(value) for field, value in changes.items()}
        if isinstance(named := added.get(_SUBSTRATE), str):
            try:
                substrate = SubstrateChoice.parse(named)
            except ValueError as error:
                raise ValueError(f"{_SUBSTRATE} is {error}") from None
            costs = {f"{_SUBSTRATE}.{each}": words for each, words in substrate.costs_in_words().items()}
            added |= {_SUBSTRATE: substrate.file} | costs
        for field, value in added.items():
            if isinstance(value, str) and re.search("[:=]", value):
                raise ValueError(f"{field} is {value!r}; allowed is a text without : and =")
        return self._replace(changes=dict(sorted({**self.changes, **added}.items())))

    def __str__(self) -> str:
        return self.file + "".join(f":{field}={in_words(value)}" for field, value in self.changes.items())


def chosen_system(text: str) -> SystemChoice:
    """As `SystemChoice.parse`; a text that is no choice stands for a file of that name."""
    try:
        return SystemChoice.parse(text)
    except ValueError:
        return SystemChoice(text, {})


def settled_system(text: str) -> str:
    """The one way to write a choice of machine, so that equal ones are equal texts.

    Raises:
        ValueError: as `SystemChoice.parse`.
    """
    return str(SystemChoice.parse(text)) if "=" in text else text


def system_with(system: str, changes: Mapping[str, Value]) -> str:
    """A choice of machine with other values of fields, in words.

    Raises:
        SailsimError: one sentence about a text that is no choice, or a value that cannot stand behind one.
    """
    try:
        choice = SystemChoice.parse(system)
    except ValueError as error:
        raise SailsimError(f"system is {error}.") from None
    try:
        return str(choice.changed(changes))
    except ValueError as error:
        raise SailsimError(f"{error}.") from None


def in_words(value: Value) -> str:
    """A value as `parse_value` reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _whole(value: Value) -> Value:
    """2 for 2.0: one way to write a number."""
    if isinstance(value, float) and abs(value) < _LARGEST_WHOLE and value == int(value):
        return int(value)
    return value

"""What a study is made of: tasks, and what came of them."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.sim.study.folder import RESERVED, now

Record = Mapping[str, Any]
Evaluate = Callable[[Any], Record | Sequence[Record]]
"""A picklable function of a task's `what`."""

MEMBER = "member"
"""In a record: the place of its owner among the task's `members`; it is not stored."""


@dataclass(frozen=True, slots=True)
class Task:
    """Something to evaluate.

    `key` stands for all that its records rest on: inputs, the content of files, the code. `question` is the
    same without contents and code. Tasks whose `near` are neighbours are worked on together, as they share
    what a worker remembers. A task that answers several questions at once has a key and a question of each as
    `members`; its records then say with `MEMBER` whose they are.
    """

    key: str
    question: str
    what: Any
    near: Any = ()
    members: tuple[tuple[str, str], ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Of all records that it gives."""
        return tuple(key for key, _ in self.members) or (self.key,)

    def owner(self, record: dict[str, Any]) -> tuple[str, str]:
        """Key and question of a record, which loses its `MEMBER`."""
        return self.members[record.pop(MEMBER)] if self.members else (self.key, self.question)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A task's records, or why there are none: `refused` is a sentence, `broken` a traceback."""

    at: int
    """Which task of the study."""
    records: tuple[dict[str, Any], ...] = ()
    refused: str = ""
    broken: str = ""
    finished_at: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tasks that go to a worker together: their places in the study and what they are."""

    evaluate: Evaluate
    tasks: tuple[tuple[int, Any], ...]


def evaluated(chunk: Chunk) -> list[Outcome]:
    """What came of each task of a chunk; runs in the worker."""
    return [_evaluated(chunk.evaluate, at, what) for at, what in chunk.tasks]


def _evaluated(evaluate: Evaluate, at: int, what: Any) -> Outcome:
    began = time.perf_counter()
    try:
        answer = evaluate(what)
        records = tuple(dict(record) for record in ([answer] if isinstance(answer, Mapping) else answer))
        taken = [name for name in RESERVED if any(name in record for record in records)]
        if taken:
            raise ValueError(f"the record has a column {taken[0]!r}, which the study writes itself")
    except SailsimError as error:
        return Outcome(at, refused=str(error))
    except Exception:
        return Outcome(at, broken=traceback.format_exc())
    return Outcome(at, records=records, finished_at=now(), seconds=time.perf_counter() - began)

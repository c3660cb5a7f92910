"""How long points take, by the times of the stored points that are most like them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sailsim.analysis.results.results import of_today
from sailsim.base.errors import SailsimError
from sailsim.sim import Point, Store, SystemChoice

NEAREST = 5
"""Stored points whose mean time a point is said to take."""
MOST_ASKED = 200
"""Points that are compared with the stored ones: more are represented by as many, evenly chosen."""
MOST_STORED = 5_000
"""Stored points that they are compared with, the latest."""
KINDS = {
    **{"model": 8.0, "phase": 2.0, "attention": 2.0, "file": 2.0, "weights": 2.0},
    **{"substrate": 1.0, "convert": 1.0, "prt": 1.0, "overlap": 1.0},
}
"""What another kind of a field counts as: so many doublings of a number. Chosen by hand: they decide which
stored times a prediction of time rests on, and no result."""
AMOUNTS = ("wbits", "abits", "group_size", "batch", "prompt", "threads", "context", "kv_bits", "nbw")
Times = NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """The times of a folder's points: what they are as kinds and as logarithms of amounts, seconds, bytes."""

    rows: pd.DataFrame
    times: Times
    bytes_a_point: float

    @classmethod
    def of(cls, store: Store | None) -> Known:
        """Of a folder, or of none. Raises SailsimError for one that is damaged."""
        nothing = cls(pd.DataFrame(), np.zeros(0), 0.0)
        if store is None:
            return nothing
        files = sorted((store.path / "chunks").glob("*.parquet"))
        if not files:
            return nothing
        found = of_today(store.everything())
        needed = [*Point.__dataclass_fields__, "key", "evaluation_s", "finished_at"]
        missing = [name for name in needed if name not in found.column_names]
        if missing:
            raise SailsimError(
                f"folder {store.path} holds results without {missing[0]!r}; allowed is the folder of a sweep."
            )
        frame = found.select(needed).to_pandas().drop_duplicates("key")
        size = sum(path.stat().st_size for path in files) / len(frame)
        latest = frame.sort_values("finished_at").tail(MOST_STORED).reset_index(drop=True)
        return cls.at(latest, latest["evaluation_s"].to_numpy(float), size)

    @classmethod
    def at(cls, points: pd.DataFrame, seconds: Times, bytes_a_point: float = 0.0) -> Known:
        """Of points, a row each with the columns of one, and what each took."""
        return cls(_coordinates(points), seconds, bytes_a_point)

    @property
    def points(self) -> int:
        """How many there are."""
        return len(self.times)

    def seconds(self, points: Sequence[Point]) -> float | None:
        """Of a point, the mean over some; None where nothing is known."""
        if not self.points or not points:
            return None
        chosen = np.unique(np.linspace(0, len(points) - 1, MOST_ASKED).round().astype(int))
        asked = _coordinates(pd.DataFrame([points[i].as_dict() for i in chosen]))
        return float(np.mean([self._of(asked.iloc[i]) for i in range(len(asked))]))

    def _of(self, asked: pd.Series[float]) -> float:
        far = np.zeros(self.points)
        for name, weight in KINDS.items():
            far += weight * (self.rows[name] != asked[name]).to_numpy()
        for name in AMOUNTS:
            far += np.abs(self.rows[name] - asked[name]).to_numpy(float)
        return float(self.times[np.argsort(far, kind="stable")[:NEAREST]].mean())


def _coordinates(frame: pd.DataFrame) -> pd.DataFrame:
    """Kinds as they are, amounts as doublings; of a machine its file alone."""
    found = frame[[name for name in KINDS if name != "file"]].astype(object)
    found = found.where(found.notna(), "")
    found["file"] = [SystemChoice.parse(str(name)).file for name in frame["system"]]
    for name in AMOUNTS:
        found[name] = np.log2(1 + frame[name].astype(float).fillna(0.0))
    return found

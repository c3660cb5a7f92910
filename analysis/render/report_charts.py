"""The figures of the report that answer to the reader, as data: which column goes where.

`page/charts.js` draws them; what they may show is the columns of the tables of `report_data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from sailsim.analysis.render.answer_page import CARDS
from sailsim.analysis.render.energy_figure import ENERGY_STYLE
from sailsim.analysis.render.style import PHASE_STYLE
from sailsim.analysis.results.runs import CORES, SAIL

MOST = 60.0
"""Perplexities above it are in the table alone."""


@dataclass(frozen=True)
class Measure:
    """A column that is drawn, with the columns of the ends of its range.

    ``over`` is a column that it is divided by, ``times`` what it is multiplied with: drawn numbers only, a
    CSV has the columns as they are. ``line`` is a value with a line of its own, as 1 of a ratio.
    """

    column: str
    title: str
    low: str = ""
    high: str = ""
    log: bool = False
    over: str = ""
    times: float = 1.0
    line: float | None = None
    mark: str = ""
    """A paper's claim whose value is marked, by its name."""
    most: float | None = None
    """Records with more are in the tables alone."""
    against: str = ""
    """Of a ratio: the line that the others are compared with, which has none of its own."""


@dataclass(frozen=True)
class Stacked:
    """A part of a stack: the columns that it adds up, its label, colour and hatch."""

    columns: tuple[str, ...]
    label: str
    colour: str
    hatch: str


Kind = Literal["lines", "ranks", "stack", "marks"]


@dataclass(frozen=True)
class Chart:
    """A figure.

    Attributes:
        kind: ``lines`` along x, ``ranks`` of values with their ranges, ``stack`` of parts along x, or
            ``marks``, points alone.
        data: the table that it draws (`report_data`).
        x: columns that may lie along x, the first one first.
        line: the column that tells lines, or rows, apart; ``unshown`` are runners of those that a page draws
            first that this figure does not.
        choose: the columns that the reader may fix, those of a point where it is empty; ``start`` are values
            of them that come first.
        facet: the column that panels differ in, with ``facets``, its values; all where that is empty.
        small: on the first page, without controls.
    """

    name: str
    title: str
    says: str
    kind: Kind
    data: str
    measures: tuple[Measure, ...]
    x: tuple[str, ...] = ()
    line: str = ""
    unshown: tuple[str, ...] = ()
    choose: tuple[str, ...] = ()
    start: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Stacked, ...] = ()
    facet: str = ""
    facets: tuple[str, ...] = ()
    labels: str = ""
    small: bool = False
    marks: Mapping[str, tuple[float, str]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def marked(self, marks: Mapping[str, tuple[float, str]]) -> Chart:
        """With what a paper claims: value and words by the claim's name."""
        wanted = {measure.mark for measure in self.measures}
        return replace(self, marks={name: mark for name, mark in marks.items() if name in wanted})


RATE = Measure("tokens_per_s", "tokens/s of the whole batch", "low", "high", log=True)
SPEEDUP = Measure(
    "speedup",
    "SAIL is so many times as fast",
    "speedup_low",
    "speedup_high",
    log=True,
    line=1,
    mark="speedup",
    against=SAIL,
)
EQUAL_QUALITY = Measure(
    "speedup_equal_quality",
    "the same at equal quality",
    log=True,
    line=1,
    against=SAIL,
)
DOLLARS = tuple(
    Measure(
        f"tokens_per_usd_{payment}",
        f"tokens per USD, {words}",
        "tokens_per_usd_low",
        "tokens_per_usd_high",
        log=True,
    )
    for payment, words in (
        ("used", "paying the vCPUs that it uses"),
        ("bandwidth", "paying the bandwidth that it uses too"),
        ("whole", "paying the whole server"),
    )
)
ALONG = ("wbits", "batch", "threads", "context", "prompt")
PHASES = tuple(
    Stacked((f"phases.{name}",), label, colour, hatch) for name, (label, colour, hatch) in PHASE_STYLE.items()
)
CAUSES = tuple(
    Stacked(tuple(f"energy.{cause}" for cause in causes), label, colour, hatch)
    for label, (causes, colour, hatch) in ENERGY_STYLE.items()
)
SHORT_PHASES = tuple(
    Stacked(tuple(f"phases.{name}" for name in names), label, colour, hatch)
    for names, label, (_, colour, hatch) in (
        (("dram",), "waiting for weights", PHASE_STYLE["dram"]),
        (("load", "build", "lookup"), "tables and look-ups", PHASE_STYLE["build"]),
        (("convert",), "conversion", PHASE_STYLE["convert"]),
        (("cores",), "attention and the rest", PHASE_STYLE["cores"]),
        (("write_back", "sync"), "hand-over", PHASE_STYLE["sync"]),
    )
)
STEP = Measure("step_s", "time of a step over its tokens, ms", over="tokens", times=1e3)
JOULES = Measure("energy_j", "J a token", "energy_low_j", "energy_high_j", over="tokens")

FRONT = (
    Chart(
        "front-speed",
        "Tokens a second",
        "Lines: nine of ten measurements of a kind lie in them.",
        "ranks",
        "runs",
        (RATE,),
        line="runner",
        small=True,
    ),
    Chart(
        "front-dollars",
        "Tokens a dollar",
        "Paying the vCPUs that are used; a card and all cores are paid whole. Lines: all that is not known.",
        "ranks",
        "runs",
        (DOLLARS[0],),
        line="runner",
        small=True,
    ),
    Chart(
        "front-time",
        "Where SAIL's time goes",
        "Time of a step over its tokens; attention and the rest stay on the cores.",
        "stack",
        "runs",
        (STEP,),
        x=("batch", *ALONG),
        parts=SHORT_PHASES,
        facet="runner",
        facets=(SAIL,),
        small=True,
    ),
)
"""The three figures of the first page."""

SPEED = (
    Chart(
        "speedup",
        "SAIL beside software on the same cores, and beside cards",
        "How many times as fast as each of the others SAIL is. Shaded: what is left where the other runs at "
        "the ends of its band, which holds nine of ten measurements of its kind. At equal quality the other "
        "has whichever width of this sweep is fastest and loses no more (see Quality).",
        "lines",
        "runs",
        (SPEEDUP, EQUAL_QUALITY, RATE),
        x=ALONG,
        line="runner",
        unshown=CARDS,
    ),
    Chart(
        "rates",
        "Tokens per second",
        "The whole batch's. The cores that work are as many on either side; a card has none of them.",
        "lines",
        "runs",
        (RATE, SPEEDUP, EQUAL_QUALITY),
        x=("threads", "batch", "wbits", "context", "prompt"),
        line="runner",
    ),
)
MONEY = Chart(
    "dollars",
    "Tokens per dollar",
    "One way to pay at a time. Lines: everything that is not known of it, from the least to the most: what a "
    "run pays for, how much of the paid time works, the baselines' bands.",
    "ranks",
    "runs",
    DOLLARS,
    line="runner",
)
ENERGY = Chart(
    "energy",
    "Energy of a token by cause",
    "SAIL beside the same cores alone, on equal scales; the whole server is counted for either. Lines: every "
    "constant at the same end of its range.",
    "stack",
    "runs",
    (JOULES,),
    x=ALONG,
    parts=CAUSES,
    facet="runner",
    facets=(SAIL, CORES),
)
TIME = Chart(
    "step_time",
    "Where the time of a token goes",
    "SAIL's step over its tokens; the parts exclude each other and add up.",
    "stack",
    "runs",
    (STEP,),
    x=ALONG,
    parts=PHASES,
    facet="runner",
    facets=(SAIL,),
)
REUSE = (
    Chart(
        "prt",
        "What the pattern reuse table (PRT) saves",
        "The same point with the table against without it, by machine, on equal scales. A hit spares a "
        "read of the arrays, and a cycle only where it takes less time than that read.",
        "lines",
        "reuse",
        (
            Measure("saved", "cycles of the units saved, %", times=100, mark="prt"),
            Measure("reads", "array reads spared, %", times=100),
            Measure("saved_step", "time of the step saved, %", times=100),
        ),
        x=("batch", "wbits", "context"),
        line="nbw",
        facet="system",
    ),
    Chart(
        "conversion",
        "Converting types in memory instead of on the cores",
        "Speedup of the whole step; below 1 converting on the cores is faster.",
        "lines",
        "conversion",
        (
            Measure("speedup", "speedup of the step", line=1),
            Measure("step_s", "time of a step, ms", times=1e3, log=True),
        ),
        x=("group_size", "wbits", "threads"),
        line="batch",
    ),
)
AREA = Chart(
    "area",
    "What the hardware overhead may mean",
    "Added area of the reference machine, for everything that may count and all that it may be a share of.",
    "ranks",
    "area",
    (Measure("share", "added area, %", times=100, mark="overhead"),),
    line="reading",
)
QUALITY = Chart(
    "quality",
    "What widths lose",
    "Perplexity of SmolLM2-135M-Instruct on a text, computed as the units compute it, by stored bits a "
    f"weight. Perplexities above {MOST:g} are in the table alone.",
    "marks",
    "quality",
    (
        Measure("perplexity", "perplexity", log=True, most=MOST),
        Measure("loss", "loss against floats, nats a token"),
        Measure("agreement", "same next token as in floats, %", times=100),
    ),
    x=("bits_per_weight",),
    line="method",
    choose=("abits", "kv_bits"),
    start={"kv_bits": 16},
    labels="words",
)
TILES = Chart(
    "tiles",
    "The fast engine against gem5, tile by tile",
    "Time that the engine predicts over gem5's, minus 1.",
    "lines",
    "tiles",
    (
        Measure("error", "engine over gem5, minus 1, %", times=100, line=0),
        Measure("bare_error", "the same with gem5's DRAM, %", times=100, line=0),
        Measure("gem5_cycles", "cycles in gem5", log=True),
        Measure("engine_cycles", "cycles in the engine", log=True),
    ),
    x=("wbits", "batch"),
    line="nbw",
    choose=("batch", "wbits"),
    facet="place",
)
CLAIMED = Chart(
    "reproduction",
    "What machines within the stated ranges give",
    "Value over the paper's: mark at the median machine, line from the 5th to the 95th of a hundred.",
    "ranks",
    "reproduction",
    (Measure("median", "value over the paper's", "low", "high", log=True, line=1),),
    line="claim",
)

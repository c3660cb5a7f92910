"""The two figures of docs/architecture.md: three ways through the floors, and the modules before and now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from sailsim.analysis.render.architecture_page import ANALYSIS, before, layers
from sailsim.analysis.render.module_graph import ModuleGraph, checkout_graph, circles, depths, room_of
from sailsim.analysis.render.style import OKABE_ITO, canvas, save, style

FLOORS = (
    ("the commands", "sailsim/cli/", 1),
    ("analysis", "analysis/", 3),
    ("simulation", "sim_ext/sim/", 1),
    ("models", "workloads/", 3),
    ("arithmetic", "lut_gemv/", 1),
    ("C++ core", "sim_ext/pim/", 1),
    ("Arm cores, gem5", "workloads/kernels/\nsim_ext/gem5/", 1),
)
"""Title, folder and rows of each floor, from the top."""


@dataclass(frozen=True)
class Stop:
    """A file on a way: its column and row in the picture (the top row is 0), and what it holds or does."""

    column: int
    row: int
    path: str
    words: str


@dataclass(frozen=True)
class Way:
    """A way through the floors: its stops, and the arrows between them by their numbers."""

    title: str
    colour: str
    stops: tuple[Stop, ...]
    arrows: tuple[tuple[int, int], ...]


WAYS = (
    Way(
        "a weight: from a file to seconds",
        "blue",
        (
            Stop(0, 7, "workloads/gguf_file.py", "the file's tensors\nand their types"),
            Stop(0, 6, "workloads/formats.py", "code width, block,\nscale, minimum"),
            Stop(0, 5, "workloads/graph.py", "an operation: K, N,\nformat, bytes"),
            Stop(0, 4, "sim_ext/sim/backends/sail.py", "a job for this\nmachine"),
            Stop(1, 4, "sim_ext/sim/tiles.py", "the tile of a slice"),
            Stop(1, 9, "sim_ext/pim/sequencer.hh", "cycles of passes\nand groups"),
            Stop(2, 9, "sim_ext/pim/schedule.cc", "who has DRAM, slices,\ncores, and when"),
            Stop(2, 4, "sim_ext/sim/engine.py", "a step's seconds,\nphases, counts"),
        ),
        tuple((i, i + 1) for i in range(7)),
    ),
    Way(
        "a point: from words to a figure",
        "vermillion",
        (
            Stop(3, 0, "sailsim/cli/_point.py", "options, or axes\nof a sweep"),
            Stop(3, 4, "sim_ext/sim/point.py", "what one run is,\nchecked"),
            Stop(4, 3, "analysis/results/runs.py", "a record a point\nand runner"),
            Stop(5, 4, "sim_ext/sim/study/folder.py", "kept as it is found"),
            Stop(5, 2, "analysis/results/joins.py", "speedup, dollars,\njoules"),
            Stop(5, 1, "analysis/render/figures.py", "figures, tables,\nreport"),
            Stop(4, 2, "analysis/baselines/runners.py", "who runs it: SAIL,\ncores, cards, yours"),
        ),
        ((0, 1), (1, 2), (6, 2), (2, 3), (3, 4), (4, 5)),
    ),
    Way(
        "a descriptor: through four levels",
        "green",
        (
            Stop(5, 7, "workloads/traces.py", "a model's tiles, real\nactivations"),
            Stop(5, 8, "lut_gemv/trace.py", "64 bytes a tile,\nand its operands"),
            Stop(6, 8, "lut_gemv/reference.py", "level 1: what it\nmust give"),
            Stop(5, 9, "sim_ext/pim/execute.cc", "level 2: the core"),
            Stop(5, 10, "workloads/kernels/lutmm/emulator.cc", "level 3: AArch64\nprograms, emulated"),
            Stop(6, 10, "sim_ext/gem5/pim_unit.hh", "level 4: with cores,\ncaches and DRAM"),
        ),
        ((0, 1), (1, 2), (1, 3), (3, 4), (3, 5)),
    ),
)

_WIDE, _HIGH = 0.86, 0.66
"""Width and height of a stop's box, of a column and a row of 1."""


def ways_figure() -> Figure:
    """Files as boxes on the floors that they are part of, three ways through them as arrows."""
    columns = 1 + max(stop.column for way in WAYS for stop in way.stops)
    rows = sum(height for *_, height in FLOORS)
    with style():
        figure = Figure(figsize=(12.6, 8.8))
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.005, 0.005, 0.99, 0.99))
        axes.set_axis_off()
        axes.set_xlim(-1.12, columns + 0.02)
        axes.set_ylim(rows + 0.02, -0.3)
        _draw_floors(axes, columns)
        for way in WAYS:
            _draw_way(axes, way)
    return figure


def _draw_floors(axes: Axes, columns: int) -> None:
    top = 0
    for i, (title, folder, height) in enumerate(FLOORS):
        shade = "#f3f3f3" if i % 2 == 0 else "#e8e8e8"
        axes.add_patch(Rectangle((-1.1, top), columns + 1.1, height, facecolor=shade, edgecolor="none"))
        axes.text(-1.05, top + height / 2 - 0.06, title, fontweight="bold", fontsize=10, va="bottom")
        axes.text(-1.05, top + height / 2, folder, fontsize=8, va="top", color="#444444")
        top += height


def _draw_way(axes: Axes, way: Way) -> None:
    colour = OKABE_ITO[way.colour]
    left = min(stop.column for stop in way.stops)
    top = min(stop.row for stop in way.stops)
    axes.text(left + 0.07, top - 0.02, way.title, color=colour, fontweight="bold", fontsize=11)
    for a, b in way.arrows:
        _draw_arrow(axes, way.stops[a], way.stops[b], colour)
    for i, stop in enumerate(way.stops):
        x, y = stop.column + (1 - _WIDE) / 2, stop.row + (1 - _HIGH) / 2
        box = FancyBboxPatch(
            (x, y),
            _WIDE,
            _HIGH,
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor="white",
            edgecolor=colour,
            linewidth=2.8 if i == 0 else 1.2,
        )
        axes.add_patch(box)
        axes.text(
            x + _WIDE / 2,
            y + 0.06,
            Path(stop.path).name,
            fontsize=9,
            fontweight="bold",
            ha="center",
            va="top",
        )
        axes.text(x + _WIDE / 2, y + 0.26, stop.words, fontsize=8, ha="center", va="top", linespacing=1.1)


def _draw_arrow(axes: Axes, start: Stop, end: Stop, colour: str) -> None:
    """From the side of a box that faces the other one to that one's side that faces it."""
    across, down = end.column - start.column, end.row - start.row
    sideways = down == 0 or (across != 0 and abs(down) == 1 and start.row < end.row)
    half = (_WIDE / 2 * (across > 0) - _WIDE / 2 * (across < 0)) if sideways else 0.0
    up = 0.0 if sideways else (_HIGH / 2 if down > 0 else -_HIGH / 2)
    tail = (start.column + 0.5 + half, start.row + 0.5 + up)
    head = (end.column + 0.5 - half, end.row + 0.5 - up)
    axes.annotate(
        "",
        head,
        tail,
        arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0},
    )


def modules_figure(old: ModuleGraph, new: ModuleGraph, rooms: Sequence[str]) -> Figure:
    """The analysis before and now: modules as dots, imports as lines, circles in red.

    Before, a module is below all that import it unless they share a circle; now it is in its room's row.
    """
    with style():
        figure, (left, right) = canvas("Imports inside the analysis", 2, width=11.0, height=5.6)
        _draw_modules(left, old, {name: -depth for name, depth in depths(old).items()}, "before, one room")
        rows = {room: -i for i, room in enumerate(rooms)}
        roomed = new.only(name for name in new.lines if room_of(name, rooms))
        _draw_modules(
            right, roomed, {name: rows[room_of(name, rows)] for name in roomed.lines}, "now, by room"
        )
        for room, y in rows.items():
            right.text(-0.04, y, room.rpartition(".")[2], ha="right", va="center", fontsize=9)
    return figure


def _draw_modules(axes: Axes, graph: ModuleGraph, rows: Mapping[str, int], when: str) -> None:
    """Dots in rows, evenly from left to right, and a line for every import."""
    places: dict[str, tuple[float, float]] = {}
    for row in set(rows.values()):
        names = sorted(name for name in rows if rows[name] == row)
        for i, name in enumerate(names):
            # A bow, so that an import within a row shows beside the dots.
            places[name] = ((i + 0.5) / len(names), row + (0.16 if i % 2 else -0.16))
    ring = {name: i for i, each in enumerate(circles(graph.arrows)) for name in each}
    for a, b in sorted(graph.arrows):
        circular = a in ring and ring[a] == ring.get(b)
        (x, y), (to_x, to_y) = places[a], places[b]
        colour, width = (OKABE_ITO["vermillion"], 1.8) if circular else ("#8fa7bd", 0.5)
        axes.plot((x, to_x), (y, to_y), color=colour, linewidth=width, zorder=1 + circular)
    for name, (x, y) in places.items():
        axes.plot(
            x, y, "o", color=OKABE_ITO["vermillion" if name in ring else "blue"], markersize=4.5, zorder=3
        )
        if name in ring:
            axes.annotate(
                name.rpartition(".")[2], (x, y), (4, 4), textcoords="offset points", fontsize=8, zorder=4
            )
    counts = f"{len(graph.lines)} modules, {len(graph.arrows)} imports, {len(circles(graph.arrows))} circles"
    axes.set_title(f"{when}: {counts}", loc="left")
    axes.set_axis_off()


def draw(folder: Path, root: Path) -> list[Path]:
    """Draw both figures of a checkout as PNG into a folder; returns the paths."""
    _, rooms = layers(root)
    old, new = (graph.within(ANALYSIS) for graph in (before()[1], checkout_graph(root)))
    drawn = {"architecture": ways_figure(), "modules": modules_figure(old, new, rooms)}
    for name, figure in drawn.items():
        save(figure, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in drawn]

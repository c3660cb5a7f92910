"""Everything in the checkout that a program writes: pages, tables, figures and the C++ tests' unit files.

One entry says which file, which function makes it, from what, and whether that takes seconds or minutes.
`sailsim docs` writes and checks them; a function is imported only when its entry is made.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sailsim.analysis.render.marks import MarkError, filled, parts
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError

Kind = Literal["parts", "file", "folder", "figures"]


@dataclass(frozen=True)
class Generated:
    """A generated piece of the checkout.

    Attributes:
        name: what `sailsim docs` calls it; a part's mark is ``<!-- generated: NAME/part -->``.
        path: the file, or the folder of files, in the checkout.
        make: ``module:function``. It returns the text of a file, or a mapping of texts by the name of a
            part or of a file.
        inputs: what it is made from, in words.
        kind: marked parts of a page, a whole file, all files of a folder, or figures alone (no ``make``).
        minutes: it takes minutes; only by its name or with all others.
        takes: the folder of the checkout that its functions take, ``out`` for results; none if empty.
        stamp: for what takes minutes, ``module:function`` of a text that changes with the inputs and takes
            seconds: a page without it is old.
        draw: ``module:function`` that draws the figures into the folder that it is given. Figures are written
            and not compared: their bytes are matplotlib's and the fonts'.
        words: words are compared and not lines, which versions of click wrap differently.
    """

    name: str
    path: str
    make: str
    inputs: str
    kind: Kind = "parts"
    minutes: bool = False
    takes: str = ""
    stamp: str = ""
    draw: str = ""
    words: bool = False


_RENDER = "sailsim.analysis.render"

ENTRIES: tuple[Generated, ...] = (
    Generated(
        "answer",
        "README.md",
        f"{_RENDER}.answer_page:answer_parts",
        "runs of two points beside every shipped runner",
    ),
    Generated(
        "results",
        "README.md",
        f"{_RENDER}.readme_page:results_parts",
        "the results of make sim, in out",
        minutes=True,
        takes="out",
        draw=f"{_RENDER}.readme_page:draw_results",
    ),
    Generated(
        "map",
        "docs/map.md",
        f"{_RENDER}.map_page:map_parts",
        "runs of 252 points beside every shipped runner",
        minutes=True,
        draw=f"{_RENDER}.map_page:draw_map",
    ),
    Generated(
        "engine",
        "docs/engine.md",
        f"{_RENDER}.engine_page:engine_parts",
        "the system file sail-n1; analysis/data/gem5/dram.jsonl (sailsim gem5 dram --write)",
    ),
    Generated(
        "backends",
        "docs/backends.md",
        f"{_RENDER}.backends_page:backends_parts",
        "analysis/data/validation: accelerators as published, figures, simulators' answers",
    ),
    Generated(
        "baselines",
        "docs/baselines.md",
        f"{_RENDER}.baseline_page:baseline_parts",
        "analysis/data/fits.json and held_out_errors.json (sailsim fit), cards and measurements",
    ),
    Generated(
        "cost",
        "docs/cost.md",
        f"{_RENDER}.cost_tables:cost_parts",
        "runs of two points, prices and their constants",
    ),
    Generated(
        "energy-area",
        "docs/energy-area.md",
        f"{_RENDER}.cost_tables:energy_area_parts",
        "runs of two points, constants of energy and area, CACTI's recorded answers",
    ),
    Generated(
        "kernels",
        "docs/kernels.md",
        f"{_RENDER}.kernels_page:kernels_parts",
        "analysis/data/gem5_kernels.csv (sailsim gem5 kernels --write)",
    ),
    Generated(
        "gem5-validation",
        "docs/gem5-validation.md",
        f"{_RENDER}.gem5_validation_page:page",
        "analysis/data/gem5/validation.jsonl (sailsim gem5 validate --write)",
        kind="file",
    ),
    Generated(
        "gem5-tiles",
        "docs/gem5-tiles.md",
        f"{_RENDER}.gem5_tiles_page:page",
        "analysis/data/gem5/tiles.jsonl (sailsim gem5 sweep --write)",
        kind="file",
        draw=f"{_RENDER}.gem5_tiles_page:draw",
    ),
    Generated(
        "gem5-decode",
        "docs/gem5-decode.md",
        f"{_RENDER}.gem5_decode_page:decode_parts",
        "analysis/data/gem5/decode.jsonl (sailsim gem5 decode --write); the engine's steps",
        draw=f"{_RENDER}.gem5_decode_figure:draw",
    ),
    Generated(
        "reproduction",
        "docs/reproduction.md",
        f"{_RENDER}.reproduction_page:stored_page",
        "analysis/data/reproduction.jsonl (sailsim reproduce --docs docs)",
        kind="file",
    ),
    Generated(
        "joint",
        "docs/joint.md",
        f"{_RENDER}.joint_page:stored_page",
        "analysis/data/joint.jsonl (sailsim joint --docs docs)",
        kind="file",
    ),
    Generated(
        "reuse-shipped",
        "docs/reuse.md",
        f"{_RENDER}.reuse_page:shipped_parts",
        "the compact capture that ships",
    ),
    Generated(
        "artifact",
        "docs/artifact.md",
        f"{_RENDER}.artifact_page:artifact_parts",
        "analysis/data/artifact.toml, artifact_expected.json (sailsim artifact --write)",
    ),
    Generated(
        "formats",
        "docs/formats.md",
        f"{_RENDER}.formats_page:formats_parts",
        "random blocks of every format, the package gguf",
    ),
    Generated(
        "quality",
        "docs/quality.md",
        f"{_RENDER}.quality_page:quality_parts",
        "analysis/data/quality: points.jsonl (tools/quality_points.py), policies.jsonl "
        "(tools/policy_points.py); runs of their choices of weights",
        draw=f"{_RENDER}.quality_page:draw",
    ),
    Generated(
        "prefill",
        "docs/prefill.md",
        f"{_RENDER}.prefill_page:prefill_parts",
        "runs of prompts by every runner that has measured ones; analysis/data/fits.json",
        draw=f"{_RENDER}.prefill_page:draw",
    ),
    Generated(
        "attention",
        "docs/attention.md",
        f"{_RENDER}.attention_page:attention_parts",
        "runs by width of the cache and by who attends; analysis/data/quality (tools/quality_points.py)",
        draw=f"{_RENDER}.attention_page:draw",
    ),
    Generated(
        "columns",
        "docs/columns.md",
        f"{_RENDER}.columns_page:page",
        "analysis/data/columns.toml",
        kind="file",
    ),
    Generated(
        "studies",
        "docs/studies.md",
        f"{_RENDER}.studies_page:studies_parts",
        "analysis/data/faults.jsonl (tools/faults.py)",
    ),
    Generated(
        "architecture",
        "docs/architecture.md",
        f"{_RENDER}.architecture_page:architecture_parts",
        "the imports of the checkout; analysis/data/modules_before.jsonl (tools/module_graph.py)",
        takes=".",
        draw=f"{_RENDER}.architecture_figures:draw",
    ),
    Generated(
        "start-figure",
        "docs/figures",
        "",
        "the example of docs/lut-gemv.md",
        kind="figures",
        draw=f"{_RENDER}.start_figure:draw",
    ),
    Generated(
        "units",
        "sim_ext/pim/tests/units",
        f"{_RENDER}.unit_files:texts",
        "the system file sail-n1 and every substrate that ships",
        kind="folder",
    ),
    Generated(
        "fit-figures",
        "docs/figures",
        "",
        "the fits, made once more (sailsim fit)",
        kind="figures",
        minutes=True,
        draw=f"{_RENDER}.fit_figures:draw_fits",
    ),
    Generated(
        "reuse",
        "docs/reuse.md",
        f"{_RENDER}.reuse_page:measured_parts",
        "out/activations.npz (sailsim activations capture), measured for a minute",
        minutes=True,
        takes="out",
        stamp=f"{_RENDER}.reuse_page:stamp",
        draw=f"{_RENDER}.reuse_page:draw_measured",
    ),
)
"""What the analysis writes; `sailsim.cli.docs` adds the page of commands, which is above this floor."""


def checkout(root: Path | None = None) -> Path:
    """The root of the checkout: ``root``, or the one that this package runs from. Raises SailsimError."""
    found = Path(__file__).resolve().parents[2] if root is None else root
    if not (found / "sim_ext" / "abi" / "lutmm.h").is_file():
        raise SailsimError(f"{found} is no checkout of sailsim; allowed is its root folder, by --root.")
    return found


def chosen(entries: Sequence[Generated], names: Iterable[str], everything: bool = False) -> list[Generated]:
    """The entries of some names; without names those that take seconds, or ``everything``.

    Raises SailsimError for a name that none has.
    """
    wanted = list(names)
    known = [entry.name for entry in entries]
    for name in wanted:
        if name not in known:
            raise SailsimError(f"{name!r} is no generated piece; allowed are {', '.join(known)}.")
    if wanted:
        return [entry for entry in entries if entry.name in wanted]
    return [entry for entry in entries if everything or not entry.minutes]


def made(entry: Generated, root: Path) -> dict[str, str]:
    """What an entry's files should hold now, by their path in the checkout; a page has its parts anew.

    Raises SailsimError for a page without the marks of a part, or with marks of one that nobody writes.
    """
    if entry.kind == "figures":
        return {}
    found = _called(entry.make, *_taken(entry, root))
    if entry.kind == "file":
        return {entry.path: found}
    if entry.kind == "folder":
        return {f"{entry.path}/{name}": text for name, text in found.items()}
    texts = {f"{entry.name}/{part}": text for part, text in found.items()}
    page = (root / entry.path).read_text("utf-8")
    try:
        marked = {name for name in parts(page) if name.partition("/")[0] == entry.name}
        if marked - set(texts):
            raise MarkError(f"nobody writes the part {min(marked - set(texts))!r}")
        return {entry.path: filled(page, texts)}
    except MarkError as error:
        raise SailsimError(
            f"{entry.path}: {error}; allowed is every part of {entry.name} once, between its marks."
        ) from error


def stale(entry: Generated, root: Path, quick: bool = False) -> list[str]:
    """The files of an entry that are not what it makes now, by their path in the checkout.

    With ``quick``, what takes minutes is judged by its stamp alone. Raises SailsimError as `made`.
    """
    if quick and entry.minutes:
        old = entry.stamp and _called(entry.stamp) not in (root / entry.path).read_text("utf-8")
        return [entry.path] if old else []
    return _different(entry, root, made(entry, root))


def write(entry: Generated, root: Path) -> list[str]:
    """Write what differs of an entry, and its figures; returns the paths in the checkout.

    A file of its folder that it does not make goes. Raises SailsimError as `made`.
    """
    wanted = made(entry, root)
    old = _different(entry, root, wanted)
    for path in old:
        if path in wanted:
            write_whole(root / path, wanted[path].encode())
        else:
            (root / path).unlink()
    drawn: list[Path] = []
    if entry.draw:
        drawn = _called(entry.draw, root / "docs" / "figures", *_taken(entry, root))
    return old + [path.relative_to(root).as_posix() for path in drawn]


def _called(target: str, *arguments: Any) -> Any:
    module, _, function = target.partition(":")
    return getattr(importlib.import_module(module), function)(*arguments)


def _taken(entry: Generated, root: Path) -> list[Path]:
    return [root / entry.takes] if entry.takes else []


def _different(entry: Generated, root: Path, wanted: Mapping[str, str]) -> list[str]:
    old = []
    if entry.kind == "folder":
        present = (path.relative_to(root).as_posix() for path in sorted((root / entry.path).glob("*")))
        old += [path for path in present if path not in wanted]
    for path, text in wanted.items():
        there = (root / path).read_text("utf-8") if (root / path).is_file() else None
        if there is None or (there.split() != text.split() if entry.words else there != text):
            old.append(path)
    return old

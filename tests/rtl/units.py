"""A tile on the RTL's ports, what the core says of it, and what the RTL made of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim import _core
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.operands import block_slices, group_slices
from sailsim.lut_gemv.tile import Tile
from sailsim.sim.files import load_system
from sailsim.sim.rtl import package, parameters, tile_fields
from sailsim.sim.tiles import Shape

from .simulation import RTL

EVENTS = ("begin", "load", "loaded", "start", "done")
"""Bits of what is watched, from bit 3 on; below is the phase."""
HANDSHAKES = ("tile", "weights", "activations", "scales")
WATCH = ("phase", *(f"event_{event}" for event in EVENTS), *(f"{port}_ready" for port in HANDSHAKES))
WATCH += ("results_valid", "results_last")
PHASES = {"build": 3, "lookup": 4, "convert": 5, "write_back": 6}
COUNTS = ("zero_patterns", "prt_hits", "prt_misses", "table_builds", "table_adds", "row_reads", "row_writes")
"""In the order in which the bench reads the counters."""
SMALL = {"slices": 1, "arrays": 1, "cols": 64, "port_bytes": 8, "convert": "cores"}
"""A unit of few lanes, so that small tiles take several passes."""


@dataclass(frozen=True, eq=False)
class Build:
    """A unit and the format that its RTL is built for."""

    code: WeightCode
    abits: int
    signed: bool
    nbw: int
    batch: int = 8
    changes: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def text(self) -> str:
        """The unit in text form."""
        return load_system("sail-n1").unit_text(**{**SMALL, **self.changes})

    @cached_property
    def config(self) -> _core.SliceConfig:
        return _core.SliceConfig(self.text)

    @cached_property
    def constants(self) -> dict[str, int]:
        return parameters(self.text, self.code, self.abits, self.signed, self.nbw, self.batch)

    def sources(self, name: str, folder: Path) -> list[Path]:
        """Package and RTL with names of their own, so that one simulation has many builds."""
        texts = {"sail_pkg.sv": package(self.text, self.code, self.abits, self.signed, self.nbw, self.batch)}
        texts |= {path.name: path.read_text() for path in sorted(RTL.glob("*.sv"))}
        for file, text in texts.items():
            (folder / f"{name}_{file}").write_text(re.sub(r"\bsail_\w+", rf"\g<0>_{name}", text))
        return [folder / f"{name}_{file}" for file in texts]


def packed(values: Sequence[int] | NDArray[Any], bits: int) -> int:
    """Values of so many bits, the first one lowest."""
    return sum((int(value) & (1 << bits) - 1) << bits * n for n, value in enumerate(values))


def beats(word: int, bits: int, beat_bits: int) -> list[int]:
    """A word of so many bits in beats."""
    return [word >> at & (1 << beat_bits) - 1 for at in range(0, bits, beat_bits)]


@dataclass
class Play:
    """A tile on a build's ports."""

    tile: Tile
    build: Build

    @cached_property
    def fields(self) -> dict[str, int]:
        tile = self.tile
        of_code = {"zero_point": tile.code.zero_point, "act_scales": 0}
        of_code["book"] = packed(tile.code.values, self.build.constants["VALUE_BITS"])
        if tile.scales is not None:
            of_code["act_scales"] = packed(tile.scales.act_scale.view(np.uint32), 32)
        return tile_fields(self.build.config, Shape(*tile.shape), tile.scales is not None) | of_code

    @cached_property
    def blocks(self) -> list[slice]:
        return block_slices(self.tile.k, self.tile.group_size)

    @cached_property
    def passes(self) -> list[slice]:
        lanes, n = self.fields["lanes"], self.tile.n
        return [slice(at, min(at + lanes, n)) for at in range(0, n, lanes)]

    @property
    def cores_scale(self) -> bool:
        return self.tile.scales is not None and self.build.config.convert == "cores"

    @cached_property
    def groups(self) -> int:
        """Of a pass."""
        return len(self.profile)

    def queues(self) -> dict[str, list[Any]]:
        """What each port is offered."""
        tile, constants = self.tile, self.build.constants
        port = 8 * constants["PORT_BYTES"]
        groups = [group for block in self.blocks for group in group_slices(block, tile.nbw)]
        words = [packed(row, tile.abits) for group in groups for row in tile.x[:, group]]
        weights, scales = [], []
        for outputs in self.passes:
            for group in groups:
                codes = tile.codes[group, outputs].ravel()
                weights += beats(packed(codes, tile.code.wbits), len(codes) * tile.code.wbits, port)
            if tile.scales is not None and not self.cores_scale:
                for row in tile.scales.scale[:, outputs].view(np.uint16):
                    scales += beats(packed(row, 16), 16 * len(row), 16 * constants["CONVERT_UNITS"])
        repeats = 1 if self.fields["keep"] else len(self.passes)
        return {"tile": [self.fields], "weights": weights, "activations": words * repeats, "scales": scales}

    @cached_property
    def profile(self) -> _core.PatternProfile:
        tile, config = self.tile, self.build.config
        entries = config.prt_entries if config.substrate.prt_helps else 0
        return _core.pattern_profile(
            tile.x, tile.abits, tile.nbw, tile.group_size, entries, config.prt_policy
        )

    def timeline(self) -> NDArray[np.int64]:
        """The core's: a row for each group of each pass."""
        return _core.tile_timeline(
            self.build.config, self.tile.shape, self.profile, self.tile.scales is not None
        )

    def timing(self) -> _core.TileTiming:
        timer = _core.TileTimer(self.build.config, self.tile.shape, self.tile.scales is not None)
        return timer.time([self.profile])[0]

    def written(self) -> list[tuple[int, int]]:
        """Rows and outputs of every write-back."""
        times = len(self.blocks) if self.cores_scale else 1
        return [(self.tile.batch, part.stop - part.start) for part in self.passes for _ in range(times)]

    def result(self, write_backs: list[list[int]]) -> NDArray[Any]:
        """The tile's result from the words of each write-back; cores scale theirs here."""
        parts = [
            np.array(words[: rows * n], np.uint32).reshape(rows, n)
            for words, (rows, n) in zip(write_backs, self.written(), strict=True)
        ]
        if not self.cores_scale:
            joined = np.concatenate(parts, axis=1)
            return joined.view(np.int32 if self.tile.scales is None else np.float32)
        blocks = len(self.blocks)
        acc = [np.concatenate(parts[b::blocks], axis=1).view(np.int32) for b in range(blocks)]
        return self.tile.finish(np.stack(acc).astype(np.int64))


@dataclass
class Played:
    """What the RTL made of one tile."""

    timeline: NDArray[np.int64]
    """As the core's: pass, group, start and end of the load, start, cycles of the four phases."""
    total: int
    phases: dict[str, int]
    write_backs: list[list[int]]
    fed: NDArray[np.int64] | None = None
    """Zero patterns, hits and misses of each group of each pass, (S, 3)."""
    counts: dict[str, int] = field(default_factory=dict)
    arrivals: list[int] = field(default_factory=list)
    """The cycle behind that in which each beat of weights was taken."""


def played(answer: Any, plays: Sequence[Play]) -> list[Played]:
    """A bench's answer, tile by tile. Counts are of the last one."""
    seen, words, fed, counts, arrivals = answer
    watched = np.array(seen)
    at = {event: np.flatnonzero(watched >> bit & 1) for bit, event in enumerate(EVENTS, 3)}
    assert len(at["begin"]) == len(at["done"]) == len(plays), at
    found = []
    for begin, done, play in zip(at["begin"], at["done"], plays, strict=True):
        rows = [
            each[(each >= begin) & (each <= done)] - begin for each in (at["load"], at["loaded"], at["start"])
        ]
        assert len({len(each) for each in rows}) == 1, rows
        phase = watched[begin:done] & 7
        spans = pairwise([*rows[2], done - begin])
        cycles = [[int((phase[slice(*span)] == code).sum()) for code in PHASES.values()] for span in spans]
        numbers = [divmod(n, play.groups) for n in range(len(cycles))]
        timeline = np.column_stack([np.array(numbers), *rows, np.array(cycles)])
        phases = {name: int((phase == code).sum()) for name, code in {"load": 2, **PHASES}.items()}
        write_backs, words = words[: len(play.written())], words[len(play.written()) :]
        found.append(Played(timeline, int(done - begin), phases, write_backs))
    assert not words
    last = found[-1]
    last.fed = np.diff([*fed[-len(last.timeline) :], counts[:3]], axis=0)
    last.counts = dict(zip(COUNTS, counts, strict=True))
    last.arrivals = [cycle - int(at["begin"][-1]) for cycle in arrivals]
    return found

"""A tile on the RTL's ports, what the core says of it, and what the RTL made of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtl_tile import tile_fields
from sailsim import _core
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.operands import activation_range, block_slices, group_slices
from sailsim.lut_gemv.tile import Scales, Tile
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.rtl import package, parameters
from sailsim.sim.step.tiles import TileShape

from .simulation import RTL

EVENTS = ("begin", "load", "loaded", "start", "done")
"""Bits of what is watched, from bit 3 on; below is the phase."""
HANDSHAKES = ("tile", "weights", "activations", "scales")
WATCH = ("@phase", *(f"@event_{event}" for event in EVENTS), *(f"@{port}_ready" for port in HANDSHAKES))
WATCH += ("@results_valid", "@results_valid & @results_last")
PHASES = {"build": 3, "lookup": 4, "convert": 5, "write_back": 6}
COUNTS = ("zero_patterns", "prt_hits", "prt_misses", "table_builds", "table_adds", "row_reads", "row_writes")
"""In the order in which the bench reads the counters."""
SMALL = {"slices": 1, "arrays": 1, "cols": 64, "port_bytes": 8, "convert": "cores", "prt_policy": "lru"}
"""A unit of few lanes, so that small tiles take several passes, and with the policy that has most to do."""


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


@dataclass(eq=False)
class Play:
    """A tile on a build's ports."""

    tile: Tile
    build: Build

    def __repr__(self) -> str:
        tile = self.tile
        return f"build {BUILDS.index(self.build)}, {TileShape(*tile.shape)}, scaled {tile.scales is not None}"

    @cached_property
    def fields(self) -> dict[str, int]:
        tile = self.tile
        of_code = {"zero_point": tile.code.zero_point, "act_scales": 0}
        of_code["book"] = packed(tile.code.values, self.build.constants["VALUE_BITS"])
        if tile.scales is not None:
            of_code["act_scales"] = packed(tile.scales.act_scale.view(np.uint32), 32)
        return tile_fields(self.build.config, TileShape(*tile.shape), tile.scales is not None) | of_code

    @cached_property
    def blocks(self) -> list[slice]:
        return block_slices(self.tile.k, self.tile.group_size)

    @cached_property
    def passes(self) -> list[slice]:
        lanes, n = self.fields["lanes"], self.tile.n
        return [slice(at, min(at + lanes, n)) for at in range(0, n, lanes)]

    @property
    def beats(self) -> int:
        """Of all ports: no stall takes more than 400 cycles of each."""
        results = sum(rows * n for rows, n in self.written()) + len(self.written())
        return results + sum(map(len, self.queues().values()))

    @property
    def cores_scale(self) -> bool:
        return self.tile.scales is not None and self.build.config.convert == "cores"

    @cached_property
    def groups(self) -> list[slice]:
        """Of a pass."""
        return [group for block in self.blocks for group in group_slices(block, self.tile.nbw)]

    @property
    def port(self) -> int:
        """Bits of a beat of weights and of results."""
        return 8 * self.build.config.port_bytes

    def queues(self) -> dict[str, list[Any]]:
        """What each port is offered."""
        tile, constants = self.tile, self.build.constants
        words = [packed(row, tile.abits) for group in self.groups for row in tile.x[:, group]]
        weights, scales = [], []
        for outputs in self.passes:
            for group in self.groups:
                codes = tile.codes[group, outputs].ravel()
                weights += beats(packed(codes, tile.code.wbits), len(codes) * tile.code.wbits, self.port)
            if tile.scales is not None and not self.cores_scale:
                for row in tile.scales.scale[:, outputs].copy().view(np.uint16):
                    lanes = 16 * self.fields["lanes"]
                    scales += beats(packed(row, 16), lanes, 16 * constants["CONVERT_UNITS"])
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

    def expected(self, arrivals: Sequence[int]) -> list[list[int]]:
        """The core's timeline, but for weights of which each beat had come by a cycle."""
        rows, left = self.timeline(), list(arrivals)
        port_free = computed = owed = 0
        for row in rows:
            part, group = self.passes[row[0]], self.groups[row[1]]
            bits = (part.stop - part.start) * (group.stop - group.start) * self.tile.code.wbits
            beats = -(-bits // self.port)
            load_end = max(left[beats - 1], port_free + row[3] - row[2])
            left = left[beats:]
            start = max(load_end, computed) + owed
            row[2:5] = port_free, load_end, start
            computed, owed = start + row[5:8].sum(), row[8]
            port_free = start
            if not self.build.config.double_buffer:
                port_free, computed, owed = computed + owed, computed + owed, 0
        return rows.tolist()

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
        numbers = [divmod(n, len(play.groups)) for n in range(len(cycles))]
        timeline = np.column_stack([np.array(numbers), *rows, np.array(cycles)])
        phases = {
            name: int((np.maximum(phase, 2) == code).sum()) for name, code in {"load": 2, **PHASES}.items()
        }
        write_backs, words = words[: len(play.written())], words[len(play.written()) :]
        found.append(Played(timeline, int(done - begin), phases, write_backs))
    assert not words
    last = found[-1]
    last.fed = np.diff([*fed[-len(last.timeline) :], counts[:3]], axis=0)
    last.counts = dict(zip(COUNTS, counts, strict=True))
    last.arrivals = [cycle - int(at["begin"][-1]) for cycle in arrivals]
    return found


IDLE: dict[str, list[int]] = {port: [0] for port in (*HANDSHAKES, "results")}
"""No port ever stalls."""

_OLD = {"double_buffer": False}
_SLOW = {"t_zero": 2, "t_prt": 3, "substrate": "row_dfm:read=5"}
_UNITS = {"convert": "unit", "convert_units": 4, "convert_latency": 4, "prt_entries": 3}
BUILDS = [
    # The machine's own unit: a table that holds every pattern.
    Build(WeightCode.twos(4), 8, True, 4),
    Build(WeightCode.twos(1), 1, True, 1, changes={"prt_entries": 1, "port_bytes": 4}),
    Build(WeightCode.twos(2), 16, True, 6, changes={"prt_entries": 32}),
    Build(WeightCode.twos(2), 16, False, 6, changes={"prt_entries": 9, "prt_policy": "fifo", **_SLOW}),
    Build(WeightCode.twos(3), 5, False, 6, changes={"prt_policy": "direct", "port_bytes": 16}),
    Build(WeightCode.offset(5, 16), 9, True, 3, changes={"prt_entries": 3, **_SLOW}),
    Build(WeightCode.offset(8, 255), 2, False, 2, changes=_OLD | {"prt_entries": 2, "prt_policy": "fifo"}),
    Build(WeightCode.ternary(), 8, True, 5, changes={"prt_entries": 8, "port_bytes": 32, **_OLD}),
    Build(WeightCode.nf4(), 8, True, 4, changes={"prt_entries": 0, "port_bytes": 4}),
    Build(WeightCode.book([-32768, 5, 32767, -1]), 7, True, 2, changes=_SLOW | {"prt_policy": "direct"}),
    Build(WeightCode.twos(8), 12, True, 5, changes={"prt_entries": 5, "port_bytes": 4, **_OLD, **_SLOW}),
    Build(WeightCode.twos(6), 3, True, 3, changes={"prt_entries": 4, "prt_policy": "direct", "cols": 128}),
    Build(WeightCode.offset(4, 8), 8, True, 4, changes=_UNITS | {"convert_units": 2, "convert_latency": 12}),
    Build(WeightCode.twos(3), 6, False, 3, changes=_UNITS | _OLD | {"convert_interval": 3}),
    # Activations that its buffer does not hold: every pass reads them again.
    Build(WeightCode.twos(7), 8, False, 4, changes={"activation_buffer_bits": 640, "prt_entries": 6}),
]
"""What Hypothesis draws from: every width of weights, code, policy and NBW, and both kinds of buffering."""


@st.composite
def plays(draw: st.DrawFn, builds: Sequence[Build], scaled: bool | None = None) -> Play:
    """A tile of free shape on one of the builds; the numbers come of a seed, so shapes alone shrink."""
    build = draw(st.sampled_from(builds))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    k, batch = draw(st.integers(1, 8 * build.nbw)), draw(st.integers(1, build.batch))
    n = draw(st.integers(1, 2 * build.constants["LANES"] + 2))
    group_size = draw(st.just(0) | st.integers(1, k + 1))
    spread = 1 << draw(st.integers(0, build.abits))
    x = rng.integers(-spread, spread, (batch, k), endpoint=True)
    if draw(st.booleans()):  # the same patterns again and again
        x[:] = x[:1, : build.nbw].repeat(-(-k // build.nbw), 0).reshape(1, -1)[:, :k]
    scales = None
    if draw(st.booleans()) if scaled is None else scaled:
        size = (-(-k // (group_size or k)), n)
        scale, minimum = (rng.uniform(-1, 1, size).astype(np.float16) for _ in range(2))
        with_minimum = build.config.convert == "cores" and draw(st.booleans())
        act_scale = rng.uniform(-1, 1, batch).astype(np.float32)
        scales = Scales(scale, act_scale, minimum if with_minimum else None)
    play = Play(
        Tile(
            np.clip(x, *activation_range(build.abits, build.signed)),
            rng.integers(0, build.code.legal_codes, (k, n), dtype=np.uint8),
            build.code,
            build.abits,
            build.signed,
            nbw=build.nbw,
            group_size=group_size,
            scales=scales,
        ),
        build,
    )
    assume(play.timing().total < 4000)
    return play

"""Section 4 of docs/contract.md played by the letter in Python, against the core, to the cycle and the byte.

The layout (lanes of a pass, rows of a chunk) is the core's; tests of layouts are in test_timing.py. All that
a layout leaves to say is said here a second time: order of chunks and passes, shares of a chunk, loads,
conversion, write-back.
"""

from dataclasses import dataclass, field
from math import ceil, floor

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from sailsim import _core
from sailsim._core import PatternProfile
from sailsim.lut_gemv.convert import int_to_fp32
from sailsim.sim.machine.substrate import load_substrate
from sailsim.sim.machine.system_files import load_system

from ..examples import examples


@dataclass
class Played:
    """One slice's tile, group by group."""

    config: _core.SliceConfig
    plan: _core.TilePlan
    k: int
    batch: int
    wbits: int
    abits: int
    nbw: int
    group_size: int
    scaled: bool
    minimum: bool
    phases: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("load", "build", "lookup", "convert", "write_back"), 0)
    )
    weight_bytes: int = 0
    result_bytes: int = 0
    activation_bytes: int = 0
    conversions: int = 0
    order: list[tuple[int, int, int]] = field(default_factory=list)
    _port_free: int = 0
    _computed: int = 0
    _owed: int = 0

    def play(self, profile: PatternProfile) -> None:
        """Chunks one after the other, each with all its passes, each with all its groups."""
        plan = self.plan
        blocks = [
            range(start, min(start + (self.group_size or self.k), self.k))
            for start in range(0, self.k, self.group_size or self.k)
        ]
        groups = [
            (min(self.nbw, block.stop - start), start + self.nbw >= block.stop)
            for block in blocks
            for start in range(block.start, block.stop, self.nbw)
        ]
        rows_of_chunk = ceil(self.batch / plan.batch_chunks)
        assert rows_of_chunk == plan.chunk_rows
        for first in range(0, self.batch, rows_of_chunk):
            rows = range(first, min(first + rows_of_chunk, self.batch))
            for at in range(0, plan.owned, plan.lanes):
                outputs = min(plan.lanes, plan.owned - at)
                for g, (weights, block_ends) in enumerate(groups):
                    again = at > 0 and not plan.keeps_activations
                    self._group(
                        outputs, rows, weights, again, self._shares(profile, g, rows), block_ends,
                        g + 1 == len(groups),
                    )  # fmt: skip
                    self.order.append((first, at, g))

    def _shares(self, profile: PatternProfile, g: int, rows: range) -> list[int]:
        """What a chunk feeds of a group's zero patterns, hits and misses: each rounded down at both ends."""
        counts = (int(part[g]) for part in (profile.zero, profile.hits, profile.misses))
        return [floor(n * rows.stop / self.batch) - floor(n * rows.start / self.batch) for n in counts]

    def _cost(self, phase: str) -> int:
        substrate = load_substrate(self.config.substrate.name)
        v = 2 if self.wbits == 1 else self.wbits
        entry = v + (self.nbw - 1).bit_length()
        return substrate.phase_cycles(phase, weight=v, entry=entry, accumulator=self.config.accumulator_bits)

    def _group(
        self, outputs: int, rows: range, weights: int, again: bool, fed: list[int], block_ends: bool,
        pass_ends: bool,
    ) -> None:  # fmt: skip
        c = self.config
        loaded = ceil(weights * outputs * self.wbits / 8)
        read_again = ceil(len(rows) * weights * self.abits / 8) if again else 0
        load = max(ceil((loaded + read_again) / c.port_bytes), self.nbw * self._cost("stage"))
        build = (2**self.nbw - self.nbw - 1) * self._cost("table_add")
        zero, hits, misses = fed
        lookup_cost = self._cost("lookup")
        has_prt = c.substrate.prt_helps and c.prt_entries > 0
        hit_cost = c.t_prt + self._cost("hit") if has_prt else lookup_cost
        lookup = zero * c.t_zero + hits * hit_cost + misses * lookup_cost
        convert, written = self._block_end(outputs, len(rows), pass_ends) if block_ends else (0, 0)
        write_back = ceil(written / c.port_bytes)

        arrived = self._port_free + load
        ready = max(arrived, self._computed)
        self.phases["load"] += ready - self._computed
        start = ready + self._owed
        self._computed = start + build + lookup + convert
        if c.double_buffer:  # the next group may load from here on; the write-back waits until it could start
            self._port_free, self._owed = start, write_back
        else:
            self._computed += write_back
            self._port_free = self._computed
        for phase, cycles in (("build", build), ("lookup", lookup), ("convert", convert)):
            self.phases[phase] += cycles
        self.phases["write_back"] += write_back
        self.weight_bytes += loaded
        self.activation_bytes += read_again
        self.result_bytes += written

    def _block_end(self, outputs: int, rows: int, pass_ends: bool) -> tuple[int, int]:
        """Cycles of the conversion, and the bytes that are written back."""
        c = self.config
        if self.scaled and c.convert == "cores":  # the sums of the block, and nothing more at the pass's end
            return 0, ceil(rows * outputs * c.accumulator_bits / 8)
        written = rows * outputs * 4 if pass_ends else 0
        if not self.scaled:
            return 0, written
        self.conversions += rows
        twice = 2 if self.minimum else 1
        if c.convert == "unit":

            def pipelined(sums: int) -> int:
                return c.convert_latency + ceil(sums / c.convert_units) * c.convert_interval

            scaling = pipelined(rows * outputs) if pass_ends else 0
            return pipelined(twice * rows * outputs) + scaling, written
        substrate = load_substrate(c.substrate.name)
        _, tally = int_to_fp32(np.zeros(1, np.int64), c.accumulator_bits)
        block = twice * (
            sum(many * substrate.cycles(op, n) for (op, n), many in tally.items()) + self._cost("scale_block")
        )
        lane = 1 if substrate.layout == "columns" else max(c.accumulator_bits, 32)
        rounds = ceil(outputs / (c.arrays * (c.cols // lane)))
        # The product with a row's activation scale is one a batch row and round, as the block's is.
        return rows * rounds * (block + (self._cost("scale_row") if pass_ends else 0)), written


@examples(150)
@given(
    substrate=st.sampled_from(["row_dfm", "bit_serial", "bit_parallel"]),
    k=st.integers(1, 60),
    wbits=st.integers(1, 8),
    abits=st.integers(1, 16),
    nbw=st.integers(1, 4),
    group_size=st.sampled_from([0, 1, 7, 32]),
    double_buffer=st.booleans(),
    n=st.integers(1, 900),
    batch=st.integers(1, 12),
    scales=st.sampled_from(["none", "scale", "minimum"]),
    convert=st.sampled_from(["memory", "unit", "cores"]),
    port_bytes=st.sampled_from([1, 5, 32]),
    buffers=st.sampled_from([(32768, 172032), (256, 172032), (1024, 3000), (256, 700)]),
)
@example(  # chunks of five, five and two rows, every one in passes of which the last is short
    substrate="row_dfm", k=30, n=200, batch=12, wbits=4, abits=8, nbw=4, group_size=7, scales="minimum",
    convert="memory", double_buffer=True, port_bytes=5, buffers=(320, 172032),
)  # fmt: skip
def test_a_tile_played_by_the_letter(
    substrate, k, n, batch, wbits, abits, nbw, group_size, scales, convert, double_buffer, port_bytes, buffers
):
    if convert == "unit" and substrate != "row_dfm":
        convert = "memory"
    config = load_system("sail-n1").slice_config(
        slices=1, arrays=2, rows=512, substrate=substrate, convert=convert, double_buffer=double_buffer,
        port_bytes=port_bytes, accumulator_bits=30, activation_buffer_bits=max(buffers[0], 2 * nbw * abits),
        accumulator_buffer_bits=buffers[1], t_zero=1, t_prt=1,
    )  # fmt: skip
    values = 2 if wbits == 1 else wbits
    shape = (k, n, batch, wbits, values, abits, nbw, group_size)
    scaled, minimum = scales != "none", scales == "minimum"
    tile = _core.TileTimer(config, shape, scaled, minimum)
    plan = tile.plan
    rng = np.random.default_rng(k * n)
    drawn = rng.multinomial(batch * abits, [0.3, 0.4, 0.3], plan.groups).astype(np.int32)
    profile = PatternProfile(*(np.ascontiguousarray(column) for column in drawn.T))
    (timing,) = tile.time([profile])

    played = Played(config, plan, k, batch, wbits, abits, nbw, group_size, scaled, minimum)
    played.play(profile)
    assert {phase: getattr(timing, phase) for phase in played.phases} == played.phases
    assert timing.total == played._computed + played._owed == sum(played.phases.values())
    for name in ("weight_bytes", "result_bytes", "activation_bytes", "conversions"):
        assert getattr(timing, name) == getattr(played, name), name
    # The order: the timeline has a row for every group of every pass, chunks outermost.
    timeline = _core.tile_timeline(config, shape, profile, scaled, minimum)
    assert len(timeline) == len(played.order) == plan.passes * plan.batch_chunks * plan.groups
    chunks = {first: i for i, first in enumerate(dict.fromkeys(first for first, _, _ in played.order))}
    expected = [(chunks[first] * plan.passes + at // plan.lanes, g) for first, at, g in played.order]
    assert [tuple(row[:2]) for row in timeline.tolist()] == expected

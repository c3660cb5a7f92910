"""The fast engine: one step against closed forms, conservation, and what must never get slower."""

from dataclasses import replace
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.sim.engine import PHASES, simulate_step
from sailsim.sim.files import load_system
from sailsim.sim.host import HostCores
from sailsim.sim.patterns import InputRows, ProfileCache, Scan
from sailsim.sim.point import Point
from sailsim.sim.system import System
from sailsim.sim.tiles import COUNTS, PimUnits, Shape, TimedTile, refetch_ratio
from sailsim.workloads.activations import Activations
from sailsim.workloads.formats import uniform_format
from sailsim.workloads.graph import decode_step
from sailsim.workloads.load import load_model
from sailsim.workloads.model import ModelSpec

SAIL = load_system("sail-n1")
MODEL = load_model("llama-2-7b")
SMALL = replace(MODEL, name="four-layers", n_layers=4)


@pytest.fixture(scope="module")
def captured() -> Activations:
    return Activations.load()


def changed(system: System, **values: float) -> System:
    """The system with other values of `section__field`."""
    for path, value in values.items():
        section, field = path.split("__")
        part = getattr(system, section)
        quantity = getattr(part, field).model_copy(update={"value": value})
        system = system.model_copy(update={section: part.model_copy(update={field: quantity})})
    return system


def step_s(captured: Activations, system: System = SAIL, model: ModelSpec = SMALL, **point: Any) -> float:
    return simulate_step(system, model, Point(**point), captured).step_s


@pytest.mark.parametrize("convert", ["memory", "cores"])
@pytest.mark.parametrize("batch", [1, 5])
def test_time_and_bytes_are_accounted_for(captured: Activations, convert: Any, batch: int) -> None:
    point = Point(batch=batch, convert=convert, threads=8)
    result = simulate_step(SAIL, SMALL, point, captured)
    assert tuple(result.breakdown) == PHASES
    assert min(result.breakdown.values()) >= 0
    assert sum(result.breakdown.values()) == pytest.approx(result.step_s, rel=1e-9)
    assert result.tokens_per_s == pytest.approx(batch / result.step_s)
    ops = decode_step(SMALL, uniform_format(point.wbits, point.group_size), batch, point.context)
    weights = sum(o.weight_bytes for o in ops if o.kind == "gemv")
    assert result.bytes_by_kind["weights"] == pytest.approx(weights)
    assert result.dram_bytes == pytest.approx(sum(o.weight_bytes + o.kv_bytes for o in ops))
    new = batch * SMALL.kv_bytes_per_token()
    assert result.bytes_by_kind["written"] == pytest.approx(new)
    assert result.step_s >= result.dram_bytes / SAIL.memory.peak_bandwidth.si


def test_counts_are_exact(captured: Activations) -> None:
    """The step's counts are those of every linear layer's own activations, scanned one by one."""
    point = Point(batch=3, nbw=3, abits=6, wbits=3).resolved(SAIL)
    result = simulate_step(SAIL, SMALL, point, captured)
    config = SAIL.slice_config()
    expected, total = dict.fromkeys(COUNTS, 0), dict.fromkeys(COUNTS, 0)
    for linear in SMALL.linears():
        x = captured.quantized(linear.role, linear.layer, 4, linear.k, 3, 0, abits=6)
        profile = _core.pattern_profile(x, 6, True, 3, 128, 32, "lru")
        plan = _core.plan_tile(config, linear.k, linear.n, 3, 3, 3, 6, 3, 128, True)
        timing = _core.time_tile(config, linear.k, linear.n, 3, 3, 3, 6, 3, 128, profile, True)
        assert timing.zero_patterns == plan.passes * int(profile.zero.sum())
        for name in COUNTS:
            expected[name] += getattr(timing, name)
            total[name] += getattr(timing, name) * -(-linear.n // plan.owned)
    assert result.counts == expected
    assert result.counts_total == total
    lookups = sum(expected[name] for name in ("zero_patterns", "prt_hits", "prt_misses"))
    assert expected["lookups"] == lookups


def test_without_a_prt_every_pattern_is_read(captured: Activations) -> None:
    with_prt = simulate_step(SAIL, SMALL, Point(batch=8), captured)
    without = simulate_step(SAIL, SMALL, Point(batch=8, prt=False), captured)
    assert without.counts["prt_hits"] == 0
    for name in ("lookups", "zero_patterns", "table_builds"):
        assert without.counts[name] == with_prt.counts[name]
    # A row read takes as long as a hit, so reads are saved and cycles are not, unless hits are free.
    assert without.counts["row_reads"] - with_prt.counts["row_reads"] == with_prt.counts["prt_hits"] > 0
    assert without.pim_cycles == with_prt.pim_cycles
    free = load_system("sail-n1-free-hits")
    saved = simulate_step(free, SMALL, Point(batch=8), captured).pim_cycles
    assert saved < simulate_step(free, SMALL, Point(batch=8, prt=False), captured).pim_cycles


def test_a_machine_with_plenty_of_everything_else_is_bound_by_its_slices(captured: Activations) -> None:
    """With endless bandwidth and cores and no latency, a step takes the cycles of its tiles."""
    rich = changed(
        SAIL,
        memory__channels=1e9,
        memory__latency=1e-6,
        llc__latency=1e-6,
        pim__port=2**20,
        pim__mshrs=1e6,
        cores__clock=1e9,
        host__submit=1e-9,
        host__poll=1e-9,
        host__barrier=1e-9,
        host__product_overhead=0,
    )
    result = simulate_step(rich, SMALL, Point(), captured)
    assert result.step_s == pytest.approx(result.pim_cycles / 1.8e9, rel=1e-6)
    assert result.breakdown["dram"] == pytest.approx(0, abs=1e-12)


def test_a_machine_with_plenty_of_everything_else_is_bound_by_its_dram(captured: Activations) -> None:
    """With endless clocks, a step takes its bytes over the share of the peak that each access gets."""
    rich = changed(
        SAIL,
        pim__clock=1e9,
        cores__clock=1e9,
        l2__mshrs=1e6,
        memory__core_share=1.0,
        memory__latency=1e-6,
        llc__latency=1e-6,
        pim__mshrs=1e6,
        pim__prefetch_depth=0,
        host__submit=1e-9,
        host__poll=1e-9,
        host__barrier=1e-9,
        host__product_overhead=0,
    )
    result = simulate_step(rich, SMALL, Point(batch=4), captured)
    moved, dram = result.bytes_by_kind, SAIL.memory
    expected = (
        moved["weights"] / dram.read_share.value
        + moved["read"] / dram.read_share.value
        + moved["written"] / dram.write_share.value
    ) / dram.peak_bandwidth.si
    assert result.step_s == pytest.approx(expected, rel=1e-4)


def test_what_must_never_be_slower(captured: Activations) -> None:
    base = step_s(captured, batch=4)
    better = {
        "memory__clock": 3.2,
        "memory__channels": 16,
        "memory__latency": 80,
        "llc__latency": 30,
        "pim__mshrs": 32,
        "pim__fetch_ahead": 8,
        "memory__read_share": 0.95,
        "memory__core_share": 0.9,
        "pim__clock": 2.5,
        "pim__arrays": 32,
        "pim__port": 64,
        "pim__prefetch_depth": 3,
        "pim__prefetch_share": 0.9,
        "cores__clock": 3.0,
        "host__submit": 10,
        "host__poll": 10,
        "host__barrier": 10,
    }
    for path, value in better.items():
        # Weights that come sooner may meet another core task: a few millionths.
        assert step_s(captured, changed(SAIL, **{path: value}), batch=4) <= base * (1 + 1e-5), path


def test_a_batch_in_chunks_reads_its_weights_again(captured: Activations) -> None:
    """The transposed layout holds the sums of few rows only."""
    result = simulate_step(SAIL, SMALL, Point(batch=32, substrate="bit_serial", wbits=8), captured)
    ops = decode_step(SMALL, uniform_format(8, 128), 32, 512)
    config = SAIL.slice_config(substrate="bit_serial")
    chunks = _core.plan_tile(config, 4096, 4096, 32, 8, 8, 8, 4, 128, True).batch_chunks
    once = sum(o.weight_bytes for o in ops if o.kind == "gemv")
    assert chunks > 1
    assert result.bytes_by_kind["weights"] == pytest.approx(chunks * once)


def test_a_step_is_deterministic_and_seeds_differ(captured: Activations) -> None:
    first = simulate_step(SAIL, SMALL, Point(batch=2), captured)
    assert simulate_step(SAIL, SMALL, Point(batch=2), captured) == first
    other = simulate_step(SAIL, SMALL, Point(batch=2, seed=1), captured)
    assert other.counts["prt_hits"] != first.counts["prt_hits"]


def test_bad_points_end_in_one_sentence(captured: Activations, tmp_path: Path) -> None:
    with pytest.raises(SailsimError, match=r"threads is 65; allowed on sail-n1 is at most 64\."):
        step_s(captured, threads=65)
    with pytest.raises(SailsimError, match=r"graviton2 has no enabled \[pim\] section"):
        step_s(captured, load_system("graviton2"))
    with pytest.raises(SailsimError, match=r"has no enabled \[pim\] section"):
        step_s(captured, SAIL.baseline())
    with pytest.raises(SailsimError, match=r"tile cannot run: .*rows"):
        step_s(captured, changed(SAIL, pim__rows=20), nbw=4)
    bad = {"wbits": 9, "abits": 0, "nbw": 7, "batch": 0, "seed": -1, "threads": 1.5}
    for field, value in bad.items():
        with pytest.raises(SailsimError, match=f"{field} is {value}; allowed is a whole number"):
            Point(**{field: value})  # type: ignore[arg-type]
    with pytest.raises(
        SailsimError, match="substrate is 'magic'; allowed are bit_parallel, bit_serial, row_dfm"
    ):
        Point(substrate="magic")


def shaped(captured: Activations, units: PimUnits, shape: Shape, scaled: bool = True) -> TimedTile:
    rows = InputRows("attn_in", 0, 32, shape.k, shape.batch, 0)
    profile = ProfileCache().captured(captured, rows, units.scan(8, True, shape.nbw, shape.group_size))
    return units.tile(shape, profile, shape.k * shape.n * shape.wbits / 8, scaled)


def test_a_tile_pays_for_its_operands_and_results(captured: Activations) -> None:
    units = PimUnits(SAIL, substrate=None, convert=None, prt=True)
    near = 35e-9 - 11 / 2.5e9  # of a unit: the LLC's latency without the private caches of a core
    port = 64 / (32 * 1.8e9)
    tile = shaped(captured, units, Shape(4096, 4096, 3, 4, 4, 8, 4, 128))
    # 3 x (4096 + 4) bytes of activations and their scales, 3 x 128 results of 4 bytes.
    # 16 lines under way: each 16 wait for those before, the last 7 of 24 for the port too.
    assert tile.edges.operands == pytest.approx(near * (1 + 192 / 16))
    assert tile.edges.results == pytest.approx(near * 2 + 7 * port)
    assert tile.edges.descriptor == tile.edges.record == pytest.approx(near)
    assert tile.seconds == pytest.approx(tile.timing.total / 1.8e9 + sum(tile.edges))
    # In a trace the activations lie in memory.
    far = PimUnits(SAIL, substrate=None, convert=None, prt=True, operands="dram")
    # Results of whole lines are only written; what fills a part of a line waits until it has been read.
    asked = near + 7 * port
    assert far.results(24 * 64) == units.results(24 * 64) == pytest.approx(asked + near)
    assert far.results(24 * 64 - 4) == pytest.approx(asked + far.dram.latency)
    assert units.results(24 * 64 - 4) == pytest.approx(asked + near)
    assert shaped(captured, far, Shape(4096, 4096, 3, 4, 4, 8, 4, 128)).edges.operands == pytest.approx(
        far.dram.latency * (1 + 192 / 16)
    )


def test_weights_on_chip_come_as_fast_as_the_lines_under_way_allow(captured: Activations) -> None:
    """A group of 344 outputs of 8 bits is worked on faster than 16 lines from the LLC bring it."""
    shape = Shape(4096, 11008, 1, 8, 8, 8, 4, 0)
    units = PimUnits(SAIL, substrate=None, convert=None, prt=True)
    tile = shaped(captured, units, shape, scaled=False)
    assert tile.timing.total / 1.8e9 == pytest.approx(4096 * 344 / units.chip.rate, rel=0.01)
    wide = PimUnits(changed(SAIL, pim__mshrs=64), substrate=None, convert=None, prt=True)
    assert shaped(captured, wide, shape, scaled=False).timing.load < tile.timing.load / 10


@pytest.mark.parametrize(
    ("k", "outputs", "lanes", "wbits", "line"), [(1, 9, 4, 3, 64), (77, 300, 41, 4, 64), (200, 96, 95, 5, 48)]
)
def test_every_line_that_a_pass_touches_is_asked_for_once(
    k: int, outputs: int, lanes: int, wbits: int, line: int
) -> None:
    row = ceil(outputs * wbits / 8)
    every, asked = set(), 0
    for first in range(0, outputs, lanes):
        bits = range(first * wbits, min(first + lanes, outputs) * wbits)
        lines = {(at * row + bit // 8) // line for at in range(k) for bit in bits}
        asked += len(lines)
        every |= lines
    assert refetch_ratio(k, outputs, lanes, wbits, line) == pytest.approx(asked / len(every) - 1)


def test_parts_of_rows_take_whole_lines() -> None:
    # 672 outputs of 4 bits at once: rows of 350 bytes are taken as 336 and 14.
    lines: set[int] = set()
    fetched = 0
    for first, last in ((0, 335), (336, 349)):
        asked = {at // 64 for row in range(64) for at in range(350 * row + first, 350 * row + last + 1)}
        fetched += len(asked)
        lines |= asked
    assert refetch_ratio(64, 700, 672, 4, 64) == pytest.approx(fetched / len(lines) - 1)
    # Rows of whole lines, cut at a line's end, are fetched once.
    assert refetch_ratio(64, 1344, 672, 4, 16) == 0
    assert refetch_ratio(64, 344, 672, 4, 64) == 0


def test_the_cache_grows_with_the_context(captured: Activations) -> None:
    """Every sequence reads its keys and values, and writes one token's; the time follows."""
    results = [simulate_step(SAIL, SMALL, Point(batch=2, context=c), captured) for c in (1000, 2000, 4000)]
    reads = [r.bytes_by_kind["read"] for r in results]
    token = 2 * SMALL.kv_bytes_per_token()
    assert reads[1] - reads[0] == pytest.approx(1000 * token)
    assert reads[2] - reads[1] == pytest.approx(2000 * token)
    assert [r.bytes_by_kind["written"] for r in results] == pytest.approx([token] * 3)
    grown = [b.breakdown["cores"] - a.breakdown["cores"] for a, b in pairwise(results)]
    assert grown[1] == pytest.approx(2 * grown[0], rel=0.01)
    assert grown[0] > 1000 * token / HostCores(SAIL, Point().threads).dram


def test_the_profile_cache_is_bounded_and_exact() -> None:
    rng = np.random.default_rng(0)
    scan = Scan(8, True, 4, 0, 32, "lru")
    inputs = [rng.integers(-128, 128, (1, 1024), dtype=np.int8) for _ in range(20)]
    # All of these take the same room.
    cache = ProfileCache(limit=5 * ProfileCache().scanned(inputs[0], scan).packed.bytes)
    keys = {cache.scanned(x, scan).key for x in inputs}
    assert len(keys) == 20
    assert len(cache._profiles) == 5
    again = cache.scanned(inputs[0], scan)
    fresh = _core.pattern_profile(inputs[0], 8, True, 4, 0, 32, "lru")
    assert again.key in keys
    assert np.array_equal(again.counts.hits, fresh.hits)

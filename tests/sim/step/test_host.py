"""What the cores take for their part of a step, in closed form."""

from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Quantity
from sailsim.sim.backends.cores import predict_cores
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system, vary
from sailsim.sim.step.schedule import HostCores
from sailsim.sim.step.tiles import PimUnits, TileKind, TileRequest, TileShape
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import uniform_format
from sailsim.workloads.models.graph import Op, attention_on_units, decode_step
from sailsim.workloads.models.model import ModelSpec

SAIL = load_system("sail-n1")
MODEL = load_model("smollm2-135m")
CLOCK = SAIL.cores.clock.si
PROGRAM = load_system("sail-n1-neon-host")


@pytest.mark.parametrize(("slices", "threads", "turns"), [(32, 5, 7), (32, 32, 1), (33, 32, 2), (1, 64, 1)])
def test_a_thread_reads_one_record_and_writes_one_descriptor_after_the_other(slices, threads, turns):
    cores = HostCores(SAIL, threads)
    assert cores.polling("x", slices, 0).seconds == pytest.approx(turns * SAIL.host.poll.si)
    handed = cores.submission("x", slices).seconds - cores.hand_over
    assert handed == pytest.approx(turns * SAIL.host.submit.si)


@pytest.mark.parametrize(
    ("threads", "batch", "width"), [(1, 1, 1), (8, 1, 8), (9, 1, 9), (16, 1, 9), (64, 3, 27), (64, 8, 64)]
)
def test_attention_is_on_a_thread_a_head_and_sequence_at_most(threads, batch, width):
    assert MODEL.n_heads == 9
    op = Op("attention", "attention", 0, batch, kv_bytes=1e6, macs=10**9)
    work = HostCores(SAIL, threads).work(op, MODEL, 0)[1]
    assert work.seconds == pytest.approx(1e9 / (width * CLOCK * SAIL.host.attention_rate.value))


def test_the_cache_grows_by_what_attention_writes():
    op = Op("attention", "attention", 0, 3, kv_bytes=1e6, macs=1)
    cache = HostCores(SAIL, 4).work(op, MODEL, 0)[0]
    written = 3 * MODEL.d_cached * 2  # keys and values of fp16, a row a sequence
    assert (cache.read, cache.written) == (1e6 - written, written)
    narrow: ModelSpec = replace(MODEL, kv_bits=8)
    scales = 3 * 2 * MODEL.n_kv_heads * 2  # of fp16, a head's key and value each
    assert HostCores(SAIL, 4).work(op, narrow, 0)[0].written == written / 2 + scales


def of_host(**fields: float) -> System:
    """SAIL with quantities of the host that its file does not have."""
    units = {"bare_metal": "ns", "result_copy": "cycles"}
    own = {
        name: Quantity(value=value, unit=units.get(name, "ratio"), source="a test", kind="derived")
        for name, value in fields.items()
    }
    return SAIL.model_copy(update={"host": SAIL.host.model_copy(update=own)})


def test_bare_metal_loses_the_same_at_every_product_on_cores_and_units():
    virtual, metal = HostCores(SAIL, 4), HostCores(of_host(bare_metal=2e4), 4)
    assert metal.hand_over - virtual.hand_over == pytest.approx(2e-5)
    assert metal.product_overhead - virtual.product_overhead == pytest.approx(2e-5)
    model, fmt = load_model("llama-2-7b"), uniform_format(4, 32)
    unsaid, told, slow = (
        predict_cores(system, model, fmt, 64)
        for system in (SAIL, of_host(bare_metal=0), of_host(bare_metal=2e4))
    )
    assert (told.step_s, told.high) == (unsaid.step_s, unsaid.high)
    assert told.low > unsaid.low  # its interval need not hold bare metal
    assert slow.step_s - told.step_s == pytest.approx((7 * model.n_layers + 1) * 2e-5)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_attention_that_fetches_ahead_computes_while_its_cache_comes(share):
    op = Op("attention", "attention", 0, 3, kv_bytes=1e6, macs=10**9)
    turns = HostCores(SAIL, 4).work(op, MODEL, 0)
    ahead = HostCores(of_host(attention_ahead=share), 4).work(op, MODEL, 0)
    assert [(task.read, task.written, task.rate) for task in ahead] == [
        (task.read, task.written, task.rate) for task in turns
    ]
    assert ahead[0].seconds == pytest.approx(share * turns[1].seconds)
    assert ahead[0].seconds + ahead[1].seconds == pytest.approx(turns[1].seconds)


def replace_program(**fields: float) -> System:
    """The program's machine with other cycles of its attention."""
    return vary(PROGRAM, {f"host.program.{name}": value for name, value in fields.items()})


def of_program(threads: int, kv_bits: int, context: int, batch: int = 1) -> tuple[float, float, float]:
    """Seconds, bytes read and seconds of barriers of attention as this project's program does it."""
    cores, model = HostCores(PROGRAM, threads), MODEL.with_kv_bits(kv_bits)
    op = next(
        op for op in decode_step(model, uniform_format(4, 32), batch, context) if op.kind == "attention"
    )
    *attend, meet = cores.work(op, model, 0)
    seconds, read = (sum(getattr(task, name) for task in attend) for name in ("seconds", "read"))
    return seconds, read, meet.seconds / cores.barrier


def test_one_thread_of_the_program_does_all_products_and_the_rest_of_every_head():
    p, macs = PROGRAM.host.program, 2 * 9 * 64 * 512
    widened = 2 * 3 * 64 * 512 * p.widening.value  # once for the three heads that share a head of keys
    cycles = macs / PROGRAM.host.attention_rate.value + widened + 9 * p.head.value
    assert of_program(1, 16, 512)[0] == pytest.approx(cycles / CLOCK)
    score = p.softmax.value + p.codes_score.value
    own = 9 * (512 * score + p.codes_head.value) + 3 * 64 / 16 * p.codes_start.value
    apart = [(p.codes_keys, p.codes_keys_shared), (p.codes_values, p.codes_values_shared)]
    # Three heads of queries share a key: (1/3 - 1/4) / (1 - 1/4) of the way.
    products = sum(1 / four.value + (1 / one.value - 1 / four.value) / 9 for one, four in apart)
    assert of_program(1, 8, 512)[0] == pytest.approx((macs / 2 * products + own) / CLOCK)


def test_over_codes_a_cache_is_read_with_keys_and_values_and_not_between():
    cores, model = HostCores(PROGRAM, 16), MODEL.with_kv_bits(8)
    op = next(op for op in decode_step(model, uniform_format(4, 32), 8, 512) if op.kind == "attention")
    keys, between, values, _ = cores.work(op, model, 0)
    assert (keys.read, keys.written) == (values.read, values.written)
    assert (between.read, between.written) == (0, 0)
    assert keys.read + values.read + 2 * keys.written == op.kv_bytes
    p = PROGRAM.host.program
    most = 5  # of 72 heads of queries
    score = p.softmax.value + p.codes_score.value
    assert between.seconds == pytest.approx(most * (512 * score + p.codes_head.value) / CLOCK)
    # Of 96 pieces of 16 numbers a thread has six, and all threads begin together.
    started = replace_program(codes_start=p.codes_start.value + 10)
    later = HostCores(started, 16).work(op, model, 0)[2]
    assert later.seconds - values.seconds == pytest.approx(6 * 16 * 10 / CLOCK)


def test_a_key_that_serves_four_heads_saves_its_loads_alone():
    assert replace_program(codes_keys_shared=4 * PROGRAM.host.program.codes_keys.value)
    with pytest.raises(SailsimError, match=r"codes_keys_shared is 60 .* allowed is at most four times"):
        replace_program(codes_keys_shared=60)


@pytest.mark.parametrize(("threads", "most"), [(1, 9), (4, 3), (16, 1)])
def test_the_softmax_of_a_head_of_queries_is_on_one_thread_where_units_multiply(threads, most):
    model = MODEL.with_kv_bits(8)
    step = decode_step(model, uniform_format(4, 32), 1, 512)
    (op,) = (op for op in attention_on_units(step, model, 512, 64) if op.name == "blk.0.attn_softmax")
    softmax, _ = HostCores(PROGRAM, threads).work(op, model, 0)
    program = PROGRAM.host.program
    cycles = most * 512 * (program.score_copy.value + program.softmax.value)
    assert softmax.seconds == pytest.approx(cycles / CLOCK)
    (scores,) = (op for op in attention_on_units(step, model, 512, 64) if op.name == "blk.0.attn_scores")
    waits = HostCores(PROGRAM, threads).collecting(scores, 32, 1, 1.0, last=False)
    assert all(task.sync for task in waits)  # and nothing is copied there
    other, _ = HostCores(SAIL, threads).work(op, model, 0)  # measured software: by its flops
    assert other.seconds == HostCores(SAIL, threads).seconds(op.flops, op.act_bytes)


@pytest.mark.parametrize(
    ("threads", "context", "runs", "heads"), [(1, 64, 6, 9), (4, 64, 2, 3), (16, 64, 1, 1), (16, 512, 3, 1)]
)
def test_threads_of_the_program_take_turns_at_runs_of_positions_and_then_at_heads(
    threads, context, runs, heads
):
    """Of three heads of keys with so many runs of 32 positions, and of nine heads of queries."""
    p, macs = PROGRAM.host.program, 2 * 9 * 64 * context
    own = macs / PROGRAM.host.attention_rate.value + macs / 3 * p.widening.value
    cycles = own * runs / (3 * context / 32) + heads * p.head.value
    assert of_program(threads, 16, context)[0] == pytest.approx(cycles / CLOCK)


def test_the_program_reads_its_cache_while_it_computes():
    seconds, read, barriers = of_program(4, 16, 512, batch=3)
    assert (read, barriers) == (3 * 512 * 2 * 192 * 2, 1 + PROGRAM.host.program.barriers.value)
    assert of_program(4, 8, 512)[2] == 1 + PROGRAM.host.program.codes_barriers.value
    assert seconds > 0


@pytest.mark.parametrize(("slices", "threads", "share"), [(32, 1, 1), (32, 16, 1 / 16), (32, 5, 7 / 32)])
def test_results_are_copied_tile_by_tile_where_a_machine_says_so(slices, threads, share):
    op = Op("head", "gemv", 0, batch=3, k=256, n=1000, macs=3 * 256 * 1000)
    (poll,) = HostCores(SAIL, threads).collecting(op, slices, 1, 1, last=False)
    assert poll.sync  # and no copy: the units leave results in place
    poll, copy = HostCores(of_host(result_copy=1.5), threads).collecting(op, slices, 1, 1, last=False)
    assert poll.needs == copy.needs == 1
    assert not copy.sync
    assert copy.seconds == pytest.approx(share * 3000 * 1.5 / CLOCK)


@pytest.mark.parametrize(("tiles", "hidden"), [(1, 0), (3, 2), (4, 3), (10, 3)])  # a queue of 4 descriptors
def test_a_thread_sees_done_what_has_room_in_the_queues_while_units_work(tiles, hidden):
    op = Op("head", "gemv", 0, batch=1, k=256, n=1000, macs=256 * 1000)
    cores = HostCores(of_host(result_copy=1.5), 16)  # two slices a thread
    submit, poll = SAIL.host.submit.si, SAIL.host.poll.si
    copied = 1000 / 16 * 1.5 / CLOCK / tiles
    meanwhile = sum(task.seconds for task in cores.meanwhile(op, 32, tiles))
    assert meanwhile == pytest.approx((tiles - 1) * 2 * submit + hidden * (2 * poll + copied))
    after = [task.seconds for task in cores.collecting(op, 32, 1, tiles, last=False)]
    assert after == pytest.approx([(tiles - hidden) * 2 * poll, (tiles - hidden) * copied])


@given(slices=st.integers(1, 40), threads=st.integers(1, 40), copy=st.floats(0, 60), units=st.floats(0, 1e-4))
def test_a_thread_collects_tiles_as_the_units_finish_them(slices, threads, copy, units):
    cores = HostCores(of_host(result_copy=copy) if copy else SAIL, threads)
    op, tiles = Op("x", "gemv", 0, batch=1, k=1, n=4 * slices, macs=4 * slices), ceil(slices / threads)
    submit, each = cores.submit, cores.poll + 4 * cores.copy
    now = tiles * submit  # tile by tile: each is done so long after it was handed over
    for tile in range(tiles):
        now = max(now, (tile + 1) * submit + units) + each
    told = tiles * submit
    for task in cores.collecting(op, slices, 1, 1, last=True):
        told = max(told, tiles * submit + units) if task.needs else told
        told += task.seconds
    more = told - now  # nothing, unless collecting alone takes longer than the units
    assert -1e-12 <= more <= (0 if units > tiles * each else (tiles - 1) * max(0, each - submit)) + 1e-12


def test_converting_on_the_cores_reads_sums_and_writes_results():
    op = Op("q", "gemv", 0, batch=3, k=256, n=1000)
    sums = 3 * 1000 * 8
    # However quick the arithmetic: four bytes of every sum come, four of every result go.
    quick = vary(SAIL, {"host.convert_cycles": 1e-9})
    convert = HostCores(quick, 4).conversion(op, blocks=8, needs=0)[0]
    rate = 4 * CLOCK * SAIL.llc.core_bandwidth.value
    assert convert.seconds == pytest.approx((4 * sums + 4 * 3 * 1000) / rate)
    slow = vary(SAIL, {"host.convert_cycles": 20, "host.simd_share": 0.01})  # of norms, not of this
    convert = HostCores(slow, 4).conversion(op, blocks=8, needs=0)[0]
    scales = 1000 * 8  # of all rows
    assert convert.seconds == pytest.approx(20 * (sums + scales) / (4 * CLOCK))


@pytest.mark.parametrize(("abits", "size"), [(1, 1), (8, 1), (9, 2), (16, 2)])
@pytest.mark.parametrize("scaled", [False, True])
def test_operands_are_a_byte_an_activation_or_two_and_its_rows_scale(abits, size, scaled):
    units = PimUnits(SAIL, substrate=None, convert=None, prt=True)
    shape = TileShape(2048, 1000, 3, 4, 4, abits, 4, 128)
    kind = TileKind(units, TileRequest(shape, 1e6, scaled, codebook=512))
    expected = 3 * (2048 * size + (4 if scaled else 0)) + 512
    assert kind.overheads["operands"] == pytest.approx(units.operands.seconds(expected))

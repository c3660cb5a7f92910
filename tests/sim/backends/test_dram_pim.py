"""DRAM with bank-level MACs: accesses by hand, and what its memory holds."""

from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.sim.backends.dram_pim import PHASES, DramPimSpec, bank_time
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point
from sailsim.sim.step.engine import accelerator_of, simulate_step
from sailsim.sim.step.gemv_times import Gemm, GemvTime
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import uniform_format

from .predictions import varied

SYSTEM = load_system("aim-n1")
SECTION = SYSTEM.accelerator
assert isinstance(SECTION, DramPimSpec)
LLAMA = load_model("llama-2-7b")
SMALL = load_model("smollm2-135m")


def job(k: int, n: int, batch: int = 1, **values: float | str) -> GemvTime:
    return bank_time(varied(SECTION, **values), Gemm(k, n, batch))


def test_one_product_by_hand():
    # 2 banks, 3 outputs: 2 an output each; 10 weights of 16 bits in rows of 16 bytes are 8 and 2.
    found = job(10, 3, channels=1, banks=2, row=16, buffer=32, access=8, open=20, tccd=2, compute=3, close=10,
                cycle=5, write=1, read=4, refresh=0, link=1, link_latency=100)  # fmt: skip
    # An access holds 4 weights: 2 accesses of the first piece, 1 of the second.
    ns = dict(zip(PHASES, (seconds * 1e9 for seconds in found.numbers), strict=True))
    assert ns == pytest.approx({
        "link": 100 + 10 * 2 + 3 * 2,
        "buffer": 2 + 1,
        "rows": 2 * (20 + 10) + 2 * (20 + 10),
        "multiply": 2 * 3,
        "results": 4 * 4,
    })  # fmt: skip
    assert found.counts == (4, 6, 4)
    assert found.seconds == pytest.approx(sum(found.numbers))
    assert (found.bytes, found.blocks, found.throttled(1.0)) == (0, 1, found.seconds)


def test_sums_that_stay_in_registers_by_hand():
    # 2 banks, 6 outputs: 3 each, 2 of them and then 1 have registers. 12 weights of 16 bits are 8 and 4.
    found = job(12, 6, channels=1, banks=2, row=32, buffer=16, access=8, registers=2, lanes=4, open=20,
                tccd=2, compute=3, close=10, cycle=5, write=1, read=4, refresh=0, link=1, link_latency=100,
                sums="cores")  # fmt: skip
    # An access holds 4 weights, a row 4 accesses. Two outputs with a piece of two accesses fill a row.
    ns = dict(zip(PHASES, (seconds * 1e9 for seconds in found.numbers), strict=True))
    assert ns == pytest.approx({
        "link": 100 + 12 * 2 + 6 * 4 * 2,
        "buffer": 2 * (2 + 1),  # the input passes twice
        "rows": 4 * (20 + 10),
        "multiply": (3 + 1 + 1 + 0) * 3,
        "results": 3 * 4,
    })  # fmt: skip
    assert found.counts == (4, 9, 3)
    assert found.blocks == 4


def test_refreshes_and_rows_of_a_batch_take_their_time():
    idle, busy = job(4096, 4096, refresh=0), job(4096, 4096, refresh=833.25)  # half of the interval
    assert busy.seconds - busy.numbers[0] == pytest.approx(2 * (idle.seconds - idle.numbers[0]))
    one, eight = job(4096, 4096), job(4096, 4096, batch=8)
    assert sum(eight.numbers[1:]) == pytest.approx(8 * sum(one.numbers[1:]))
    assert eight.counts == tuple(8 * count for count in one.counts)


@given(k=st.integers(1, 20000), n=st.integers(1, 20000), registers=st.integers(0, 9),
       buffer=st.sampled_from([256, 1024, 2048]))  # fmt: skip
def test_every_weight_of_a_ragged_product_has_a_place_in_a_row(k, n, registers, buffer):
    found = job(k, n, registers=registers, buffer=buffer)
    opened, accesses, read = found.counts
    owned, turns = ceil(n / 512), ceil(k / (buffer // 2))
    assert accesses == owned * (k // (buffer // 2) * (buffer // 32) + ceil(k % (buffer // 2) / 16))
    assert accesses / 64 <= opened <= owned * turns
    assert read == (owned if registers else owned * turns)
    groups = ceil(owned / registers) if registers else 1
    inputs = k // (buffer // 2) * (buffer // 32) + ceil(k % (buffer // 2) / 16)
    busy = 1 - SECTION.refresh.si / SECTION.refresh_interval.si  # type: ignore[union-attr]
    assert found.numbers[1] * busy * 1e9 == pytest.approx(groups * inputs)


def test_a_step_takes_nothing_of_the_servers_dram_for_weights():
    result = simulate_step(SYSTEM, SMALL, Point(system="aim-n1", model=SMALL.name, threads=4))
    assert tuple(result.breakdown) == ("dram", *PHASES, "cores", "sync")
    assert sum(result.breakdown.values()) == pytest.approx(result.step_s)
    assert result.breakdown["dram"] == 0
    assert result.bytes_by_kind["weights"] == 0
    assert any("16 bits" in note for note in result.notes)


def test_its_memory_holds_matrices_in_whole_rows():
    backend = accelerator_of(SYSTEM)
    stored = backend.stored(SYSTEM, LLAMA, uniform_format(4, 128))
    assert stored is not None
    assert stored.limit == 32 * 16 * 32 * 2**20
    # 8 outputs a bank of 4 rows each, 22 of 4, 8 of 11; 63 of 4 of the head.
    rows = 32 * (4 * 8 * 4 + 2 * 22 * 4 + 8 * 11) + 63 * 4
    assert stored.needed == 512 * 2048 * rows
    # The server keeps the table of embeddings, which is the head's matrix where a model ties them, and norms.
    four = uniform_format(4, 128)
    kept = four.model_bytes(LLAMA) - stored.spared
    assert kept == pytest.approx(32000 * 4096 * 4.125 / 8 + 4 * 4096 * 65, rel=0.01)
    tied = backend.stored(SYSTEM, SMALL, four)
    assert tied is not None
    assert four.model_bytes(SMALL) - tied.spared > four.embedding(SMALL).column_bytes(576) * 49152
    wide = backend.stored(SYSTEM, load_model("llama-2-13b"), uniform_format(4, 128))
    assert wide is not None
    assert wide.needed > wide.limit
    assert backend.stored(SYSTEM, replace(SMALL, n_layers=2), uniform_format(4, 128)).needed < wide.limit  # type: ignore[union-attr]

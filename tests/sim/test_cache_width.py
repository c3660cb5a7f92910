"""The width of keys and values as an axis: bytes, the cores' work, and nothing where it is as before."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim import workloads
from sailsim.base.errors import SailsimError
from sailsim.sim.backend import memory_needed
from sailsim.sim.engine import simulate_step
from sailsim.sim.files import load_system
from sailsim.sim.host import HostCores
from sailsim.sim.point import Point
from sailsim.workloads.formats import uniform_format
from sailsim.workloads.graph import ROUND_FLOPS, UNPACK_FLOPS, decode_step, prefill_step
from sailsim.workloads.load import load_model
from sailsim.workloads.model import KV_BITS

from ..examples import examples

SAIL = load_system("sail-n1")
MODEL = load_model("smollm2-135m")
FMT = uniform_format(4, 128)


def attention(ops: list) -> object:  # type: ignore[type-arg]
    return next(op for op in ops if op.kind == "attention")


@given(st.sampled_from(KV_BITS), st.integers(1, 9), st.integers(1, 5000))
def test_the_cache_has_codes_and_a_scale_a_head_and_token(bits: int, batch: int, context: int) -> None:
    model = MODEL.cached(bits)
    scales = 2 * MODEL.n_kv_heads * 2 if bits <= 8 else 0
    a_token = MODEL.n_layers * (2 * MODEL.n_kv_heads * MODEL.head_dim * bits / 8 + scales)
    assert model.kv_bytes_per_token() == a_token
    assert memory_needed(model, FMT, batch, context) == FMT.model_bytes(MODEL) + a_token * batch * context
    for ops in (decode_step(model, FMT, batch, context), prefill_step(model, FMT, context, batch)):
        plain = decode_step(MODEL, FMT, batch, context) if ops[0].batch == batch else None
        op = attention(ops)
        assert op.kv_bytes == a_token / MODEL.n_layers * (batch * context + op.batch)
        elements = 2 * MODEL.n_kv_heads * MODEL.head_dim * (bits <= 8)
        assert op.cache_flops == elements * (ROUND_FLOPS * op.batch + UNPACK_FLOPS * batch * context)
        if plain is not None:
            assert op.flops - op.cache_flops == attention(plain).flops
            assert op.macs == attention(plain).macs


def test_a_files_own_few_bits_are_those_that_a_point_asks_for(tmp_path: Path) -> None:
    """Same bytes, same room, same work of the cores, same notes: the units assume the scales anyway."""
    text = (Path(workloads.__file__).parent / "models" / f"{MODEL.name}.toml").read_text("utf-8")
    path = tmp_path / "own.toml"
    for bits in (4, 8):
        path.write_text(text.replace("kv_bits = 16", f"kv_bits = {bits}"))
        own = load_model(path)
        assert own == MODEL.cached(bits)
        assert memory_needed(own, FMT, 8, 512) == memory_needed(MODEL.cached(bits), FMT, 8, 512)
        for attention_by in ("cores", "units"):
            point = Point(batch=8, context=64, kv_bits=bits, attention=attention_by)  # type: ignore[arg-type]
            assert simulate_step(SAIL, own, point) == simulate_step(SAIL, MODEL, point)
    unsaid, said = (simulate_step(SAIL, own, Point(batch=8, context=64, kv_bits=b)) for b in (0, 8))
    assert (unsaid.step_s, unsaid.bytes_by_kind, unsaid.notes) == (
        said.step_s,
        said.bytes_by_kind,
        said.notes,
    )


@pytest.mark.parametrize(("bits", "scale", "allowed"), [(8, 0, 16), (16, 16, 0), (4, 8, 16)])
def test_scales_that_the_width_does_not_have_are_one_sentence(
    bits: int, scale: int, allowed: int, tmp_path: Path
) -> None:
    text = (Path(workloads.__file__).parent / "models" / f"{MODEL.name}.toml").read_text("utf-8")
    path = tmp_path / "own.toml"
    path.write_text(text.replace("kv_bits = 16", f"kv_bits = {bits}\nkv_scale_bits = {scale}"))
    with pytest.raises(
        SailsimError, match=rf"kv_scale_bits is {scale}; allowed is {allowed} where kv_bits is {bits}\.$"
    ):
        load_model(path)


@examples(10)
@given(st.sampled_from(KV_BITS[:-2]), st.integers(1, 4), st.integers(64, 2048))
def test_the_cores_unpack_what_attention_reads(bits: int, batch: int, context: int) -> None:
    """Beside less reading: on an otherwise equal step the difference is bytes and vector operations."""
    model = replace(MODEL, n_layers=1)
    point = Point(batch=batch, context=context, kv_bits=bits)
    tasks = [
        HostCores(SAIL, 16).work(attention(decode_step(each, FMT, batch, context)), each, 0)
        for each in (model, model.cached(bits))
    ]
    read = [own[0].read for own in tasks]
    assert read[1] == model.cached(bits).cached_bytes * batch * context
    assert read[0] == model.cached_bytes * batch * context
    assert tasks[1][0].written == model.cached(bits).cached_bytes * batch
    flops = attention(decode_step(model.cached(bits), FMT, batch, context)).cache_flops
    assert tasks[1][1].seconds - tasks[0][1].seconds == pytest.approx(flops / HostCores(SAIL, 16).flops)
    result = simulate_step(SAIL, model, point)
    assert result == simulate_step(SAIL, model.cached(bits), point)
    assert any(f"to {bits} bits" in note for note in result.notes)


@pytest.mark.parametrize("bits", [1, 9, 15, 64, -1, 4.0, "4"])
def test_other_widths_are_one_sentence(bits: object) -> None:
    with pytest.raises(SailsimError, match=r"^kv_bits is .*; allowed are 2\.\.8, 16 or 32, and 0 for"):
        Point(kv_bits=bits)  # type: ignore[arg-type]

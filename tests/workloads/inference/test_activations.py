from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.workloads.inference import activation_file as activations
from sailsim.workloads.inference.activation_file import CODE_MAX, Activations
from sailsim.workloads.inference.capture import capture
from sailsim.workloads.models.model import ROLES

from ...examples import examples
from ...refusals import refusal


@pytest.fixture(scope="module")
def shipped() -> Activations:
    return Activations.load()


@pytest.mark.slow
def test_the_installed_model_gives_the_shipped_capture(shipped, smollm2_path):
    again = capture(smollm2_path, layers="every-third", keep=32)
    assert {key: again.meta[key] for key in ("sha256", "tokens", "positions", "text")} == {
        key: shipped.meta[key] for key in ("sha256", "tokens", "positions", "text")
    }
    for role in ROLES:
        np.testing.assert_allclose(again.scales[role], shipped.scales[role], rtol=1e-3)
        # Other BLAS libraries sum in other orders; a thousandth of a row's largest value is beyond that.
        difference = np.abs(again.codes[role].astype(int) - shipped.codes[role])
        assert difference.max() <= CODE_MAX / 1000


@pytest.mark.parametrize("abits", [1, 2, 3, 8, 9, 16])
def test_rounding_to_fewer_bits(shipped, abits):
    arguments = ("ffn_in", 3, 32, 576, 4)
    rows, ints = (shipped.quantized(*arguments, abits=bits) for bits in (16, abits))
    rows = rows * shipped.act_scales(*arguments, abits=16)[:, None]
    assert ints.dtype == (np.int8 if abits <= 8 else np.int16)
    unsigned = shipped.quantized(*arguments, abits=abits, signed=False)
    assert unsigned.dtype == (np.uint8 if abits <= 8 else np.uint16)
    assert (unsigned.astype(int) - (1 << (abits - 1)) == ints).all()
    if abits == 1:
        assert (ints == np.where(rows < 0, -1, 0)).all()
        return
    most = (1 << (abits - 1)) - 1
    assert np.abs(ints.astype(int)).max(axis=1).tolist() == [most] * 4
    step = shipped.act_scales(*arguments, abits=abits)[:, None]
    assert (np.abs(rows - ints * step) <= step * (0.5 + 1e-3)).all()


@pytest.mark.parametrize("batch", [1, 8, 400])
def test_equal_sources_are_equal_rows(shipped, batch):
    """Of one role; and rows of different sources differ, so that no layer is taken for another."""
    for role, k in (("attn_in", 600), ("ffn_out", 1600), ("head", 600)):
        asked = [
            (role, layer, n, k, batch, seed) for n in (32, 40) for layer in range(0, n, 3) for seed in (0, 1)
        ]
        rows = [shipped.quantized(*ask).tobytes() for ask in asked]
        sources = [shipped.pool_indices(*ask).tobytes() for ask in asked]
        assert len(set(sources)) == len(set(rows)) == len(set(zip(sources, rows, strict=True)))
    assert "layer is 32" in refusal(shipped.pool_indices, "attn_in", 32, 32, 600, 1)


@examples(60)
@given(
    role=st.sampled_from(ROLES), n_layers=st.integers(1, 100), k=st.integers(1, 5000),
    batch=st.integers(1, 9),
    seed=st.integers(0, 5), abits=st.integers(1, 16), data=st.data(),
)  # fmt: skip
def test_any_shape_is_deterministic_and_in_range(role, n_layers, k, batch, seed, abits, data):
    shipped = Activations.load()
    layer = data.draw(st.integers(0, n_layers - 1))
    rows = shipped.quantized(role, layer, n_layers, k, batch, seed, abits=abits)
    assert rows.shape == (batch, k)
    assert rows.flags.c_contiguous
    assert -(1 << (abits - 1)) <= rows.min() <= rows.max() < max(1 << (abits - 1), 1)
    assert (rows == shipped.quantized(role, layer, n_layers, k, batch, seed, abits=abits)).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"text": "a", "tokens": [1]}, "text and tokens"),
        ({"tokens": [1, 2, 1], "keep": 2}, "keep is 2"),
        ({"tokens": [1, 2], "layers": "some"}, "layers is 'some'"),
        ({"tokens": [99]}, "tokens has 99"),
    ],
)
def test_bad_captures(tiny_gguf, arguments, words):
    assert words in refusal(capture, tiny_gguf, **arguments)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": 0}, "k is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"layer": 32}, "layer is 32"),
        ({"role": "nose"}, "role is 'nose'"),
        ({"abits": 17}, "abits is 17"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_requests(shipped, change, words):
    arguments = {"role": "attn_in", "layer": 0, "n_layers": 32, "k": 10, "batch": 1, "abits": 8} | change
    assert words in refusal(shipped.quantized, **arguments)


@examples(but=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_capture_loads_or_ends_in_one_sentence(tiny_gguf, tmp_path, data):
    path = tmp_path / "a.capture"
    if not path.exists():
        capture(tiny_gguf, tokens=[3, 1, 4]).save(path)
        (tmp_path / "whole").write_bytes(path.read_bytes())
    whole = bytearray((tmp_path / "whole").read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        del whole[at:]
    else:
        patch = data.draw(st.binary(min_size=1, max_size=4))
        whole[at : at + len(patch)] = patch
    path.write_bytes(whole)
    try:
        loaded = Activations.load(path)
    except SailsimError as error:
        message = str(error)
        loaded = None
    assert loaded is not None or "\n" not in message


def save_unchecked(monkeypatch: pytest.MonkeyPatch, bad: Activations, path: Path) -> None:
    """As another program may have written it."""
    with monkeypatch.context() as patch:
        patch.setattr(activations, "_check", lambda *parts: None)
        bad.save(path)


@pytest.mark.slow
def test_24_mib_of_empty_texts_are_not_parsed(tiny_gguf, tmp_path, monkeypatch):
    good = capture(tiny_gguf, tokens=[3, 1, 4])
    path = tmp_path / "a.capture"
    save_unchecked(monkeypatch, replace(good, meta={**good.meta, "tokens": [""] * (6 << 20)}), path)
    with pytest.raises(SailsimError, match=r"the length of its header is \d+; allowed is at most"):
        Activations.load(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"meta": {"schema": 1}}, "meta.model is None"),
        ({"schema": 9}, "schema is 9"),
        ({"layers": (40, 41)}, "layers is .40, 41."),
        ({"layers": ()}, "layers is "),
        ({"layers": (0,)}, "shape of attn_in"),
        ({"scales": np.nan}, "a scale of attn_in is nan; allowed is finite and not negative"),
        *(
            ({"tokens": tokens}, "meta.tokens is .*; allowed is a list of whole numbers")
            for tokens in ([""], [1.5], [True])
        ),
    ],
)
def test_unsound_fields_are_named_and_never_saved(tiny_gguf, tmp_path, monkeypatch, change, words):
    good = capture(tiny_gguf, tokens=[3, 1, 4, 1, 5], keep=3)
    assert (good.tokens, good.layers, good.meta["positions"]) == (3, (0, 1), [1, 2, 4])
    if "scales" in change:
        change = {"scales": {role: scale * change["scales"] for role, scale in good.scales.items()}}
    elif not {"meta", "layers"} & set(change):
        change = {"meta": {**good.meta, **change}}
    path = tmp_path / "a.capture"
    bad = replace(good, **change)
    with pytest.raises(SailsimError, match=words):
        bad.save(path)
    assert not path.exists()
    save_unchecked(monkeypatch, bad, path)
    with pytest.raises(SailsimError, match=words):
        Activations.load(path)

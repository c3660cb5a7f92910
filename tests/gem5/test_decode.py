"""Tokens on gem5: the same bits by cores and by units, on any number of threads, whoever brings the image."""

import shutil

import pytest

from sailsim.sim.gem5.decode import (
    REGIONS,
    DecodePoint,
    decode_points,
    differing,
    image_for,
    run_decodes,
)

pytestmark = [pytest.mark.gem5, pytest.mark.aarch64]

SHAPE = """name = "tiny"
title = "Tiny"
source = "made here"
n_layers = 2
d_model = 64
n_heads = 4
n_kv_heads = 2
head_dim = 16
d_ffn = 96
vocab = 70
tied_embeddings = true
"""


@pytest.fixture
def decoded(gem5, machine, kernels, tmp_path):
    """Decodes with a shape on the machine with four slices: the points and their rows."""

    def run(*linears, shape=SHAPE, name="tiny", threads=1, batch=2, context=40, **fixed):
        path = tmp_path / f"{name}.toml"
        path.write_text(shape)
        base = DecodePoint(model=str(path), weights="4g32", **fixed)
        axes = {"linears": linears, "threads": (threads,), "batch": (batch,), "context": (context,)}
        points = decode_points(base, machine, **axes)
        program, out = kernels / "decode", tmp_path / "out"
        return points, run_decodes(points, gem5, "four slices", machine, program, out)[0]

    return run


def test_cores_and_units_decode_the_same(decoded, program, machine, tmp_path):
    """Two threads, which atomic cores hand over to O3 cores, and one; the image put into memory or mapped."""
    points, rows = decoded("neon", "lutmm", threads=2, warm=2)
    rows += decoded("lut", warm=2)[1]
    assert differing(rows) == []
    for row in rows:
        regions = [row[f"{region}_cycles"] for region in REGIONS]
        assert min(regions) > 0
        assert abs(sum(regions) - row["step_cycles"]) <= len(regions)  # each rounded
        assert 0 < row["instructions"] < 10_000_000
        assert row["dram_bytesRead"] > 0
    neon, lutmm, _ = rows
    assert neon["units_cycles"] == 0 < lutmm["units_cycles"]
    # 15 matrices of 4 tiles; atomic cores' are not counted.
    assert lutmm["unit_tiles"] == 4 * 15

    words = points[0].options(machine)
    words[words.index("--image") + 1] = str(image_for(points[0], machine, tmp_path / "out"))
    words[words.index("--image-at") + 1] = "0"
    report = program("decode", *words, to="mapped", cpu="atomic", cores=2, units=0).json_lines[-1]
    assert (report["tokens"], report["logits"]) == (neon["tokens"], neon["logits"])


@pytest.mark.parametrize("linears", ["neon", "lutmm"])
def test_a_part_of_a_model_begins_with_empty_caches(decoded, linears):
    """The whole model is so small that the token before leaves all of it in the caches."""
    whole, part = (decoded(linears, blocks=blocks, warm=1, batch=1)[1][0] for blocks in (0, 1))
    shares = [row["dram_bytesRead"] / row["image_bytes"] for row in (whole, part)]
    assert shares[0] < 0.2 < 0.8 < shares[1]


def test_a_prompt_gives_the_tokens_of_the_running_model(decoded):
    """Cores, and two units for the tiles of four slices; the program's logits come out of the simulation."""
    fixed = {"context": 2, "warm": 2, "steps": 2, "prompt_tokens": "3,5,60", "units": 2}
    _, rows = decoded("neon", "lutmm", **fixed)
    assert differing(rows) == []
    for row in rows:
        assert row["model_tokens"] == row["tokens"]
        assert row["logit_difference"] < 0.05 * row["logit_largest"]
    neon, lutmm = rows
    assert (neon["units"], lutmm["units"]) == (0, 2)
    assert lutmm["unit_tiles"] == 2 * 4 * 15


def test_attention_on_units_is_the_same_by_all_kinds_and_the_running_model(decoded):
    """Two heads of keys on four slices, which halve each; 4 bits, two threads and one, and the tiles of both
    products counted."""
    fixed = {"attention": "units", "cache": "int4"}
    _, rows = decoded("neon", "lutmm", threads=2, batch=1, **fixed)
    rows += decoded("neon", batch=1, **fixed)[1]
    prompted = {"context": 2, "warm": 2, "steps": 2, "prompt_tokens": "3,5,60", "units": 2}
    _, after = decoded("neon", "lutmm", **prompted, **fixed)
    assert differing([*rows, *after]) == []
    for row in after:
        assert row["model_tokens"] == row["tokens"]
        assert row["logit_difference"] < 0.05 * row["logit_largest"]
    neon, lutmm, one = rows
    assert neon["unit_tiles"] == one["unit_tiles"] == 2 * 2 * (2 + 2)
    assert lutmm["unit_tiles"] == 4 * 15 + neon["unit_tiles"]
    assert neon["units_cycles"] > 0


def test_rounding_a_long_row_takes_as_long_a_number_as_a_short_one(decoded):
    """The largest number was looked for again before every piece of a row: 12 cycles a number here, not 1."""
    took = []
    for width in (1024, 8192):
        shape = SHAPE.replace("n_layers = 2", "n_layers = 1").replace("d_ffn = 96", f"d_ffn = {width}")
        (row,) = decoded("neon", shape=shape, name=f"wide-{width}", batch=1, context=1)[1]
        took.append(row["quantise_cycles"])
    assert (took[1] - took[0]) / (8192 - 1024) < 4


def test_an_image_without_room_is_one_sentence(program, tmp_path):
    """A file with nothing in it takes no room."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(shutil.disk_usage("/dev/shm").free + (1 << 30))
    with pytest.raises(ValueError, match=r"/dev/shm has \d+ bytes free; allowed to preload large are"):
        program("decode", extra=["--preload", str(tmp_path / "large")])

"""The decode program on tiny models: three kinds of products, threads, batches and caches against NumPy."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sailsim.sim.gem5.decode import REGIONS, DecodePoint, against_model
from sailsim.sim.machine.system_files import load_system
from sailsim.workloads.images.image_decode import CACHES, ImageDecoder
from sailsim.workloads.images.image_file import Image, plan_image
from sailsim.workloads.inference.decoder import Operand

from ..workloads.conftest import model_text
from .conftest import Refused, Report, Run

pytestmark = pytest.mark.aarch64

NO_SHRINKING = (Phase.explicit, Phase.generate)
"""A model takes seconds; which of several failed is seen as well."""
WELL_ROUNDED = 0.505
"""How far an integer may be from the number it stands for, in steps: both sides compute in fp32."""


def write_image(
    path: Path,
    weights: str,
    slices: int = 3,
    tile_most: int = 0,
    row: int = 0,
    tied: bool = True,
    **shape: int,
) -> Path:
    """An image of a random model with a small shape."""
    fields = {"n_layers": 2, "d_model": 48, "d_ffn": 80, "vocab": 70} | shape
    toml = path.with_suffix(".toml")
    toml.write_text(model_text("tiny", "Tiny", **fields, tied_embeddings=tied))
    plan_image(toml, weights=weights, slices=slices, tile_most=tile_most, row=row).write(path)
    return path


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of 4 bits."""
    return write_image(tmp_path_factory.mktemp("image") / "tiny.image", "4g32")


def as_option(tokens: np.ndarray) -> str:
    """Tokens (positions, batch)."""
    return ";".join(",".join(map(str, row)) for row in tokens.T)


def decoded(record: dict[str, Any]) -> list[list[int]]:
    """Tokens of each step, (steps, batch)."""
    rows = [list(map(int, row.split(","))) for row in record["tokens"].split(";")]
    return [list(step) for step in zip(*rows, strict=True)]


FILL_ENTRIES = 4096
"""Numbers of the table that a filled cache repeats (`fill_table`)."""
FILL_STRIDE = 37
"""How many entries a row of a filled cache begins behind the row before it."""
SPLITMIX = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


FILL_BYTES = 65537
"""Of the table that tiles of a filled cache on units repeat."""


def splitmix(seed: int, count: int) -> np.ndarray:
    """Numbers of 64 bits of the program's generator (common/measure.hh)."""
    gamma, first, second = (np.uint64(word) for word in SPLITMIX)
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + gamma * np.arange(1, count + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * first
        z = (z ^ (z >> np.uint64(27))) * second
        return z ^ (z >> np.uint64(31))


def fill_table(seed: int) -> np.ndarray:
    """The numbers in [-1, 1) that the program fills a cache with (`symmetric`)."""
    z = splitmix(seed, FILL_ENTRIES)
    return ((z >> np.uint64(40)).astype(np.int64) - (1 << 23)).astype(np.float32) * np.float32(2**-23)


def apart(size: int, row: int) -> int:
    """An odd number of rows where one is filled."""
    return (-(-size // row) | 1) * row if 0 < row <= size else size


def filled_tiles(matrices: int, k: int, n: int, cut: int, bits: int, most: int, row: int) -> np.ndarray:
    """Codes (matrices, k, n) of a filled cache on units, cut into tiles of equally many outputs."""
    table = splitmix(1, -(-FILL_BYTES // 8)).view(np.uint8)[:FILL_BYTES]
    share = -(-n // cut)
    share = -(-share // -(-share // (most or share)))
    scales = -(-(-(-2 * share // 4) * 4 + 4 * 64) // 64) * 64
    stride, tiles = apart(-(-k * -(-share * bits // 8) // 64) * 64 + scales, row), -(-n // share)
    room = apart(tiles * stride, row) if stride < row else tiles * stride
    found = np.resize(table, (matrices, room))[:, : tiles * stride].reshape(matrices, tiles, stride)
    pieces = []
    for piece in range(found.shape[1]):
        outputs = min(share, n - piece * share)
        size = -(-outputs * bits // 8)
        packed = found[:, piece, : k * size].reshape(matrices, k, size)
        each = np.unpackbits(packed, axis=-1, bitorder="little")[..., : outputs * bits]
        codes = each.reshape(matrices, k, outputs, bits) @ (1 << np.arange(bits))
        pieces.append(codes - (codes >> bits - 1 << bits))
    return np.concatenate(pieces, axis=-1).astype(np.float32)


def filled_rows(matrices: int, room: int, padded: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes (matrices, room, padded) of keys and values of a filled cache of bytes on the cores."""
    table = splitmix(1, -(-FILL_BYTES // 8)).view(np.uint8)[:FILL_BYTES]
    keys = np.resize(table, (matrices, room, padded)).view(np.int8)
    values = np.resize(table, (matrices, padded // 16, room // 4, 16, 4)).transpose(0, 2, 4, 1, 3)
    return keys.astype(np.float32), values.reshape(keys.shape).astype(np.float32) - 128


class Following(ImageDecoder):
    """NumPy's decode that takes the integers which the program has written (`--operands`), as rounding makes
    a decode jump. ``off`` grows to the largest distance between one of them and NumPy's number, in steps: 0.5
    where all are rounded right. The first positions of the cache are filled as the program fills them."""

    def __init__(self, image: Image, record: dict[str, Any], operands: bytes, tile_most: int) -> None:
        batch, cache, context = record["batch"], record["cache"], record["context"]
        super().__init__(image, batch, cache)
        self.position, self.off, self._operands, self._at = context, 0.0, operands, 0
        sizes = self.sizes
        shape = (2, sizes.n_layers, batch, sizes.n_kv_heads, context, sizes.head_dim)
        table, row = fill_table(1), np.arange(int(np.prod(shape[1:-1]))).reshape(shape[1:-1])
        rows = np.stack([2 * row, 2 * row + 1])[..., None]
        filled = table[(rows * FILL_STRIDE + np.arange(sizes.head_dim)) % FILL_ENTRIES]
        if cache != "fp16":
            bits, room = int(cache[-1]), context + record["prompt"] + record["steps"] - 1
            matrices, dim = int(np.prod(shape[1:4])), sizes.head_dim
            if record["attention"] == "units":
                cut = max(1, sizes.slices // (batch * sizes.n_kv_heads))
                tiles = bits, tile_most, image.matrices["head"][0].row
                keys = filled_tiles(matrices, dim, room, cut, *tiles).swapaxes(1, 2)
                values = filled_tiles(matrices, room, dim, cut, *tiles)
            else:
                keys, values = filled_rows(matrices, -(-room // 32) * 32, -(-dim // 16) * 16)
            filled = np.stack([keys[:, :context, :dim], values[:, :context, :dim]]).reshape(shape)
            scale = np.full_like(filled[..., :1], np.float16(1 / ((1 << bits - 1) - 1)))
            filled = np.concatenate([filled, scale], axis=-1)
        else:
            filled = filled.astype(np.float16).astype(np.float32)
        self._keys, self._values = ([list(np.moveaxis(layer, 2, 0)) for layer in of] for of in filled)

    def _rounded(self, x: np.ndarray, kind: type[np.integer[Any]] = np.int8) -> Operand:
        ints = np.frombuffer(self._operands, kind, x.size, self._at).reshape(x.shape)
        scale = np.frombuffer(self._operands, np.float32, len(x), self._at + x.size)
        self._at += x.size + scale.nbytes
        steps = np.divide(x, scale[:, None], out=np.zeros_like(x), where=scale[:, None] > 0)
        self.off = max(self.off, float(np.abs(steps - ints).max()))
        return ints, scale


def checked_against_numpy(
    report: Report,
    image: Path,
    prompt: np.ndarray,
    steps: int,
    options: tuple[object, ...],
    folder: Path,
    threads: Mapping[str, int],
) -> dict[str, Any]:
    """The report of a decode of which each integer is what NumPy's number rounds to; logits and tokens follow
    from them exactly. Kinds of products with so many `threads` give the same bits."""
    written = ("--logits", folder / "logits", "--operands", folder / "operands")
    (record,) = report("decode", *options, *written)
    opened, batch = Image(image), record["batch"]
    logits = np.fromfile(folder / "logits", np.float32).reshape(steps, batch, -1)
    operands = (folder / "operands").read_bytes()
    tile_most = dict(zip(options[::2], options[1::2], strict=True)).get("--tile-most", 0)
    decoder = Following(opened, record, operands, tile_most)
    for tokens in prompt[:-1]:
        decoder.step(tokens)
    tokens = prompt[-1]
    for step, chosen in enumerate(decoded(record)):
        expected = decoder.logits(tokens)
        np.testing.assert_array_equal(logits[step], expected)
        assert chosen == expected.argmax(axis=1).tolist()
        tokens = chosen
    assert decoder.off < WELL_ROUNDED
    for kind, number in threads.items():
        (other,) = report("decode", *options, "--linears", kind, "--threads", number)
        assert (other["tokens"], other["logits"]) == (record["tokens"], record["logits"]), kind
        assert (other["emulated"] > 0) == (kind == "lutmm" or record["attention"] == "units")
    return record


@pytest.mark.slow
@settings(max_examples=25, phases=NO_SHRINKING, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_models_decode_as_numpy_says(report: Report, tmp_path: Path, data: st.DataObject) -> None:
    """Ragged shapes, grouped heads, formats: all kinds and numbers of threads give the same bits."""
    kv_heads, share = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5))
    weights = data.draw(st.sampled_from(["1", "1g32", "2g16", "3g48", "4g32", "4g0", "5g32", "6g16", "8g64"]))
    path = write_image(
        tmp_path / "random.image",
        weights,
        slices=data.draw(st.integers(1, 9)),
        tile_most=data.draw(st.sampled_from([0, 3, 16])),
        row=data.draw(st.sampled_from([0, 64, 448])),
        tied=data.draw(st.booleans()),
        n_layers=data.draw(st.integers(1, 2)),
        d_model=data.draw(st.integers(1, 90)),
        n_heads=kv_heads * share,
        n_kv_heads=kv_heads,
        head_dim=2 * data.draw(st.integers(1, 13)),
        d_ffn=data.draw(st.integers(1, 150)),
        vocab=data.draw(st.integers(2, 100)),
    )
    vocab = Image(path).dimensions.vocab
    batch, context = data.draw(st.integers(1, 8)), data.draw(st.sampled_from([0, 1, 31, 32, 70]))
    prompt = np.random.default_rng(1).integers(0, vocab, (data.draw(st.integers(1, 3)), batch))
    attention = data.draw(st.sampled_from(["cores", "units"]))
    cache = data.draw(st.sampled_from(CACHES[1:] if attention == "units" else CACHES[:2]))
    steps = data.draw(st.integers(1, 3))
    options = ("--image", path, "--batch", batch, "--context", context, "--steps", steps)
    options += ("--prompt", as_option(prompt), "--attention", attention, "--cache", cache)
    options += ("--tile-most", data.draw(st.sampled_from([0, 3, 16])))
    threads = {kind: data.draw(st.integers(1, 8)) for kind in ("neon", "lut", "lutmm")}
    checked_against_numpy(report, path, prompt, steps, options, tmp_path, threads)


@pytest.mark.parametrize("weights", ["mxfp4", "iq4_nl", "q4_1", "q2_k", "q3_k", "q6_k", "tq2_0"])
def test_formats_of_files(report: Report, tmp_path: Path, weights: str) -> None:
    """Codebooks, minima, zero points, ternary codes."""
    path = write_image(tmp_path / "image", weights, d_model=256, d_ffn=256, n_layers=1)
    prompt = np.array([[3, 5, 60]])
    options = ("--image", path, "--batch", 3, "--context", 40, "--prompt", as_option(prompt))
    checked_against_numpy(report, path, prompt, 1, options, tmp_path, {"lut": 2, "lutmm": 2})


@pytest.mark.parametrize(("cache", "kv_heads", "slices"), [("int8", 2, 3), ("int4", 1, 7), ("int3", 6, 4)])
def test_attention_on_units(report: Report, tmp_path: Path, cache: str, kv_heads: int, slices: int) -> None:
    """Heads that take their turns on a slice, and that several slices share; a context that does not fill
    its last one."""
    path = write_image(tmp_path / "image", "4g32", slices=slices, n_heads=6, n_kv_heads=kv_heads, head_dim=22)
    prompt = np.array([[3, 5], [9, 60]])
    options = ("--image", path, "--batch", 2, "--context", 45, "--prompt", as_option(prompt), "--steps", 2)
    options += ("--attention", "units", "--cache", cache)
    record = checked_against_numpy(report, path, prompt, 2, options, tmp_path, {"lut": 3, "lutmm": 2})
    if cache == "int8":  # the cores' dot products are the same sums
        prompted = ("--image", path, "--prompt", "1,2,3", "--steps", 3, "--cache", cache)
        reports = [report("decode", *prompted, "--attention", who)[0] for who in ("cores", "units")]
        assert reports[0]["logits"] == reports[1]["logits"]
    cut = max(1, slices // (2 * kv_heads))
    keys = [-(-count // -(-48 // cut)) for count in (46, 47, 48)]
    values = -(-22 // -(-22 // cut))
    assert record["emulated"] == 2 * 2 * kv_heads * (sum(keys) + 3 * values)


@pytest.mark.parametrize("cache", ["fp16", "int8"])
def test_threads_take_turns(report: Report, tmp_path: Path, cache: str) -> None:
    """Weights and keys of several turns of 128 KiB a thread: no thread leaves one out or takes it twice."""
    shape = {"n_layers": 1, "d_model": 512, "d_ffn": 2064, "n_heads": 8, "n_kv_heads": 8, "head_dim": 64}
    path = write_image(tmp_path / "image", "4g32", row=4096, vocab=2040, **shape)
    options = ("--image", path, "--context", 1500, "--cache", cache)
    alone = report("decode", *options)[0]["logits"]
    for kind, threads in (("neon", 2), ("neon", 3), ("lut", 3), ("lutmm", 2)):
        assert report("decode", *options, "--linears", kind, "--threads", threads)[0]["logits"] == alone


def test_what_a_decode_reports(report: Report, image: Path) -> None:
    """One line, and on request one for each thread; with fewer units than slices too."""
    options = ("--image", image, "--context", 40, "--batch", 2)
    fewer = ("--linears", "lutmm", "--units", 2, "--nbw", 3, "--threads", 3, "--list")
    (plain,), (*threads, record) = report("decode", *options), report("decode", *options, *fewer)
    assert record["logits"] == plain["logits"]
    assert (plain["emulated"], record["emulated"]) == (0, 3 * (7 * 2 + 1))
    assert [line["thread"] for line in threads] == list(range(record["threads"])) == [0, 1, 2]
    assert all(f"{region}_cycles" in threads[1] for region in (*REGIONS, "barrier", "units"))
    for line in (plain, record):
        regions = sum(line[f"{region}_cycles"] for region in REGIONS)
        assert regions == pytest.approx(line["step_cycles"], abs=len(REGIONS))


def test_the_seed_fills_the_cache(report: Report, image: Path) -> None:
    options = ("--image", image, "--context", 20)
    first, again, other = (report("decode", *options, "--seed", seed)[0]["logits"] for seed in (1, 1, 2))
    assert first == again != other


def test_a_prompt_is_the_same_as_its_tokens_one_by_one(report: Report, image: Path) -> None:
    """What a step keeps in the cache is what a prompt keeps there."""
    (first,) = report("decode", "--image", image, "--prompt", "9", "--steps", 4)
    tokens = ["9", *first["tokens"].split(",")]
    (last,) = report("decode", "--image", image, "--prompt", ",".join(tokens[:4]))
    assert (last["tokens"], last["logits"]) == (tokens[4], first["logits"])


def test_a_prompt_beside_decoding_is_read_as_one_by_one(report: Report, image: Path) -> None:
    """All threads read it while units multiply; neither side moves a bit of the other."""
    read = [str(3 + 7 * i % 60) for i in range(35)]  # more than attention works on at a time
    (alone,) = report("decode", "--image", image, "--prompt", ",".join(2 * read))
    decoding = ("--image", image, "--linears", "lutmm", "--context", 5, "--batch", 2, "--steps", 2)
    (plain,), (both,) = (
        report("decode", *decoding, "--threads", 3, *more) for more in ((), ("--beside", ",".join(read)))
    )
    assert (both["tokens"], both["logits"]) == (plain["tokens"], plain["logits"])
    assert (str(both["beside_token"]), both["beside_logits"]) == (alone["tokens"], alone["logits"])
    assert 0 < both["beside_cycles"] < both["step_cycles"]


def test_the_running_model_chooses_the_tokens_of_a_prompt(
    report: Report, image: Path, tmp_path: Path
) -> None:
    """As `sailsim gem5 decode --prompt` compares; the model rounds its own activations."""
    point = DecodePoint(model="tiny", batch=2, context=2, warm=2, steps=3, units=2, prompt_tokens="3,5,60")
    words = point.options(load_system("sail-n1"))
    there = {"--image": image, "--image-at": 0, "--logits": tmp_path / "logits"}
    for name, value in there.items():
        words[words.index(name) + 1] = str(value)
    words.remove("--m5")
    for kind in ("neon", "lut", "lutmm"):
        words[words.index("--linears") + 1] = kind
        *_, record = report("decode", *words)
        compared = against_model(point, record["tokens"], tmp_path / "logits", image)
        assert compared["model_tokens"] == record["tokens"]
        assert compared["logit_difference"] < 0.05 * compared["logit_largest"]
    # Another prompt's logits are far from these.
    other = replace(point, prompt_tokens="3,6,60")
    compared = against_model(other, record["tokens"], tmp_path / "logits", image)
    assert compared["logit_difference"] > 0.05 * compared["logit_largest"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "--image is missing; see --help"),
        (("--image", "{image}", "--batch", "65"), "--batch is '65'; allowed: whole numbers 1..64"),
        (("--image", "{image}", "--prompt", "70"), "--prompt has token 70; allowed: 0..69"),
        (
            ("--image", "{image}", "--prompt", "1,x"),
            "--prompt is '1,x'; allowed: token numbers such as 1,2,3, or rows of them such as 1,2;3,4",
        ),
        (
            ("--image", "{image}", "--prompt", "1;2;3", "--batch", "2"),
            "--prompt has 3 rows; allowed: 1, or as many as --batch, 2",
        ),
        (
            ("--image", "{image}", "--prompt", "1;2,3", "--batch", "2"),
            "--prompt has rows of 1 and 2 tokens; allowed: rows of one length",
        ),
        (("--image", "{image}", "--logits", "/none/x"), "--logits /none/x cannot be written"),
        (("--image", "{image}", "--operands", "/none/x"), "--operands /none/x cannot be written"),
        (("--image", "any", "--beside", "1"), "--beside is given with --linears neon; allowed is lutmm"),
        (
            ("--image", "any", "--image-at", "4096"),
            "--image-at is 0x1000; allowed without --m5 is 0: only a simulator puts images into memory",
        ),
        (("--image", "/none"), "image /none cannot be opened; allowed is a file"),
    ],
)
def test_bad_options_end_in_one_sentence(
    refused: Refused, image: Path, options: tuple[str, ...], sentence: str
) -> None:
    assert refused("decode", *(option.format(image=image) for option in options)) == sentence


def test_an_image_without_tiles(run: Run, tmp_path: Path, image: Path) -> None:
    path = tmp_path / "rows.image"
    plan_image(image.with_suffix(".toml"), layouts=["rows"]).write(path)
    result = run("decode", "--image", path, "--linears", "lutmm")
    assert result.returncode == 2
    assert result.stderr.startswith("error: --linears is lutmm and matrix 0 of the image has no tiles")
    # Without a lut layout, dot products do the work.
    outputs = [run("decode", "--image", path, "--linears", kind).stdout for kind in ("neon", "lut")]
    assert json.loads(outputs[0])["logits"] == json.loads(outputs[1])["logits"]


@pytest.mark.slow
def test_a_tile_that_a_unit_refuses(run: Run, image: Path) -> None:
    """Units 32 and up are not there: the program says what the unit answered."""
    path = image.with_name("sixty.image")
    plan_image(image.with_suffix(".toml"), weights="4g32", slices=40).write(path)
    result = run("decode", "--image", path, "--linears", "lutmm")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "error: a unit refused a tile: ERR_UNIT\n"

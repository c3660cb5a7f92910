"""A model's own widths reach the engine, tensor by tensor; what the units cannot take runs on the cores."""

from dataclasses import replace
from pathlib import Path

import pytest

from sailsim.analysis.results.compare import compare
from sailsim.base.errors import SailsimError
from sailsim.sim.backends.sail import request_of
from sailsim.sim.engine import simulate_step
from sailsim.sim.files import load_system
from sailsim.sim.keys import result_key
from sailsim.sim.point import Point
from sailsim.workloads.activations import Activations
from sailsim.workloads.formats import uniform_format
from sailsim.workloads.graph import decode_step
from sailsim.workloads.load import load_model
from sailsim.workloads.traces import plan_trace

from ..workloads.conftest import write_tiny_gguf

SAIL = load_system("sail-n1")


def policy(folder: Path, default: str, **tensors: str) -> str:
    path = folder / f"{default}-{'-'.join(tensors.values())}.toml"
    lines = "\n".join(f'"{pattern}" = "{choice}"' for pattern, choice in tensors.items())
    path.write_text(f'name = "test"\nsource = "a test"\ndefault = "{default}"\n[tensors]\n{lines}\n')
    return str(path)


def step(**fields):
    point = Point(**fields)
    return simulate_step(SAIL, load_model(point.model), point)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of one shape whose matrices have different types."""
    folder = tmp_path_factory.mktemp("files")
    for kind in ("Q8_0", "Q4_0", "Q4_1", "MXFP4", "F16"):
        write_tiny_gguf(folder / f"{kind}.gguf", kind=kind)
    return {path.stem: str(path) for path in folder.glob("*.gguf")}


def test_files_of_one_shape_have_their_own_answers(files: dict[str, str]) -> None:
    # On row_dfm a step as short as this one waits for the cores and conversion, whatever the codes' widths;
    # where sums are formed bit by bit every width counts.
    steps = {kind: step(model=path, context=64, substrate="bit_parallel") for kind, path in files.items()}
    rates = {kind: found.tokens_per_s for kind, found in steps.items()}
    assert len(set(rates.values())) == len(rates)
    assert len({found.dram_bytes for found in steps.values()}) == len(rates)
    assert rates["Q4_0"] > rates["Q4_1"]  # a minimum costs conversions
    uniform = {kind: step(model=path, context=64, wbits=4).tokens_per_s for kind, path in files.items()}
    assert len(set(uniform.values())) == 1


def test_every_tensor_counts(tmp_path: Path) -> None:
    plain = step(model="llama-2-7b")
    one = {
        choice: step(model="llama-2-7b", weights=policy(tmp_path, "4g128", **{"blk.7.ffn_down": choice}))
        for choice in ("2g128", "8g128", "4g32")
    }
    assert one["2g128"].step_s <= plain.step_s < one["8g128"].step_s
    assert one["2g128"].dram_bytes < plain.dram_bytes < one["8g128"].dram_bytes
    assert plain.step_s < one["4g32"].step_s < step(model="llama-2-7b", wbits=4, group_size=32).step_s


def test_types_without_codes_run_on_the_cores_and_are_named(tmp_path: Path, files: dict[str, str]) -> None:
    plain = step(model="smollm2-135m", batch=8)
    mixed = step(
        model="smollm2-135m", batch=8, weights=policy(tmp_path, "4g128", **{"blk.*.ffn_down": "f16"})
    )
    assert mixed.breakdown["cores"] > plain.breakdown["cores"]
    assert mixed.counts["lookups"] < plain.counts["lookups"]
    (note,) = (note for note in mixed.notes if note.startswith("On the cores"))
    assert "f16 30 tensors" in note
    assert "%" in note
    alone = step(model=files["F16"])
    assert alone.pim_cycles == 0
    assert sum(alone.breakdown.values()) == pytest.approx(alone.step_s)
    assert not [note for note in plain.notes if note.startswith("On the cores")]


def test_a_machine_that_does_not_say_how_fast_its_cores_are_refuses_floats(files: dict[str, str]) -> None:
    silent = SAIL.model_copy(update={"host": SAIL.host.model_copy(update={"float_rate": None})})
    with pytest.raises(SailsimError, match=r"is f16, which has no scalar codes.*host\.float_rate"):
        simulate_step(silent, load_model(files["F16"]), Point(model=files["F16"]))


def test_cores_and_cards_get_the_same_formats(files: dict[str, str]) -> None:
    eight, four = (compare(Point(model=files[kind], context=64)) for kind in ("Q8_0", "Q4_0"))
    eight, four = eight["runs"], four["runs"]
    assert {eight[name]["types"] for name in ("sail", "cores", "v100")} == {"q8_0 15 tensors"}
    assert eight["cores"]["tokens_per_s"] != four["cores"]["tokens_per_s"]
    assert eight["v100"]["tokens_per_s"] < four["v100"]["tokens_per_s"]
    assert "allowed with software 'serving'" in eight["v100-serving"]["reason"]


def test_the_key_follows_what_the_file_and_the_policy_say(files: dict[str, str], tmp_path: Path) -> None:
    keys = {result_key(Point(model=path), "e") for path in files.values()}
    assert len(keys) == len(files)
    path = policy(tmp_path, "4g128", output="8g128")
    first = result_key(Point(weights=path), "e")
    Path(path).write_text(Path(path).read_text().replace("8g128", "6g128"))
    assert result_key(Point(weights=path), "e") != first


@pytest.mark.parametrize("wbits", [1, 2, 4, 8])
def test_a_uniform_format_is_timed_as_its_own_tiles_are(wbits: int, files: dict[str, str]) -> None:
    """What the engine asks for a tensor has the widths, and the codebook, of the tile that a trace holds."""
    fmt = uniform_format(wbits, 32)
    op = next(op for op in decode_step(load_model(files["F16"]), fmt, 2, 64) if op.kind == "gemv")
    asked = request_of(op, Point(wbits=wbits, nbw=4))
    plan = plan_trace(files["F16"], Activations.load(), wbits=wbits, group_size=32, batch=2, tensors=op.name)
    (tile,) = plan.tiles()
    assert asked.shape == tile.shape
    assert asked.codebook == (2 << wbits if tile.code.kind == "book" else 0)
    assert (wbits == 1) == (tile.code.kind == "book")


def test_signs_need_two_bits_in_a_table() -> None:
    """-1 and +1 are codes of one bit whose values take two: no faster than ternary codes in an array."""
    serial = [step(model="smollm2-135m", wbits=w, substrate="bit_serial") for w in (1, 2)]
    assert serial[0].breakdown["build"] == serial[1].breakdown["build"]
    assert serial[0].dram_bytes < serial[1].dram_bytes


def test_what_is_said_twice_is_refused() -> None:
    for fields in ({"wbits": 4}, {"group_size": 32}):
        with pytest.raises(SailsimError, match=r"weights is 'q4_k_m' and .* allowed is one of the two"):
            Point(weights="q4_k_m", **fields)
    with pytest.raises(SailsimError, match="wbits is 0"):
        Point(wbits=0)


def test_a_point_says_its_weights_once(files: dict[str, str]) -> None:
    assert Point() == Point(wbits=4, group_size=128) == Point(weights="4") == Point(weights="4g128")
    own = Point(model=files["Q8_0"])
    assert (own.weights, own.wbits, own.group_size) == ("file", 0, 0)
    assert replace(own, batch=8).weights == "file"
    assert replace(own, weights="3g64") == Point(model=files["Q8_0"], wbits=3, group_size=64)
    assert Point(model=files["Q8_0"], wbits=4).weights == ""
    assert Point.from_dict(own.as_dict()) == own
    assert (own.weights_in_words(), Point().weights_in_words()) == ("weights file", "4-bit weights")

"""A model's own widths reach the engine, tensor by tensor; what the units cannot take runs on the cores."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.trace_file import read_trace
from sailsim.sim.backends.sail import tile_request
from sailsim.sim.machine.pim import NBWS, PER_TENSOR, format_nbw, parse_nbw
from sailsim.sim.machine.system_files import load_system, vary
from sailsim.sim.point import Point
from sailsim.sim.step.engine import simulate_step
from sailsim.sim.step.tile_time import fastest_nbw
from sailsim.sim.study.keys import ResultKeys
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import uniform_format
from sailsim.workloads.models.graph import decode_step
from sailsim.workloads.traces import plan_trace

from ...examples import examples
from ...workloads.conftest import write_tiny_gguf

SAIL = load_system("sail-n1")


def policy(folder: Path, default: str, **tensors: str) -> str:
    path = folder / f"{default}-{'-'.join(tensors.values())}.toml"
    lines = "\n".join(f'"{pattern}" = "{choice}"' for pattern, choice in tensors.items())
    path.write_text(f'name = "test"\nsource = "a test"\ndefault = "{default}"\n[tensors]\n{lines}\n')
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of one shape whose matrices have different types."""
    folder = tmp_path_factory.mktemp("files")
    for kind in ("Q8_0", "Q4_0", "Q4_1", "MXFP4", "F16"):
        write_tiny_gguf(folder / f"{kind}.gguf", kind=kind)
    return {path.stem: str(path) for path in folder.glob("*.gguf")}


def test_a_machine_that_does_not_say_how_fast_its_cores_are_refuses_floats(files):
    silent = SAIL.model_copy(update={"host": SAIL.host.model_copy(update={"float_rate": None})})
    with pytest.raises(SailsimError, match=r"is f16, which has no scalar codes.*host\.float_rate"):
        simulate_step(silent, load_model(files["F16"]), Point(model=files["F16"]))


def test_the_key_follows_what_the_file_and_the_policy_say(files, tmp_path):
    keys = {ResultKeys("e").result(Point(model=path)) for path in files.values()}
    assert len(keys) == len(files)
    path = policy(tmp_path, "4g128", output="8g128")
    first = ResultKeys("e").result(Point(weights=path))
    Path(path).write_text(Path(path).read_text().replace("8g128", "6g128"))
    assert ResultKeys("e").result(Point(weights=path)) != first


@pytest.mark.parametrize("wbits", [1, 2, 4, 8])
def test_a_uniform_format_is_timed_as_its_own_tiles_are(wbits, files):
    """What the engine asks for a tensor has the widths, and the codebook, of the tile that a trace holds."""
    fmt = uniform_format(wbits, 32)
    op = next(op for op in decode_step(load_model(files["F16"]), fmt, 2, 64) if op.kind == "gemv")
    asked = tile_request(op, Point(wbits=wbits, nbw=4))
    plan = plan_trace(files["F16"], Activations.load(), wbits=wbits, group_size=32, batch=2, tensors=op.name)
    (tile,) = plan.tiles()
    assert asked.shape == tile.shape
    assert asked.codebook == (2 << wbits if tile.code.kind == "book" else 0)
    assert (wbits == 1) == (tile.code.kind == "book")


def test_a_point_says_its_weights_once(files):
    assert Point() == Point(wbits=4, group_size=128) == Point(weights="4") == Point(weights="4g128")
    own = Point(model=files["Q8_0"])
    assert (own.weights, own.wbits, own.group_size) == ("file", 0, 0)
    assert replace(own, batch=8).weights == "file"
    assert replace(own, weights="3g64") == Point(model=files["Q8_0"], wbits=3, group_size=64)
    assert Point(model=files["Q8_0"], wbits=4).weights == ""
    assert Point(**own.as_dict()) == own
    assert (own.weights_in_words(), Point().weights_in_words()) == ("weights file", "4-bit weights")


# --- NBW "auto": for each tensor the fastest that fits, and never slower than one NBW for all o ---


def step(system=SAIL, **fields):
    point = Point(**fields)
    return simulate_step(system, load_model(point.model), point)


def rate_or_none(system, **fields):
    """Tokens/s, or None where a tile does not fit."""
    try:
        return step(system, **fields).tokens_per_s
    except SailsimError:
        return None


@examples(25)
@given(
    weights=st.sampled_from(["1", "2g64", "4", "8g32", "q4_k_m", "q2_k", "mxfp4", "f16"]),
    batch=st.sampled_from([1, 2, 8]),
    abits=st.sampled_from([4, 8]),
    changes=st.fixed_dictionaries(
        {},
        optional={
            "pim.rows": st.sampled_from([16, 64]),
            "pim.arrays": st.sampled_from([2, 32]),
            "memory.read_share": st.sampled_from([0.3, 0.9]),
            "pim.prefetch_depth": st.sampled_from([0, 2]),
        },
    ),
    substrate=st.sampled_from(["row_dfm", "bit_serial"]),
)
def test_auto_is_never_slower_than_any_nbw_for_all(weights, batch, abits, changes, substrate):
    system = vary(SAIL, {"pim.nbw": 1} | changes)
    fields = {"model": "smollm2-135m", "weights": weights, "batch": batch, "abits": abits}
    fields |= {"substrate": substrate}
    fixed = [rate_or_none(system, nbw=nbw, **fields) for nbw in NBWS]
    if not any(fixed):
        with pytest.raises(SailsimError, match=r"tile cannot run: rows is (16|64)"):
            step(system, nbw="auto", **fields)
        return
    auto = step(system, nbw="auto", **fields)
    assert auto.tokens_per_s >= max(rate for rate in fixed if rate is not None)
    fitting = {nbw for nbw, rate in zip(NBWS, fixed, strict=True) if rate is not None}
    assert {int(key.rpartition(" ")[2]) for key in auto.chosen} <= fitting
    assert sum(auto.chosen.values()) == (0 if weights == "f16" else 211)


def test_a_traces_descriptors_carry_the_nbw_of_their_matrix(tmp_path):
    policy = tmp_path / "p.toml"
    policy.write_text('name = "p"\nsource = "a test"\ndefault = "8g32"\n[tensors]\n"*.ffn_up" = "1g0"\n')
    plan = plan_trace(
        "smollm2-135m",
        Activations.load(),
        choose_nbw=fastest_nbw(SAIL),
        weights=str(policy),
        layers=(0, 1),
        tensors="*.ffn_*",
        slices=3,
        batch=4,
    )
    plan.write(tmp_path / "t")
    trace = read_trace(tmp_path / "t")
    found: dict[str, set[int]] = {}
    for name, record in zip(trace.header["tiles"], trace.descriptors, strict=True):
        found.setdefault(name.partition("[")[0], set()).add(int(record["nbw"]))
    assert {len(each) for each in found.values()} == {1}
    assert found["blk.0.ffn_up"] != found["blk.0.ffn_gate"]


def test_auto_from_a_terminal_is_auto():
    """A text that was put together is equal to the word and not the same object."""
    assert (format_nbw(PER_TENSOR), format_nbw(3)) == ("NBW auto", "NBW 3")
    assert parse_nbw("".join(["au", "to"])) == parse_nbw("auto")

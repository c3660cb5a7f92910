"""The loop on step times of a public simulator, beside a vLLM that was measured on the same GPU.

`rtx4090`: NVIDIA RTX 4090, Llama-3.1-8B in bf16, vLLM 0.19.0 (256 sequences, 2,048 tokens a step, 2,588
blocks of 16), 300 ShareGPT requests. Nothing here was fitted to the times of the requests.
"""

import csv
import json
import re
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from sailsim.base.errors import SailsimError
from sailsim.sim.serve.loop import ServingLoop
from sailsim.sim.serve.profiles import CHUNKS, CONTEXTS, COUNTS, StepProfiles, write_profiles
from sailsim.sim.serve.server import SchedulerPolicy, Server
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.requests import Request

BUNDLE = Path(__file__).parent / "rtx4090"
RESULTS = BUNDLE / "errors.json"
BLOCKS = 2588


def times(first: np.ndarray, last: np.ndarray, output: np.ndarray) -> dict[str, np.ndarray]:
    """Of requests, from their arrival on, s."""
    return {"TTFT": first, "TPOT": (last - first) / (output - 1), "latency": last}


def test_a_measured_server_is_met_within_5_percent_in_the_means_and_8_at_p99() -> None:
    lines = [line for line in (BUNDLE / "requests.csv").read_text().splitlines() if line[0] != "#"]
    rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]
    requests = [Request(row["arrival_s"], int(row["input_toks"]), int(row["output_toks"])) for row in rows]
    step = StepProfiles(BUNDLE, load_model("llama-3.1-8b"))
    out = ServingLoop(requests, [Server(step.seconds, BLOCKS, SchedulerPolicy())]).run()
    ours = times(out.first_s - out.arrival_s, out.last_s - out.arrival_s, out.output)
    theirs = times(
        *(np.array([row[name] for row in rows]) for name in ("ttft_s", "last_token_s")), out.output
    )
    found = {
        name: {
            of: round(100 * float(number(ours[name]) / number(theirs[name]) - 1), 1)
            for of, number in (("mean", np.mean), ("p50", np.median), ("p99", lambda x: np.percentile(x, 99)))
        }
        for name in ours
    }
    assert all(abs(each["mean"]) < 5 and abs(each["p99"]) < 8 for each in found.values()), found
    assert found == json.loads(RESULTS.read_text())["percent"]


def test_a_step_at_a_point_of_the_grid_is_the_sum_of_what_was_measured() -> None:
    step = StepProfiles(BUNDLE, load_model("llama-3.1-8b"))
    found = {}
    for name in ("dense", "per_sequence"):
        for row in csv.DictReader((BUNDLE / f"tp1/{name}.csv").read_text().splitlines()):
            if "8" in (row.get("tokens"), row.get("sequences")):
                found[row["layer"]] = float(row["time_us"])
    once = sum(found[name] for name in ("embedding", "final_layernorm", "lm_head", "sampler"))
    layer = sum(found.values()) - once + found["layernorm"]  # a layer has two of them
    attention = next(
        float(row["time_us"])
        for row in csv.DictReader((BUNDLE / "tp1/attention.csv").read_text().splitlines())
        if [row[name] for name in ("prefill_chunk", "n_decode", "kv_decode")] == ["0", "8", "256"]
    )
    assert step.seconds([], [257] * 8) == pytest.approx(1e-6 * (once + 32 * (layer + attention)), rel=1e-9)


def test_answers_of_several_lengths_lie_towards_the_longest_as_the_bundle_says(tmp_path: Path) -> None:
    shutil.copytree(BUNDLE, tmp_path, dirs_exist_ok=True)
    path, model = tmp_path / "meta.yaml", load_model("llama-3.1-8b")
    fits = "".join(
        f"    {tp}:\n      method: pooled\n      alpha_default: {x}\n" for tp, x in ((1, 0.25), (2, 9))
    )
    path.write_text(
        f"{path.read_text().partition('skew_fit:')[0]}skew_fit:\n  enabled: true\n  per_tp:\n{fits}"
    )
    plain, skewed = StepProfiles(BUNDLE, model), StepProfiles(tmp_path, model)
    mean, longest = (plain.seconds([], [tokens] * 4) for tokens in (513, 897))
    assert plain.seconds([], [129, 513, 513, 897]) == pytest.approx(mean)
    assert skewed.seconds([], [129, 513, 513, 897]) == pytest.approx(mean + 0.25 * (longest - mean))
    assert skewed.seconds([], [513] * 4) == pytest.approx(mean)


def test_a_row_that_only_other_parts_of_a_grid_have_lies_between_its_own(tmp_path: Path) -> None:
    """Most bundles have attention on two grids; each pair of chunk and answers is read by itself."""
    shutil.copytree(BUNDLE, tmp_path, dirs_exist_ok=True)
    path, model = tmp_path / "tp1/attention.csv", load_model("llama-3.1-8b")
    path.write_text(re.sub(r"\n(0,0,8,32|64,32,\d+,\d+),.*", "", path.read_text()))
    whole, step = StepProfiles(BUNDLE, model), StepProfiles(tmp_path, model)
    for at in (lambda x: ([], [x + 1] * 8)), (lambda x: ([(64, x)], [257] * 3)):
        between = whole.seconds(*at(16)) * 2 / 3 + whole.seconds(*at(64)) / 3
        assert step.seconds(*at(32)) == pytest.approx(between) != whole.seconds(*at(32))


class Linear:
    """1 ms, 10 us a row, 200 us a sequence, 1 us a pair of tokens."""

    def __call__(self, prefill: list[tuple[int, int]], decode_contexts: list[int]) -> float:
        pairs = sum(decode_contexts) + sum(new * old + new * (new + 1) // 2 for new, old in prefill)
        rows, sequences = (
            len(decode_contexts) + each for each in (sum(new for new, _ in prefill), len(prefill))
        )
        return 1e-3 + 1e-5 * rows + 2e-4 * sequences + 1e-6 * pairs


CALLED = {
    **dict.fromkeys(("embedding", "final_layernorm", "lm_head", "sampler"), (1, 0)),
    **dict.fromkeys(("qkv_proj", "rotary_emb", "o_proj"), (0, 1)),
    "layernorm": (0, 2),
}
"""How often LLMServingSim 2 @5daddb21 calls a layer in a step, and in each block, by the `sequence` of its
profiler/models/*.yaml. Not all models have those of `BESIDE`; attention and `moe` are once in a block."""
DENSE = ("gate_up_proj", "act_fn", "down_proj")
BESIDE = {"smollm2-135m": DENSE, "qwen3-8b": ("qk_norm", *DENSE), "qwen3-30b-a3b": ("qk_norm",)}


@pytest.mark.parametrize("name", ["smollm2-135m", "qwen3-8b", "mixtral-8x7b", "gpt-oss-20b", "qwen3-30b-a3b"])
def test_a_written_bundle_is_the_machine_as_its_reader_adds_it_up(tmp_path: Path, name: str) -> None:
    # Facts of that reader, which ran on a bundle of SAIL by hand: whole ns, at least 1; a layer's row by the
    # step's tokens, the head's by its requests; attention by tokens before the new ones, prompts' summed. A
    # pair of chunk and answers without rows is answered by another one; a layer without rows counts as 0.
    # Its default gate takes tokens times experts of a token, at most all; between rows it is linear.
    model, ours = load_model(name), Linear()
    write_profiles(tmp_path, ours, model, {"hardware": "here", "model": f"huggingface/{model.name}"})
    read = StepProfiles(tmp_path, model)
    called = CALLED | dict.fromkeys(BESIDE.get(name, ()), (0, 1))
    files = ("dense", "per_sequence", "attention", *(("moe",) if model.experts else ()))
    found: dict[tuple[str, ...], int] = {}
    for file in files:
        for row in csv.reader((tmp_path / f"tp1/{file}.csv").read_text().splitlines()[1:]):
            key = ("moe", *row[:-1]) if file == "moe" else tuple(row[:-1])
            assert key not in found
            found[key] = max(1, round(1e3 * float(row[-1])))
    assert {key[0] for key in found if len(key) == 2} == set(called)
    assert set(found) >= {(name, str(n)) for name in ("lm_head", "sampler") for n in COUNTS if n}
    for new in CHUNKS:
        for count in COUNTS:
            for before, kept in product(CONTEXTS if new else (0,), CONTEXTS[1:] if count else (0,)):
                if new or count:
                    step = ([(new, before)] if new else [], [kept + 1] * count)
                    seconds = ours(*step)
                    ns = model.n_layers * found[(str(new), str(before), str(count), str(kept))]
                    for layer, (once, block) in called.items():
                        rows = count + (bool(new) if layer in ("lm_head", "sampler") else new)
                        ns += (once + block * model.n_layers) * found[(layer, str(rows))]
                    if model.experts:
                        taken = min((new + count) * model.experts.used, model.experts.count)
                        ns += model.n_layers * found[("moe", str(new + count), str(taken))]
                    assert 1e-9 * ns == pytest.approx(seconds, rel=1e-3)
                    assert read.seconds(*step) == pytest.approx(seconds, rel=1e-6)
    assert read.seconds([(300, 1000)], [700] * 20) == pytest.approx(ours([(300, 1000)], [700] * 20), rel=0.05)


def test_experts_take_the_share_of_the_weights_that_are_read(tmp_path: Path) -> None:
    """A token of Mixtral reads two of eight experts of 3 x 4096 x 14336 weights, a router of 8 x 4096, and
    2.5 x 4096 x 4096 of attention."""
    model = load_model("mixtral-8x7b")
    write_profiles(tmp_path, Linear(), model, {})
    found = {
        file: [row.split(",") for row in (tmp_path / f"tp1/{file}.csv").read_text().splitlines()]
        for file in ("dense", "moe")
    }
    for rows, experts in ((1, 2.0), (3, 8 * (1 - 0.75**3)), (16, 8 * (1 - 0.75**16))):
        (chosen,) = (32 * float(us) for tokens, _, us in found["moe"] if tokens == str(rows))
        calls = {name: once + 32 * block for name, (once, block) in CALLED.items()}
        other = sum(calls[name] * float(us) for name, tokens, us in found["dense"] if tokens == str(rows))
        fed = 4096 * (3 * 14336 * experts + 8)
        assert chosen / (chosen + other) == pytest.approx(fed / (fed + 2.5 * 4096**2), rel=1e-6)


MOE = "tokens,activated_experts,time_us\n1,2,10\n2,2,12\n2,4,20\n4,4,30\n4,8,40\n8,8,80\n"


@pytest.mark.slow
def test_experts_are_read_as_the_gate_of_llmservingsim_asks_for_them(tmp_path: Path) -> None:
    """Tokens times experts of a token, at most all: between numbers of experts linear, of each between its
    tokens, as of its first below them."""
    model = load_model("mixtral-8x7b")
    write_profiles(tmp_path, Linear(), model, {"model": model.name})

    def at(tokens: int, text: str) -> float:
        (tmp_path / "tp1/moe.csv").write_text(text)
        return StepProfiles(tmp_path, model).seconds([(tokens, 0)], [])

    none = "tokens,activated_experts,time_us\n1,2,0\n1,8,0\n"
    for tokens, us in ((1, 10), (2, 20), (3, (25 + 40) / 2), (4, 40), (6, 60), (16, 160)):
        assert at(tokens, MOE) - at(tokens, none) == pytest.approx(32e-6 * us), tokens


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "moe.csv cannot be read"),
        (MOE[: MOE.index("4,8")], "moe.csv has no row of activated_experts 8; allowed is a whole grid."),
        (MOE.replace(",2,", ",3,"), "moe.csv has no row of activated_experts 2; allowed is a whole grid."),
        (MOE.replace("30", "-1"), "line 5 has -1; allowed is 0 or more"),
        (MOE.replace("30", ""), "line 5: allowed are numbers in the columns tokens, activated_experts"),
    ],
)
def test_a_bundle_without_experts_is_refused(tmp_path: Path, change: str | None, said: str) -> None:
    model = load_model("mixtral-8x7b")
    write_profiles(tmp_path, Linear(), model, {"model": model.name})
    (tmp_path / "tp1/moe.csv").unlink()
    if change is not None:
        (tmp_path / "tp1/moe.csv").write_text(change)
    with pytest.raises(SailsimError, match=said):
        StepProfiles(tmp_path, model)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("dense", lambda text: text.replace("o_proj", "other"), "dense.csv has no layer o_proj; allowed are"),
        ("dense", lambda text: text + "other,1,2\n", "dense.csv has the layer other; allowed are"),
        (
            "per_sequence",
            lambda text: text.replace("sequences", "n"),
            "line 2: allowed are numbers in the col",
        ),
        ("per_sequence", lambda text: text + "sampler,300,-1\n", "line 82 has -1; allowed is 0 or more"),
        (
            "attention",
            lambda text: re.sub(r"\n64,\d+,32,.*", "", text),
            "no row of prefill_chunk 64, n_decode 32; allowed are all pairs.",
        ),
        ("attention", lambda text: text.replace("\n0,0,1,16,9.31067", "\n0,0,1,16,x"), "line 2: allowed are"),
        (
            "attention",
            lambda text: text.replace("\n0,0,1,16,", "\n0,0,1.5,16,"),
            "line 2 has 1.5; allowed is",
        ),
        ("attention", lambda text: text.replace("9.31067", "nan"), "line 2 has nan; allowed is"),
        ("attention", lambda text: text.splitlines()[0], "no row of prefill_chunk 0, n_decode 1; allowed"),
        ("attention", lambda text: re.sub(r"\n\d+,\d+,[1-9].*", "", text), "prefill_chunk 0, n_decode 1; a"),
        ("attention", lambda text: re.sub(r"\n[1-9]\d*,.*", "", text), "prefill_chunk 1, n_decode 0; all"),
        ("attention", None, "attention.csv cannot be read"),
    ],
)
def test_a_damaged_bundle_is_refused_and_nothing_counts_as_0(
    tmp_path: Path, file: str, change: object, said: str
) -> None:
    (tmp_path / "tp1").mkdir()
    (tmp_path / "meta.yaml").write_text((BUNDLE / "meta.yaml").read_text())
    for name in ("dense", "per_sequence", "attention"):
        text = (BUNDLE / f"tp1/{name}.csv").read_text()
        if name != file or change is not None:
            (tmp_path / f"tp1/{name}.csv").write_text(change(text) if name == file else text)  # type: ignore[operator]
    with pytest.raises(SailsimError, match=said):
        StepProfiles(tmp_path, load_model("llama-3.1-8b"))

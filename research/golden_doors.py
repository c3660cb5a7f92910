"""The product's doors: all that golden.py knows of the product. A renamed door is one line here.

`NOW_CALLED` and `GONE` say what has changed in the answers on purpose.
"""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from reuse import keys
from reuse.quantizers import quantize_columns, quantize_rows_unsigned
from sailsim import (
    Point,
    SailsimError,
    Tile,
    WeightCode,
    compare,
    load_model,
    load_system,
    time_tile,
)
from sailsim.analysis.costs.area import area
from sailsim.analysis.costs.dollars import CostConstants, prices
from sailsim.analysis.paper.evaluator import judged
from sailsim.analysis.paper.parameter_space import space
from sailsim.analysis.runs.compare import comparisons
from sailsim.analysis.runs.runs import runners, runners_by_name, runs
from sailsim.analysis.search.design_search import DesignSearch
from sailsim.analysis.search.exploration import explore
from sailsim.analysis.serving.serve_requests import serve, serving_runners
from sailsim.analysis.serving.service import Deployment
from sailsim.analysis.uncertainty.prior import machine_changes
from sailsim.lut_gemv import convert, fast, reference
from sailsim.lut_gemv.codes import pack_codes, unpack_codes
from sailsim.lut_gemv.counts import PrtConfig
from sailsim.lut_gemv.operands import activation_range
from sailsim.lut_gemv.quantize import SIGNS, quantize_rows, quantize_weights
from sailsim.lut_gemv.reference import tile_counts
from sailsim.lut_gemv.tile import Scales
from sailsim.lut_gemv.trace_file import read_trace, replay, write_trace
from sailsim.sim.backend import memory_need
from sailsim.sim.backends.cores import predict_cores
from sailsim.sim.backends.roofline import predict_gpu
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.machine.system import Gpu
from sailsim.sim.machine.system_files import load_machine, vary
from sailsim.sim.serve.server import SchedulerPolicy
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.inference.capture import default_gguf
from sailsim.workloads.inference.decoder import open_llama
from sailsim.workloads.inference.perplexity import QUALITY, shipped_text, text_chunks, unit_predictions
from sailsim.workloads.model_files.load import chosen_format
from sailsim.workloads.requests import at_rate, read_requests
from sailsim.workloads.traces import plan_trace
from trace_time import simulate_trace

NOW_CALLED: dict[str, str] = {"interval": "band", "host_software": "around"}
"""Names that the product has changed in its answers: name now -> recorded name, each a part between dots."""
RENAMED = {"sail-n1-fast-host": "sail-n1:host.attention_rate=2.06347:host.product_overhead=0"}
"""Machines of the questions that do not ship: their names, and what they were."""
NOW_SAID = {
    "1 GPU": "1 card",
    "of a sweep --set beyond_limit": "of a sweep --axis beyond_limit",
    **{is_now: name for name, is_now in RENAMED.items()},
}
"""Words that the product has changed, whole or within a refusal: words now -> recorded ones."""
GONE: dict[str, str] = {
    "tiles/* *.refused": "the sentence began twice with the tile",
    **dict.fromkeys(("running/file tokens.*", "running/4g32 tokens.*"), "no model runs token by token"),
    "conversion/ints-* *": "no unit converts from fp32",
    **dict.fromkeys(("points/* sail-ampere.*", "points/* sail-neon.*"), "runners that came later"),
    **dict.fromkeys(("prices/* sail-ampere.*", "prices/* sail-neon.*"), "runners that came later"),
}
"""Shell patterns of recorded values, "item name", that are gone on purpose -> why."""

HELD = tempfile.TemporaryDirectory(prefix="golden-")
FILES = Path(HELD.name)
GGUF = str(default_gguf())
POLICY = 'name = "mixed"\nsource = "golden"\ndefault = "4g64"\n[tensors]\n"blk.*.attn_v*" = "q6_k"\n'
Answer = Mapping[str, Any]


def files() -> dict[str, str]:
    """The files that words of golden.toml stand for; two are written here."""
    made = {
        "@gguf": GGUF,
        "@policy": str(FILES / "mixed.toml"),
        "@synthetic": str(FILES / "synthetic.safetensors"),
    }
    if not Path(made["@policy"]).exists():
        Path(made["@policy"]).write_text(POLICY)
        shipped, draw = Activations.load(), Draw("capture")
        shapes = {role: (1 if role == "head" else 2, 12, c.shape[-1]) for role, c in shipped.codes.items()}
        codes = {role: draw.bell(shape, 32767).astype(np.int16) for role, shape in shapes.items()}
        scales = {role: np.ones(shape[:2], np.float32) for role, shape in shapes.items()}
        meta = {**shipped.meta, "model": "synthetic", "model_key": "synthetic"}
        replace(shipped, meta=meta, layers=(0, 15), codes=codes, scales=scales).save(made["@synthetic"])
    return made


def machine_named(text: str) -> str:
    """A machine of the questions as the product has it."""
    for name, is_now in RENAMED.items():
        text = text.replace(name, is_now)
    return text


def run_all(fields: Answer, beside: str | None) -> Answer:
    """Every runner at a point, and one machine more, with ratios, joules and dollars."""
    runners_by_name = files()
    fields = {**fields, "system": machine_named(fields["system"])}
    point = Point(**{name: runners_by_name.get(str(value), value) for name, value in fields.items()})
    return compare(point, runners=runners([beside] if beside else []))["runs"]


def predict(
    machine: str,
    model: str,
    weights: str,
    threads: int | None = None,
    **choices: Any,
) -> Answer:
    """The rate of cores or a card by themselves."""
    spec, found = load_model(model), load_machine(machine)
    fmt = chosen_format(weights, model, spec)
    if isinstance(found, Gpu):
        step = predict_gpu(found, spec, fmt, **choices)
    else:
        step = predict_cores(found, spec, fmt, threads or found.cores.count.whole, **choices)
        tokens = choices["prompt"] or choices["context"]
        memory_need(found, spec, fmt, choices["batch"], tokens).check(spec, fmt, choices["batch"], tokens)
    rates = {"tokens_per_s": step.tokens_per_s, "low": step.low, "high": step.high, "step_s": step.step_s}
    return rates | {"phases": dict(step.breakdown), "instances": step.instances or 1}


def area_of(machine: str) -> Answer:
    """Square millimetres of a machine's units, and of what they may be a share."""
    found = area(load_system(machine_named(machine)))
    return {"added": found.added_mm2(), "parts": dict(found.parts), "bases": dict(found.bases)}


def make_tile(
    draw: Draw, code: Sequence[Any], k: int, n: int, batch: int, scaled: str, **widths: Any
) -> Tile:
    """A tile of seeded operands; `code` is its kind and bits, `scaled` no, scale or minimum."""
    kind, bits = code
    arguments = {
        "twos": (bits,),
        "offset": (bits, draw.whole(0, 1 << bits)),
        "book": (draw.array(1 << bits, -300, 300),),
    }
    made = getattr(WeightCode, kind)(*arguments.get(kind, ()))
    low, high = activation_range(widths["abits"], widths["signed"])
    x = np.clip(draw.bell((batch, k), (high - low) // 2) + (high + low + 1) // 2, low, high)
    x = x.astype(("" if widths["signed"] else "u") + ("int8" if widths["abits"] <= 8 else "int16"))
    shape = (2, -(-k // (widths["group_size"] or k)), n)
    halves = draw.array(shape, 1, 4096).astype(np.float16) / np.float16(8192)
    each = draw.array(batch, 1, 4096).astype(np.float32) / np.float32(10007)
    scales = None if scaled == "no" else Scales(halves[0], each, halves[1] if scaled == "minimum" else None)
    codes = draw.array((k, n), 0, made.legal_codes).astype(np.uint8)
    return Tile(x=x, codes=codes, code=made, scales=scales, **widths)


def products(by: str, tile: Tile, policy: str, entries: int) -> Answer:
    """A tile's integers and patterns, `by` the core or the reference."""
    of: Any = {"core": fast, "reference": reference}[by]
    bits: Any = {"core": keys.bit_profile, "reference": keys.plain_bit_profile}[by]
    prt = PrtConfig(entries, policy, tile.prt)
    widths = {"abits": tile.abits, "signed": tile.signed, "nbw": tile.nbw, "group_size": tile.group_size}
    acc = of.lut_gemv_blocks(tile.x, tile.codes, code=tile.code, **widths)
    patterns = of.pattern_profile(tile.x, prt=prt, **widths)
    return {
        "blocks": sha(acc),
        "result": sha(tile.finish(acc)),
        "patterns": sha(patterns.zero, patterns.hits, patterns.misses),
        "bits": sha(bits(tile.x, prt=prt, **widths)),
        "counts": tile_counts(patterns, nbw=tile.nbw).as_dict(),
    }


def cycles(machine: str, tile: Tile, memory: str) -> Answer:
    """How long a tile takes on one unit."""
    found = time_tile(load_system(machine), tile, memory)
    return {
        "phases": found.phases,
        "waiting": found.waiting,
        "around": found.overheads,
        "cycles": found.cycles,
    }


def written(tiles: Sequence[Tile]) -> Path:
    """A trace of tiles."""
    write_trace(FILES / "tiles.trace", tiles)
    return FILES / "tiles.trace"


def model_trace(**choices: Any) -> Path:
    """A trace of matrices of the installed model."""
    plan_trace(GGUF, Activations.load(), **choices).write(FILES / "model.trace")
    return FILES / "model.trace"


def replayed(trace: Path, machine: str) -> Answer:
    """What a trace stores, what it gives, and how long a whole machine takes for it."""
    opened = read_trace(trace)
    done = list(replay(opened))
    return {
        **vars(simulate_trace(load_system(machine), opened)),
        "stored": sha(opened.image, opened.descriptors.view(np.uint8)),
        "outputs": sha(*(each.output for each in done if each.output is not None)),
        "as_expected": sum(bool(each.matches) for each in done),
        "lookups": sum(each.lookups for each in done),
        "hits": sum(each.prt_hits for each in done),
    }


def to_floats(draw: Draw, bits: int) -> Answer:
    """Whole numbers of every size in so many bits as fp32, and the steps of that program."""
    ints = np.frombuffer(draw.randbytes(8 * 1613), "<i8") >> draw.array(1613, 64 - bits, 64)
    floats, tally = convert.int_to_fp32(ints, bits)
    return {"floats": sha(floats), "steps": str(sorted(tally.items()))}


def quantized(draw: Draw, bits: int) -> Answer:
    """What quantizers make of a matrix, and codes packed and unpacked."""
    x = draw.bell((96, 70), 1 << 20).astype(np.float32) / np.float32(12345)
    codes = draw.array((33, 29), 0, 1 << bits).astype(np.uint8)
    packed, code = pack_codes(codes, bits), WeightCode.offset(bits, (1 << bits) // 3)
    even, unsigned = WeightCode.twos(bits) if bits > 1 else SIGNS, WeightCode.offset(bits, 0)
    return {
        "rows": sha(*quantize_rows(x, 2 * bits)),
        "columns": sha(*quantize_columns(x, 2 * bits)),
        "unsigned": sha(*quantize_rows_unsigned(x, 2 * bits)),
        "weights": [sha(*quantize_weights(x, even, size)[:2]) for size in (0, 32)],
        "minimum": [sha(*quantize_weights(x, unsigned, size, minimum=True)) for size in (0, 32)],
        "code": [sha(*quantize_weights(x, of, 32)[:2]) for of in (code, WeightCode.nf4())],
        "packed": sha(packed, unpack_codes(packed, 29, bits)),
    }


def prior(name: str, count: int) -> tuple[Any, dict[str, Any]]:
    """A space of unknowns; the nominal machine, drawn ones and other designs of the first, by name."""
    within, draw = space("sail", name), Draw(name)
    found = {"nominal": within.nominal}
    found |= {f"{at:02d}": within.draw([draw.random() for _ in within.factors]) for at in range(count)}
    other = {f"design-{at}": each for at, each in enumerate(within.alternatives)}
    return within, found | {at: within.design(each, found["00"], (0, 0, 0)) for at, each in other.items()}


def claims_of(within: Any, machine: Any) -> Answer:
    """Every reading of every claim, on each workload."""
    return {f"{claim} {at}": of.ravel().tolist() for (claim, at), of in judged(within, machine).items()}


def searched(batch: int, **values: Any) -> Answer:
    """What a search of machines finds of one: rate, tokens per dollar, area."""
    threads, base = values.pop("threads"), load_system("sail-n1")
    point, who = Point(batch=batch, threads=threads), runners_by_name("sail", "cores")
    try:
        machine = vary(base, machine_changes(base, values), name="trial")
        rows = [run.as_record() for run in runs(point, machine, who, prior=None)]
    except SailsimError as error:
        return {"reason": str(error)}
    costs = comparisons(rows, prices(), CostConstants.ends())
    return {
        "tokens_per_s": rows[0]["tokens_per_s"],
        "tokens_per_usd": costs[0]["tokens_per_usd_used"],
        "area_mm2": area(machine).added_mm2(),
        "speedup_cpu": costs[1]["speedup"],
        "reason": "",
    }


def served(
    trace: str,
    requests: int,
    rate: float,
    burst: float,
    runners: Sequence[str],
    scheduler: Sequence[Any],
    servers: Sequence[Any],
    routing: Any,
    prefill: Any,
    find_rate: bool,
    **fields: Any,
) -> Answer:
    """Times, shares within a level, dollars and joules of requests on servers, by runner."""
    name, setting, value = scheduler
    service = Deployment(
        SchedulerPolicy(name, **{setting: value}),
        routing=routing,
        link_gb_s=25.0 if servers[0] == "readers" else 0.0,
        **{servers[0]: servers[1]},
    )
    arriving = at_rate(read_requests(trace)[:requests], rate, burst=burst)
    point = Point(model="llama-3.1-8b", threads=16, beyond_limit=True, **fields)
    who = serving_runners(runners)
    found = serve(arriving, point, who, service, find_rate=find_rate, burst=burst, prefill=prefill)
    rows = {row["runner"]: dict(row) for row in found["machines"]}
    for row in rows.values():
        if (times := row.pop("served", None)) is not None:
            row["times"] = sha(times.first_s, times.last_s, times.restarts)
    return rows


def explored(samples: int, **limits: Any) -> Answer:
    """A search of machines: a hash of its trials, and the tables that it tells."""
    with tempfile.TemporaryDirectory(dir=FILES) as folder:
        found = explore(DesignSearch(**limits), folder, samples, progress=False)
    tables = {name: getattr(found, name).to_dict("records") for name in ("front", "waterfall", "workloads")}
    return {**tables, "trials": sha(found.trials[["area_percent", "power_w", "score"]].to_numpy())}


def quality(weights: str, **choices: Any) -> Answer:
    """The most probable tokens in two short chunks of the shipped text, and the perplexity."""
    model = open_llama(GGUF)
    chunks = text_chunks(model, shipped_text(QUALITY), 2, 32)
    found = unit_predictions(model, chunks, chosen_format(weights, GGUF, model.spec), **choices)
    return {"tokens": found.top.ravel().tolist(), "perplexity": found.perplexity}


def gem5_rows(tiles: Sequence[Tile]) -> list[dict[str, int]]:
    """What gem5 says of tiles, each on a unit of its own, one after the other."""
    ends, gem5 = ",".join(str(at + 1) for at in range(len(tiles))), Gem5(os.environ["SAILSIM_GEM5"])
    run = gem5.replay(
        load_system("sail-n1"), written(tiles), FILES / "gem5", units=len(tiles), extra=("--phase-ends", ends)
    )
    return run.tiles()


class Draw(random.Random):
    """Numbers from words, the same in every version of Python and NumPy."""

    def whole(self, low: int, high: int) -> int:
        """low..high - 1."""
        return low + int(self.random() * (high - low))

    def array(self, shape: int | tuple[int, ...], low: int, high: int) -> Any:
        """int64, each low..high - 1."""
        bits = np.frombuffer(self.randbytes(4 * int(np.prod(shape))), "<u4").astype(np.int64)
        return (low + (bits * (high - low) >> 32)).reshape(shape)

    def bell(self, shape: tuple[int, ...], most: int) -> Any:
        """int64 around 0, most of them small."""
        return self.array((3, *shape), -most, most + 1).sum(axis=0) // 3


def sha(*arrays: Any) -> str:
    """SHA-256 of arrays' shapes and numbers: whole ones as int64, others as they are."""
    digest = hashlib.sha256()
    for array in arrays:
        plain = array.astype("<i8") if array.dtype.kind in "iub" else np.ascontiguousarray(array)
        digest.update(f"{plain.dtype.str}{plain.shape}".encode() + plain.tobytes())
    return digest.hexdigest()


def attempt(answer: Callable[[], Answer]) -> Answer:
    """An answer, or the sentence that refuses it."""
    try:
        return answer()
    except Exception as error:
        kind = "refused" if isinstance(error, SailsimError) else f"crashed, {type(error).__name__}"
        sentence = str(error).replace(str(FILES), "@").replace(GGUF, "@gguf")
        for now, recorded in NOW_SAID.items():
            sentence = sentence.replace(now, recorded)
        return {kind: sentence}

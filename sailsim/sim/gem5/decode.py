"""Whole tokens on gem5: the program `decode` (docs/decode.md) on the cores and PIM units of a machine.

A point is one run of gem5. Its image lies in simulated memory before the program starts
(gem5-configs/preload.py). Atomic cores fill the key-value cache and decode the first tokens, which warms the
caches. O3 cores decode the measured tokens. If only some blocks of a model run, O3 cores start with empty
caches, because the missing blocks would have evicted the data.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sailsim import _core
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import sha256_of
from sailsim.sim.gem5.binary import Gem5, Gem5Run, Gem5TimeoutError, machine_json, require_program
from sailsim.sim.gem5.cached_runs import keys_of, run_or_load
from sailsim.sim.gem5.stored import DECODE
from sailsim.sim.machine.system import System
from sailsim.sim.step.tiles import TileShape
from sailsim.sim.study.origin import code_version
from sailsim.sim.study.store import Store
from sailsim.workloads.images.image_decode import CACHES, ImageDecoder
from sailsim.workloads.images.image_file import Image, ImagePlan, plan_image
from sailsim.workloads.inference.tokenizer import Tokenizer, token_numbers
from sailsim.workloads.model_files.gguf_model import find_gguf
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.model import ModelSpec

LINEARS = ("neon", "lut", "lutmm")
REGIONS = (
    "embed", "norm", "quantise", "qkv", "rope", "attention", "o", "ffn", "head", "sample",
)  # fmt: skip
"""Regions of a step, in order; their cycles add up to the step's."""
WAITS = ("barrier", "units")
"""Waits of the first thread, which are part of the regions."""
KV_BITS = {word.lstrip("fpint"): word for word in CACHES}
"""Names of cache formats in the program, by bits of keys and values."""
ADDRESS = 0x6000000000
"""Address at which gem5-configs/preload.py puts the image."""
BATCH_MAX = 64
PROMPT_MAX = 1024
"""Most tokens of a prompt; atomic cores decode all of them but the last."""
LOGITS = Path("/proc/self/logits")
"""Path to which the program writes its logits; `run_program.py` redirects this folder into the run's own. A
path of another length would move the program's stack and change the cycles."""
_MULTIPLY = ("linears", "threads", "nbw", "units")
"""Fields of a point that choose the hardware of products; they must not change the decoded tokens."""

Logits = dict[tuple[Any, ...], npt.NDArray[np.float32]]
"""Logits of the model in NumPy, (steps, batch, vocab), by image, cache, prompt and the program's tokens."""


HEAD_OUTPUTS = 16_000
"""Outputs of the head if only some blocks of a model run: a whole head would take most of the run, and its
outputs are alike. The 500 outputs of each of 32 slices fill passes as those of a whole head do."""


@dataclass(frozen=True, kw_only=True)
class DecodePoint:
    """One run of the program `decode`.

    Attributes:
        model: GGUF file, or name or file of a shape.
        weights: format of the weights; default: the file's own, else 4g128.
        blocks: number of the model's blocks in the image, with `HEAD_OUTPUTS`; 0: all.
        linears: kernel of products, one of `LINEARS`.
        context: positions of the cache that are filled before the first measured step.
        attention: "cores" or "units", which multiply in attention.
        cache: format of keys and values, of `CACHES`.
        warm: last positions of the context, filled by tokens decoded on atomic cores; the program's table
            fills those before.
        steps: measured tokens.
        units: PIM units that multiply; 0: one per slice.
        prompt_tokens: token numbers with commas, which every row of the batch decodes. The last is the input
            of the first measured step; the others are the context. Empty: every token is token 1.
        prefill_tokens: tokens of another prompt that cores read in each step while units of `lutmm` multiply.
    """

    model: str
    weights: str = ""
    blocks: int = 0
    linears: str = "neon"
    threads: int = 1
    batch: int = 1
    context: int = 64
    attention: str = "cores"
    cache: str = "fp16"
    warm: int = 1
    steps: int = 1
    nbw: int = 4
    units: int = 0
    prompt_tokens: str = ""
    prefill_tokens: int = 0

    @property
    def pim(self) -> bool:
        """Whether the machine has PIM units."""
        return self.linears == "lutmm" or self.attention == "units"

    @property
    def words(self) -> str:
        """Description for progress and messages."""
        blocks = f", {self.blocks} blocks" if self.blocks else ""
        attention = f", attention on units, {self.cache}" if self.attention == "units" else ""
        return (
            f"{Path(self.model).stem} {self.weights or 'own weights'}{blocks}, {self.linears}, "
            f"{self.threads} threads, batch {self.batch}, context {self.context}{attention}"
        )

    def options(self, system: System) -> list[str]:
        """Options of the program. The image always has the same name, as arguments move the stack."""
        prompt = self.prompt_tokens or ",".join(["1"] * (self.warm + 1))
        named: dict[str, Any] = {
            "image": "model.image", "image-at": ADDRESS, "linears": self.linears, "threads": self.threads,
            "batch": self.batch, "context": self.context - self.warm, "prompt": prompt, "steps": self.steps,
            "cache": self.cache, "seed": 1, "nbw": self.nbw,
        }  # fmt: skip
        if self.units:
            named["units"] = self.units
        if self.prefill_tokens:
            named["beside"] = ",".join(["1"] * self.prefill_tokens)
        if self.attention != "cores":
            tiles = _head_tiles(_spec(self.model), self.context + self.steps, int(self.cache[-1]), self.nbw)
            named |= {"attention": self.attention, "tile-most": _most_outputs(tiles, system)}
        if self.prompt_tokens:
            named["logits"] = LOGITS
        words = [word for name, value in named.items() for word in (f"--{name}", str(value))]
        return [*words, "--trusted", "--list", "--m5"]


def prompt_tokens(model: str, prompt: str) -> list[int]:
    """Tokens of a prompt: whole numbers with commas between them, else a text for the model's tokenizer.

    A text gets the model's begin-of-text token, if the model has one.

    Raises:
        SailsimError: a text for a model without a tokenizer, tokens outside its vocabulary, or too many.
    """
    file, spec = find_gguf(model), _spec(model)
    tokens = token_numbers(prompt)
    if tokens is None:
        if file is None:
            raise SailsimError(
                f"prompt is {prompt!r}, and model {model} has no tokenizer; allowed are token numbers such "
                "as 1,2,3."
            )
        tokenizer = Tokenizer(file)
        first = tokenizer.first
        tokens = [*([] if first is None else [first]), *tokenizer.encode(prompt)]
    if not 1 <= len(tokens) <= PROMPT_MAX:
        raise SailsimError(f"prompt has {len(tokens)} tokens; allowed are 1..{PROMPT_MAX}.")
    if max(tokens) >= spec.vocab:
        raise SailsimError(f"prompt has token {max(tokens)}; allowed are 0..{spec.vocab - 1}.")
    return tokens


def _spec(model: str) -> ModelSpec:
    file = find_gguf(model)
    return file.spec if file else load_model(model)


def decode_points(base: DecodePoint, system: System, **axes: Sequence[Any]) -> list[DecodePoint]:
    """Points for every combination of ``batch``, ``context``, ``threads`` and ``linears``. The last varies
    fastest, so that an interruption leaves whole comparisons.

    `units` is 0 where no unit works, as such points are the same for any number of units.

    Raises:
        SailsimError: a value that the program, the machine or the model does not have.
    """
    on_units, cache, units = base.attention == "units", base.cache, base.units
    linears, context = axes["linears"], axes["context"]
    if cache not in (CACHES[1:] if on_units else CACHES[:2]):
        raise SailsimError(
            f"kv_bits is {cache.lstrip('fpint')} with attention on the {base.attention}; allowed there is "
            f"{'2..8' if on_units else '8 or 16'}."
        )
    if not linears or not set(linears) <= set(LINEARS):
        raise SailsimError(f"linears is {','.join(linears)!r}; allowed are {', '.join(LINEARS)}.")
    cores = min(system.cores.count.whole, 64)
    ends = {"threads": (1, cores), "batch": (1, BATCH_MAX), "context": (base.warm, 1 << 20)}
    for name, (least, most) in ends.items():
        for value in axes[name]:
            if not least <= value <= most:
                raise SailsimError(f"{name} is {value}; allowed are {least}..{most}.")
    spec = _spec(base.model)
    if 0 < spec.max_context < max(context):
        raise SailsimError(
            f"context is {max(context)}; allowed for {spec.name} is at most {spec.max_context}, which it was "
            "made for."
        )
    if on_units:
        _require_room(system, spec, max(context), int(cache[-1]), base.nbw)
    if "lutmm" in linears or on_units:
        system.require_pim()
        slices = system.llc.slices.whole
        if not 0 <= units <= slices:
            raise SailsimError(f"units is {units}; allowed are 1..{slices}: a matrix has a tile a slice.")
    if base.prefill_tokens and set(linears) != {"lutmm"}:
        raise SailsimError(
            f"prefill-tokens is given with linears {','.join(linears)}; allowed is lutmm alone."
        )
    if units and not (on_units or "lutmm" in linears):
        raise SailsimError(
            f"units is {units} and linears is {','.join(linears)}; allowed with units is lutmm, or "
            "attention on the units."
        )
    names = ("batch", "context", "threads", "linears")
    rows = itertools.product(*(axes[name] for name in names))
    points = (replace(base, **dict(zip(names, row, strict=True))) for row in rows)
    return [each if on_units or each.linears == "lutmm" else replace(each, units=0) for each in points]


def _require_room(system: System, spec: ModelSpec, context: int, bits: int, nbw: int) -> None:
    """Raise SailsimError if the machine's arrays do not hold the tables of a head's products."""
    config = system.slice_config(slices=1, convert=system.unit_convert)
    for tile in _head_tiles(spec, context, bits, nbw):
        try:
            _core.plan_tile(config, tile, True)
        except ValueError as error:
            raise SailsimError(
                f"attention is units, and {system.name} has no room for a head's {tile.k} x {tile.n} tile: "
                f"{error}."
            ) from None


def _head_tiles(spec: ModelSpec, context: int, bits: int, nbw: int) -> list[TileShape]:
    sizes = ((spec.head_dim, context), (context, spec.head_dim))
    return [TileShape(*size, spec.gqa, bits, bits, 8, nbw, 0) for size in sizes]


def run_decodes(
    points: Sequence[DecodePoint],
    gem5: Gem5,
    machine: str,
    system: System,
    program: Path,
    out: Path,
    *,
    timeout_s: float = 3600,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[list[dict[str, Any]], int]:
    """Run the points that the folder does not hold yet; each result is stored at once.

    A run that takes longer than `timeout_s` is stopped, and stored with a `reason` in place of numbers. With
    another `timeout_s` it is run again.

    Args:
        points: points of one image, from `decode_points`.
        program: the decode program.
        out: folder of the results; images and gem5's own output go into folders below it.
        tell: called with the description of each run.

    Returns:
        A record for each point, and the number of them that the folder held before.

    Raises:
        SailsimError: bad input; or runs failed otherwise, raised after all others are stored.
    """
    machine_json(system)  # refuses a machine that gem5 does not have, before an image is made
    require_program(program)
    plan = _plan(points[0], system)  # refuses a model that no image can hold before the first run
    file = find_gguf(points[0].model)
    content, stored = sha256_of(program, "program"), Store(out).keys()
    known: Logits = {}
    rows, failures, before = [], [], 0

    def simulated(point: DecodePoint, name: str) -> dict[str, Any]:
        image = image_for(point, system, out)
        folder = (out / f"{DECODE}-{Path(point.model).stem}-{name}").resolve()
        logits = folder / "proc-self" / LOGITS.name  # where run_program.py redirects LOGITS to
        logits.unlink(missing_ok=True)
        done = gem5.run(
            system,
            [str(program), *point.options(system)],
            folder,
            cpu="atomic,o3",
            cores=point.threads,
            units=(point.units or None) if point.pim else 0,
            timeout_s=timeout_s,
            extra=["--preload", str(image.resolve()), *["--empty-caches"] * bool(point.blocks)],
        )
        columns = _measured(done, point, system) | {"outputs": plan.dimensions.vocab}
        if point.prompt_tokens:
            columns |= against_model(point, columns["tokens"], logits, image, known)
        return columns

    for at, point in enumerate(points):
        tell(f"{at + 1} of {len(points)}: {point.words}")
        digests = {"model_sha256": file.sha256 if file else "", "content": content}
        question = {"command": DECODE, "system": machine, **asdict(point), "pim": point.pim, **digests}
        limited = {**question, "timeout_s": timeout_s}  # a stopped run's record, valid for this limit
        (key, group), (stopped, _) = (keys_of(each, system, gem5) for each in (question, limited))
        before += not stored.isdisjoint((key, stopped))

        simulate = partial(simulated, point, group[:12])
        reason: dict[str, Any] = {}
        if stopped not in stored:
            try:
                rows.append(run_or_load(out, question, system, gem5, simulate, group))
                continue
            except Gem5TimeoutError as error:
                reason = {"reason": str(error), "host_s": timeout_s}
            except SailsimError as error:
                failures.append(f"{point.words}: {error}")
                continue
        rows.append(run_or_load(out, limited, system, gem5, reason.copy, group))
    if failures:
        others = f"; the others are stored in {out}" if rows else ""
        raise SailsimError(
            f"{len(failures)} of {len(points)} runs of decode on gem5 failed (the first: "
            f"{failures[0].rstrip('.')}){others}."
        )
    return rows, before


def differing(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Sentences on runs whose tokens or logits differ but should not; empty if all agree."""
    firsts: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    sentences = []
    for row in rows:
        if row.get("step_cycles") is None:
            continue
        same = [name for name in DecodePoint.__dataclass_fields__ if name not in _MULTIPLY]
        first = firsts.setdefault(tuple(row.get(name) for name in ("system", "model_sha256", *same)), row)
        for name in ("tokens", "logits"):
            if row[name] != first[name]:
                sentences.append(
                    f"{name} of {row['linears']} with --threads {row['threads']} are {row[name]}, of "
                    f"{first['linears']} with --threads {first['threads']} {first[name]} (batch "
                    f"{row['batch']}, context {row['context']})."
                )
        expected = row.get("model_tokens")
        if expected and row["tokens"] != expected:
            sentences.append(
                f"tokens of {row['linears']} with --threads {row['threads']} are {row['tokens']}; the "
                f"running model chooses {expected} after the same tokens (logits differ by up to "
                f"{row['logit_difference']:.3g}; batch {row['batch']})."
            )
    return sentences


def against_model(
    point: DecodePoint, tokens: str, logits: Path, image: Path, known: Logits | None = None
) -> dict[str, str | float]:
    """Compare the measured steps with the model in NumPy (`ImageDecoder`) on the same image.

    The model rounds its own activations, so logits may differ. Each step continues from the token that the
    program chose.

    Args:
        tokens: tokens that the program chose, as it reports them.
        logits: file that the program wrote, fp32 (steps, batch, vocab).
        known: the model's logits from earlier runs, shared by kernels and numbers of threads.

    Returns:
        `model_tokens`, the model's choice in the program's notation; `logit_difference`, the largest
        magnitude of a difference; `logit_largest`, the largest magnitude of the model's logits.

    Raises:
        SailsimError: the file has another size.
    """
    rows = tuple(tuple(map(int, row.split(","))) for row in tokens.split(";"))
    prompt = tuple(map(int, point.prompt_tokens.split(",")))
    key, known = (image, point.cache, prompt, rows), {} if known is None else known
    if key not in known:
        decoder = ImageDecoder(Image(image), len(rows), point.cache)
        for token in prompt[:-1]:
            decoder.step([token] * len(rows))
        inputs = [(prompt[-1],) * len(rows), *list(zip(*rows, strict=True))[:-1]]
        known[key] = np.stack([decoder.logits(step) for step in inputs])
    expected = known[key]
    try:
        written = np.fromfile(logits, np.float32).reshape(expected.shape)
    except (OSError, ValueError):
        raise SailsimError(f"the program did not write its logits to {logits}.") from None
    chosen = expected.argmax(axis=2).T.tolist()
    return {
        "model_tokens": ";".join(",".join(map(str, row)) for row in chosen),
        "logit_difference": float(np.abs(written - expected).max()),
        "logit_largest": float(np.abs(expected).max()),
    }


def image_for(point: DecodePoint, system: System, out: Path) -> Path:
    """Path of a point's image in the folder; it is written if missing or made by other code.

    Raises:
        SailsimError: no image can hold the model or its weights, or the disk is full.
    """
    plan = _plan(point, system)
    identity = json.dumps([plan.about, list(plan.dimensions), plan.row, point.weights, code_version()])
    name = f"{Path(point.model).stem}-{point.weights or 'own'}-{plan.spec.n_layers}"
    path = out / "images" / f"{name}.image"
    note = path.with_suffix(".json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and note.is_file() and note.read_text() == identity:
            return path
        note.unlink(missing_ok=True)
        plan.write(path, progress=True)
        write_whole(note, identity.encode())
    except OSError as error:
        raise SailsimError(f"folder {path.parent} cannot be written: {error.strerror}.") from None
    return path


def _plan(point: DecodePoint, system: System) -> ImagePlan:
    plan = plan_image(
        point.model,
        weights=point.weights,
        blocks=point.blocks or None,
        outputs=HEAD_OUTPUTS if point.blocks else None,
        slices=system.llc.slices.whole,
    )
    most = _tile_most(plan, point, system)
    row = system.memory.row_of_channels if point.linears == "lutmm" else 0
    return replace(plan, dimensions=plan.dimensions._replace(tile_most=most), row=row)


def _tile_most(plan: ImagePlan, point: DecodePoint, system: System) -> int:
    """Outputs of a pass (`_most_outputs`) for a slice's share of the matrices."""
    if point.linears != "lutmm":
        return 0
    tiles = []
    for name, (k, n) in plan.dimensions.matrices().items():
        weights = plan.matrices[name][1]
        code, owned = weights.code, ceil(n / plan.dimensions.slices)
        if name != "embedding":
            widths = (code.wbits, code.value_bits, 8, point.nbw, weights.format.group_size)
            tiles.append(TileShape(k, owned, point.batch, *widths))
    return _most_outputs(tiles, system)


def _most_outputs(tiles: Iterable[TileShape], system: System) -> int:
    """Most outputs of a pass over the tiles that need several passes; 0 if none does.

    A tile's codes lie row by row, so several passes would each read pieces of all rows from memory. A tile
    of one pass is read from its first byte to its last.
    """
    config = system.slice_config(slices=1, convert=system.unit_convert)
    plans = [_core.plan_tile(config, tile, True) for tile in tiles]
    return max((plan.outputs_per_pass for plan in plans if plan.passes > 1), default=0)


def _measured(done: Gem5Run, point: DecodePoint, system: System) -> dict[str, Any]:
    """Columns of a run that came to its end. Raises SailsimError if its results are incomplete."""
    log = done.folder / "gem5.log"
    lines = done.json_lines
    if done.status != 0 or not lines:
        error = next((line for line in done.output.splitlines() if line.startswith("error: ")), "")
        why = error.removeprefix("error: ") or f"status {done.status}"
        raise SailsimError(f"the program ended without a result ({why}); its output is in {log}.")
    report = lines[-1]
    if report["emulated"]:
        raise SailsimError(f"the program found no PIM units and emulated them; its output is in {log}.")
    clock = report["clock_mhz"] / 1000
    if clock != system.cores.clock.value:
        raise SailsimError(
            f"cores.clock is {system.cores.clock.value:g}; allowed is {clock:g}, that of the machine which "
            "the program was built for (make kernels SYSTEM=..., in a checkout)."
        )
    spent = done.spent_s
    if len(done.dumps) < 3 or len(spent) < 2:
        raise SailsimError(f"gem5's statistics have no measured part; its output is in {log}.")
    *_, before, measured, _ = done.dumps
    # gem5 counts instructions from its start, even if the program resets statistics.
    totals = done.totals(-2)
    instructions = measured["simInsts"] - before["simInsts"]
    seconds = measured["simTicks"] / 1e12
    moved = totals.get("dram_bytesRead", 0) + totals.get("dram_bytesWritten", 0)
    return {
        **{f"{name}_cycles": report[f"{name}_cycles"] for name in (*REGIONS, *WAITS, "step")},
        **({"prefill_cycles": report["beside_cycles"]} if point.prefill_tokens else {}),
        "tokens": report["tokens"],
        "logits": report["logits"],
        "tokens_per_s": point.batch / (report["step_cycles"] / system.cores.clock.si),
        "image_bytes": report["image_bytes"],
        "status": done.status,
        "ticks": done.ticks,
        **{name: value for name, value in totals.items() if name.startswith(("dram_", "unit_"))},
        "dram_gb_s": moved / seconds / 1e9,
        "instructions": instructions,
        "host_s": done.host_s,
        "host_before_s": before["hostSeconds"],
        "host_measured_s": measured["hostSeconds"],
        "cpu_before_s": spent["begins"],
        "cpu_measured_s": spent["ends"] - spent["begins"],
        "instructions_per_s": instructions / max(spent["ends"] - spent["begins"], 0.01),
        "program_output": [json.dumps(line) for line in lines],
        "folder": str(done.folder),
    }

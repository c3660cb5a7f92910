"""What must be said beside a step, in sentences."""

from collections import Counter
from collections.abc import Sequence

from sailsim.sim.backend import Backend, Units
from sailsim.sim.expert_jobs import ExpertJobs
from sailsim.sim.host import HostCores
from sailsim.sim.parts import Part, on_cores
from sailsim.sim.same import Same
from sailsim.sim.step_work import Work
from sailsim.sim.system_choice import chosen_system
from sailsim.workloads.model import ModelSpec

_CACHE = ("size", "ways", "line", "latency", "mshrs")
NOT_READ = (
    *(f"cores.{name}" for name in ("fetch_width", "issue_width", "rob", "iq", "lq", "sq", "mispredict")),
    *(f"cores.{name}_registers" for name in ("int", "vector")),
    *(f"cores.{name}_latency" for name in ("load", "vector_load", "fma", "table")),
    *("cores.simd_width", "cores.int8_macs"),
    *(f"{cache}.{name}" for cache in ("l1i", "l1d") for name in _CACHE),
    *("l2.ways", "llc.ways", "llc.clock", "llc.mshrs", "pim.queue"),
)
"""Fields of a system that neither a step nor a baseline depends on: gem5's cores, caches and units have them,
and what is beside is there for the reader."""


def unread_note(system: str) -> list[str]:
    """Which values were asked for, behind a machine's name, that no number here depends on."""
    found = [field for field in chosen_system(system).changes if field in NOT_READ]
    if not found:
        return []
    return [f"not modelled: what another {', '.join(found)} would change; only `sailsim gem5` can tell"]


def cache_note(model: ModelSpec) -> list[str]:
    """What the cores do for keys and values of few bits."""
    if not model.kv_scale_bits:
        return []
    return [
        f"The cores round new keys and values to {model.kv_bits} bits and unpack all that attention reads on "
        "their vector units, beside attention at the rate of fp16"
    ]


def overlap_note() -> list[str]:
    """What two halves of a batch cost."""
    return [
        "The batch is two halves: each builds its own tables and reads all weights from memory, also where "
        "those of the other half have just been on chip"
    ]


def attention_note(chunk: int) -> list[str]:
    """What attention on the units rests on; `chunk`: tokens of each sequence that look at the keys
    together."""
    said = (
        "Units do attention's products on whole numbers: queries and weighted probabilities were not "
        "captured, and patterns of what attention gives (attn_out) stand for them, those of a head for all"
    )
    if chunk == 1:
        return [said]
    return [
        said,
        f"Up to {chunk} tokens of each prompt look together at all keys that the last of them sees: what the "
        "others must not see is computed too, and left out by the cores",
    ]


def cores_note(parts: Sequence[Part], backend: Backend, host: HostCores, step_s: float) -> list[str]:
    """Which matrices the cores multiply because the accelerator does not, and how long that takes."""
    there = on_cores(Same(parts), backend)
    if not there:
        return []
    types = Counter(op.format.name for op in there if op.format is not None)
    seconds = sum(host.product_seconds(op) for op in there)
    named = ", ".join(f"{name} {count} tensors" for name, count in types.most_common())
    return [
        f"On the cores, as their types have no scalar codes: {named}; they take "
        f"{min(1.0, seconds / step_s):.0%} of the step's time there, at an assumed rate (host.float_rate, "
        "host.grid_rate)"
    ]


def experts_note(parts: Sequence[Part], backend: Backend, units: Units) -> list[str]:
    """How those experts that the accelerator multiplies share it."""
    own = (op for part in parts for op in part.ops if op.spread and backend.takes(op))
    if not units.shares_slices or next(own, None) is None:
        return []
    return [
        "Experts share the slices, as many at a time as are the fastest: in a last round some slices are "
        "idle, in every other all are taken to have as much to do, and one more row can cost a round more"
    ]


def rows_note(works: Sequence[Work], parts: Sequence[Part], backend: Backend, streamed: float) -> list[str]:
    """How many products have no room for the sums of all rows, and what that costs."""
    jobs = [(jobs.crowded, int(times.sum())) for work in works for jobs, times in work.jobs]
    crowded, every = sum(times for short, times in jobs if short), sum(times for _, times in jobs)
    weights = _weights(parts, backend)
    if not crowded or not weights:
        return []
    return [
        f"The sums of all rows have no room in the units in {crowded} of {every} products, which take more "
        f"passes, and weights are read {streamed / weights:.2f} times in the mean: one more row can "
        "cost more than it brings, and more bandwidth too, as a layout is chosen before patterns are known"
    ]


NOTED_SHARE = 0.01
"""Of a step, from which on it says what handing products to slices takes."""


def slices_note(works: Sequence[Work], host: HostCores, step_s: float) -> list[str]:
    """What handing products to every slice takes, where more slices could cost more than they save."""
    every = ((jobs, float(times.sum())) for work in works for jobs, times in work.jobs)
    seconds = sum(
        times * (jobs.rounds if isinstance(jobs, ExpertJobs) else 1.0) * host.per_slice(jobs.slices)
        for jobs, times in every
    )
    if seconds < NOTED_SHARE * step_s:
        return []
    return [
        f"Up to {min(1.0, seconds / step_s):.0%} of the step are descriptors and completion records, one for "
        f"every slice, which {host.threads} threads write and poll: more slices can take longer"
    ]


def prompt_note(parts: Sequence[Part], backend: Backend, streamed: float) -> list[str]:
    """How often the accelerator reads its weights: as often as its buffers make passes over the rows."""
    weights = _weights(parts, backend)
    if not streamed or not weights:
        return []
    return [
        "All rows of the prompts go through a matrix before the next one: the units hold the sums of some of "
        f"them at a time, and read {weights / 1e9:.3g} GB of weights {streamed / weights:.1f} times"
    ]


def _weights(parts: Sequence[Part], backend: Backend) -> float:
    """Bytes of all weights that the accelerator multiplies, each once."""
    every = (op for part in parts for op in part.ops if op.kind == "gemv" and not op.side_by_side)
    return sum(op.weight_bytes for op in every if backend.takes(op))

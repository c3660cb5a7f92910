"""A prediction for any machine by name: a CPU server or a GPU card."""

from __future__ import annotations

from pathlib import Path

from sailsim.analysis.baselines.cpu import Cache, cpu_tokens_per_s, packed_tokens_per_s, prompt_tokens_per_s
from sailsim.analysis.baselines.cpu_software import SOFTWARE
from sailsim.analysis.baselines.gpu import GPU_SOFTWARE, GpuSoftware, gpu_tokens_per_s, requests_tokens_per_s
from sailsim.analysis.baselines.gpu_prompts import gpu_prompt_tokens_per_s
from sailsim.analysis.baselines.kernel_rates import Software
from sailsim.analysis.baselines.prediction import Prediction
from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_machine
from sailsim.sim.room import room_of
from sailsim.sim.system import Gpu
from sailsim.workloads.formats import WeightFormat
from sailsim.workloads.model import ModelSpec


def baseline(
    machine: str | Path,
    model: ModelSpec,
    fmt: WeightFormat,
    threads: int | None = None,
    batch: int = 1,
    context: int = 64,
    *,
    prompt: int | None = None,
    software: Software | GpuSoftware = "llama.cpp",
    cache: Cache = "separate",
    instances: int | None = 1,
    requests: tuple[int, int] | None = None,
) -> Prediction:
    """Tokens/s of decoding on a machine, or of processing ``batch`` prompts of ``prompt`` tokens.

    ``threads``: None uses all cores of a CPU server; a GPU card takes none. ``software`` is one of the
    machine's kind; ``cache`` is that of a CPU server, and so are ``instances``, processes side by side that
    share out threads and sequences (None: as many as are the fastest). ``requests``, tokens of a prompt and
    generated ones, are those of ``batch`` requests that come and go on a card with 16-bit weights. Raises
    SailsimError for an unknown machine and for what does not fit it.
    """
    found = load_machine(machine)
    if isinstance(found, Gpu):
        _check_card(found, threads, software, cache, instances)
        if requests is not None:
            if prompt is not None:
                raise SailsimError(f"prompt is {prompt}, allowed with requests is none: they say their own")
            return requests_tokens_per_s(found, model, fmt, batch, *requests)
        chosen: GpuSoftware = "serving" if software == "serving" else "llama.cpp"
        if prompt is not None:
            return gpu_prompt_tokens_per_s(found, model, fmt, prompt, batch, software=chosen)
        return gpu_tokens_per_s(found, model, fmt, batch, context, software=chosen)
    if requests is not None:
        raise SailsimError(
            f"requests is {requests[0]}+{requests[1]}, allowed is none for the CPU server {found.name}"
        )
    if software == "serving":
        raise SailsimError(
            f"software is 'serving', allowed for the CPU server {found.name} is one of {', '.join(SOFTWARE)}"
        )
    used = found.cores.count.whole if threads is None else threads
    if prompt is not None:
        if instances != 1:
            raise SailsimError(f"instances is {instances or 'best'}, allowed with a prompt is 1")
        result = prompt_tokens_per_s(found, model, fmt, used, prompt, batch, software=software)
    elif instances is None:
        result = packed_tokens_per_s(found, model, fmt, used, batch, context, software=software, cache=cache)
    else:
        result = cpu_tokens_per_s(
            found, model, fmt, used, batch, context, software=software, cache=cache, instances=instances
        )
    tokens = context if prompt is None else prompt
    room = room_of(found, model, fmt, batch, tokens)
    if not room.fits:
        raise SailsimError(room.problem(model, fmt, batch, tokens))
    return result


def _check_card(card: Gpu, threads: int | None, software: str, cache: Cache, instances: int | None) -> None:
    """Raise SailsimError for what a card does not know."""
    if threads is not None:
        raise SailsimError(f"threads is {threads}, allowed is none for the GPU card {card.name}")
    if cache != "separate":
        raise SailsimError(
            f"cache is {cache!r}, allowed is 'separate' for the GPU card {card.name}: others are those "
            "of a CPU server"
        )
    if instances != 1:
        raise SailsimError(f"instances is {instances or 'best'}, allowed is 1 for the GPU card {card.name}")
    if software not in GPU_SOFTWARE:
        raise SailsimError(
            f"software is {software!r}, allowed for the GPU card {card.name} is one of "
            f"{', '.join(GPU_SOFTWARE)}"
        )

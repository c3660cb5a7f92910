"""The software stacks on cores, and what the notes of a prediction say of each."""

from __future__ import annotations

from collections.abc import Mapping

from sailsim.analysis.baselines.core_kinds import N1
from sailsim.analysis.baselines.fitted import fitted_constants
from sailsim.analysis.baselines.kernel_rates import KernelRate, Software
from sailsim.analysis.baselines.prediction import UNMEASURED
from sailsim.workloads.formats import WeightFormat

SOFTWARE: Mapping[Software, str] = {
    "llama.cpp": "llama.cpp build 4753, April 2025",
    "ampere": "Ampere's llama.cpp fork, release 2.0.0",
    "t-mac": "T-MAC, look-up tables on the cores, commit 7042f8f7",
    "neon": "NEON kernels of this project, as gem5 runs them",
    "neon-lut": "look-up tables in NEON of this project, as gem5 runs them",
}
SIMULATED: tuple[Software, ...] = ("neon", "neon-lut")
"""Software whose rates are of gem5's model of a core, not measured on a machine."""
MEASURED = tuple(name for name in SOFTWARE if name not in SIMULATED)
SIMULATION = (
    "Simulated, not measured: steps of 1 to 16 threads and 1 to 8 rows on gem5's model of a Neoverse N1, "
    "which is calibrated on load latencies alone; the band moves its kernels and attention by a fifth."
)
ONE_MODEL = "What several rows of a table kernel have in common is known from SmolLM2's steps alone."


def software_notes(
    core: str, software: Software, fmt: WeightFormat, rate: KernelRate, test: str, threads: int
) -> list[str]:
    """What the notes say of a software, its kernels and the threads of a process."""
    if software in SIMULATED:
        notes = [SIMULATION, *([ONE_MODEL] if software == "neon-lut" else [])]
    else:
        notes = list(_of_core(core, software))
    if rate.kind == "assumed":
        notes.append(
            f"{UNMEASURED} {fmt.name} on this software: its kernel is assumed at {rate.relative:.3g} "
            f"({rate.low:.3g}..{rate.high:.3g}) of the fitted rate ({rate.note})."
        )
    if software in SIMULATED:
        return notes
    if rate.how:
        notes.append(
            f"{UNMEASURED} {fmt.name} on this chip: its kernel runs at {rate.relative:.2f} "
            f"({rate.low:.2f}..{rate.high:.2f}) of the measured four-bit rate, {rate.how}."
        )
    if software == "t-mac":
        notes.append(
            "T-MAC was measured on one and two threads of a Cortex-A76, Neoverse N1's sibling, and one row "
            "at a time: more of either is extrapolated, and the band has what other chips showed."
        )
    if test == "prompt" and software == "ampere":
        notes.append(
            "The fork's prompts were measured on an Altra with 48 to 80 threads, 512 tokens each: all else "
            "is extrapolated."
        )
    if threads < fitted_constants().fewest_threads:
        notes.append(
            f"Fewer threads than the {fitted_constants().fewest_threads} of the smallest measured machine: "
            "extrapolated."
        )
    return notes


def _of_core(core: str, software: Software) -> tuple[str, ...]:
    """What a note says of a core where a software was not measured on it."""
    attention = fitted_constants().software(software, core).constants["attention_rate"]
    if attention.kind != "assumed" and not (software == "t-mac" and core != N1):
        return ()
    assumed = f"{core}: its constants lie between those of the cores that were."
    if software == "t-mac":
        lookups = f"T-MAC was not measured on {core}: its look-ups are those of {N1}, by vector pipes."
        return (
            (lookups, f"All else was not measured on {assumed}")
            if attention.kind == "assumed"
            else (lookups,)
        )
    return (f"llama.cpp was not measured on {assumed}",)

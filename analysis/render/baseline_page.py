"""The generated tables of `docs/baselines.md`: errors, coverage, noise, constants, and what decides results.

`sailsim docs --write baselines` puts them there; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sailsim.analysis.baselines import cpu, gpu
from sailsim.analysis.baselines.fitted import fitted_constants, held_out_results
from sailsim.analysis.baselines.prediction import Work, fitting_model
from sailsim.analysis.calibration import core_forms
from sailsim.analysis.calibration.calibrate import ATTENTION_RANGE
from sailsim.analysis.calibration.errors import WEAK
from sailsim.analysis.calibration.held_out_check import origin
from sailsim.analysis.calibration.kernel_ratios import gem5_ratios
from sailsim.analysis.calibration.measurements import read_table
from sailsim.analysis.calibration.packed_check import TITLES, choices, packed_rows
from sailsim.analysis.render.markdown import table
from sailsim.base.errors import SailsimError
from sailsim.sim import Point, card_names, load_card, load_system, simulate_step, vary
from sailsim.workloads import decode_step, uniform_format

PACKED_SHOWN = (1, 8, 32)
"""Sequences in all of the rows that the table of packings has."""
ATTENTION_POINTS = ((1, 512), (8, 512), (32, 512), (32, 2048))
"""Batch and context of the table of attention rates; Llama-2-7B in 4 bits on 16 threads."""


def error_table(errors: Sequence[Mapping[str, Any]]) -> str:
    """The error table as Markdown."""
    header = ("measurements", "held out", "count", "median error", "worst", "bias")
    rows = [
        (
            e["measurements"],
            f"{e['held_out']}{_left_open(e)}",
            e["count"],
            f"{e['median_error']:.1%}",
            f"{e['worst_error']:.1%}",
            f"{e['bias']:+.1%}",
        )
        for e in errors
    ]
    return table(header, rows, "llrrrr")


def _left_open(error: Mapping[str, Any]) -> str:
    """What the rows that stayed in a fold do not determine, and how much hangs on it."""
    if "open" not in error:
        return ""
    lost = f", {error['not_predicted']} rows not predicted" if error["not_predicted"] else ""
    return f" (leaves open: {'; '.join(error['open'])}: up to {error['open_moves']:.0%}{lost})"


def _coverage_table(lines: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (c["measurements"], f"x {c['low']:.2f} .. {c['high']:.2f}", c["count"], f"{c['inside']:.0%}")
        for c in lines
    ]
    return table(("measurements", "band", "count", "inside, of 90 %"), rows, "llrr")


def _noise_table(lines: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (n["measurements"], n["count"], f"{n['median_spread']:.1%}", f"{n['worst_spread']:.0%}")
        for n in lines
    ]
    return table(("equal runs", "cells", "median spread", "worst"), rows, "lrrr")


def _packing_table() -> str:
    """Measured best packing, the one that is reckoned the fastest, and what it gains over one process."""
    rows = [
        (
            TITLES[c.system],
            c.case,
            c.sequences,
            c.best,
            c.chosen,
            f"{c.lost:.0%}",
            "-" if np.isnan(c.gained) else f"{c.gained:.2f}",
        )
        for c in choices(packed_rows(fitted_constants()))
        if c.sequences in PACKED_SHOWN
    ]
    header = (
        "server, software",
        "model, format",
        "sequences",
        "best, measured",
        "reckoned",
        "loses",
        "gains",
    )
    return table(header, rows, "llrrrrr")


def _scaling_table(lines: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            line["machine"],
            fitting_model(line["model"]).title,
            f"{line['measured']:.2f}",
            f"{line['predicted']:.2f}",
            f"{line['predicted'] / line['measured'] - 1:+.0%}",
        )
        for line in lines
    ]
    return table(("cloud, chip", "model", "measured", "predicted", "off"), rows, "llrrr")


def _core_forms_table() -> str:
    """Median and worst error of every form of the later cores' fits, by what was held out."""
    forms = core_forms.stored()["forms"]
    columns = [{(e["measurements"], e["held_out"]): e for e in form["errors"]} for form in forms]
    rows = [
        (
            *key,
            first["count"],
            *(f"{c[key]['median_error']:.1%}, {c[key]['worst_error']:.0%}" for c in columns),
        )
        for key, first in columns[0].items()
    ]
    names = [f"loss a {form['loss']}, attention {form['attention']}" for form in forms]
    return table(("rows", "held out", "count", *names), rows, "llr" + "r" * len(forms))


def _constants_table(result: Mapping[str, Any]) -> str:
    sets = {f"cpu.{name}": s for name, s in result["cpu"].items()}
    for core, own in result["cores"].items():
        sets |= {f"cpu.{name}.{core}": s for name, s in own.items()}
    sets["gpu"] = result["gpu"]
    rows = [
        (
            f"{prefix}.{name}",
            f"{c['value']:.4g}",
            _standard_error(c),
            f"{c['low']:.3g} .. {c['high']:.3g}",
            c["unit"],
            c["source"],
        )
        for prefix, chosen in sets.items()
        for name, c in chosen["constants"].items()
    ]
    return table(("constant", "value", "standard error", "range", "unit", "from"), rows, "lrrlll")


def _standard_error(constant: Mapping[str, Any]) -> str:
    """Of a fitted constant, and how well the rows determine it."""
    error, note = constant.get("standard_error"), constant.get("note", "")
    if "leave it open" in note:
        return "open"
    if not error:
        return "at its bound" if "to its bound" in note else "-"
    return f"{error:.2g}, weak" if error > WEAK * abs(constant["value"]) else f"{error:.2g}"


def _gem5_table(result: Mapping[str, Any]) -> str:
    """What gem5's kernels reach beside what was measured."""
    rates = result["cpu"]["llama.cpp"]["constants"]
    used = {row["gem5"]: f"kernel_rate_{row['format']}" for row in read_table("kernel_rates.csv")}
    used["q2"] = "kernel_rate_q2_k"  # measured on a sibling core since
    ratios = gem5_ratios()
    cycles = {
        (row["format"], int(row["batch"])): float(row["cycles_per_mac"])
        for row in read_table("gem5_kernels.csv")
        if row["threads"] == "1" and row["weights_in"] == "L2"
    }
    rows = []
    for name, ratio in ratios.items():
        taken = rates[used[name]]
        by_batch = ", ".join(f"{r:.2f}" for r in ratio)
        span = f"{taken['low']:.2f} .. {taken['high']:.2f}"
        rows.append((name, f"{1 / cycles[name, 1]:.1f}", by_batch, f"{taken['value']:.2f}", span))
    header = ("kernel", "gem5, batch 1 (MAC/cycle)", "ratio to q4_1, by batch", "rate taken (MAC/cycle)")
    return table((*header, "range"), rows, "lrlrl")


def _serving_table() -> str:
    """Cards at batch 1, 8 and 32 with both software stacks and their roofline, by the shipped constants."""
    model, fmt = fitting_model("llama-2-7b"), uniform_format(4, 128)
    rows: list[tuple[object, ...]] = []
    for name in card_names():
        card = load_card(name)
        for batch in (1, 8, 32):
            try:
                ours, theirs = (
                    gpu.gpu_tokens_per_s(card, model, fmt, batch, 512, software=s) for s in gpu.GPU_SOFTWARE
                )
            except SailsimError:
                rows.append((name, batch, "does not fit", "", ""))
                continue
            roof = gpu.gpu_roofline(card, model, fmt, batch, 512)
            rates = (f"{p.tokens_per_s:.0f} ({p.low:.0f} .. {p.high:.0f})" for p in (ours, theirs))
            rows.append((name, batch, *rates, f"{roof:.0f}"))
    return table(("card", "batch", "llama.cpp", "serving kernels", "roofline"), rows, "lrllr")


def attention_table() -> str:
    """What the attention rate decides: it slows SAIL's cores and the baseline's alike."""
    system, model, fmt = load_system("sail-n1"), fitting_model("llama-2-7b"), uniform_format(4, 128)
    fitted = fitted_constants().software("llama.cpp").value("attention_rate")
    fork = fitted_constants().software("ampere").value("attention_rate")
    rates = (
        ("lowest single run", float(ATTENTION_RANGE["low"])),
        ("fitted", fitted),
        ("highest single run", float(ATTENTION_RANGE["high"])),
        ("Ampere's fork", fork),
    )
    rows = []
    constants, _ = cpu.constants("llama.cpp", fmt)
    machine, threads = cpu.CpuSheet.of(system), np.asarray(16.0)
    for batch, context in ATTENTION_POINTS:
        work = Work.of(model, decode_step(model, fmt, batch, context), batch)
        point = Point(model=model.name, system=system.name, threads=16, batch=batch, wbits=4, context=context)
        for name, rate in rates:
            chosen = replace(constants, attention_rate=np.asarray(rate))
            parts = cpu.step_parts(work, machine, threads, chosen, np.asarray(1.0))
            step = float(sum(parts.values()))
            result = simulate_step(vary(system, {"host.attention_rate": rate}), model, point)
            width = min(16.0, float(work.attention_width))
            attention = float(work.attention_macs) / (rate * system.cores.clock.si * width)
            rows.append(
                (
                    f"{batch}, {context}",
                    f"{rate:.2f}, {name}",
                    f"{result.tokens_per_s:.1f}",
                    f"{batch / step:.1f}",
                    f"{result.tokens_per_s * step / batch:.2f}",
                    f"{attention / result.step_s:.0%}, {float(parts['attention']) / step:.0%}",
                )
            )
    header = (
        "batch, context",
        "attention rate (MAC/cycle)",
        "SAIL (tokens/s)",
        "cores (tokens/s)",
        "speedup",
        "attention's share of the step, SAIL and cores",
    )
    return table(header, rows, "llrrrl")


def _attention_seen_table(seen: Sequence[Mapping[str, Any]]) -> str:
    kinds = {"tg": "decoding", "pp": "prompt"}
    rows = []
    for pair in seen:
        model = fitting_model(pair["model"])
        ends = f"{pair['lowest']:.2f} .. {pair['highest']:.2f}" if pair["pairs"] > 1 else "one"
        rows.append(
            (
                model.title,
                model.gqa,
                kinds[pair["test"]],
                f"{pair['shorter']} to {pair['longer']}",
                pair["chip"],
                pair["pairs"],
                f"{pair['median']:.2f} ({ends})",
            )
        )
    header = ("model", "queries a key", "test", "tokens", "chip", "pairs")
    return table((*header, "MAC/cycle: median (lowest .. highest)"), rows, "lrlllrl")


def baseline_parts() -> dict[str, str]:
    """Every generated table of `docs/baselines.md` by its name, from fits and held-out results that ship."""
    result, held = fitted_constants().table, held_out_results()
    return {
        "errors": error_table(result["errors"]),
        "held-out-origin": origin(held, result),
        "held-out-errors": error_table(held["errors"]),
        "coverage": _coverage_table(held["coverage"]),
        "noise": _noise_table(held["noise"] + result["noise"]),
        "scaling": _scaling_table(held["scaling"]),
        "packing": _packing_table(),
        "core-forms": _core_forms_table(),
        "constants": _constants_table(result),
        "gem5": _gem5_table(result),
        "serving": _serving_table(),
        "attention": attention_table(),
        "attention-rates": _attention_seen_table(held["attention"]),
    }

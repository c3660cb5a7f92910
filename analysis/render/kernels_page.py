"""The table of docs/kernels.md: rates of our NEON kernels on gem5's cores."""

from __future__ import annotations

from sailsim.analysis.baselines.prediction import data_file, read_csv
from sailsim.analysis.render.markdown import table

COLUMNS = (
    ("L2, batch 1", "L2", 1, 1),
    ("L2, batch 4", "L2", 4, 1),
    ("L2, 4 threads", "L2", 1, 4),
    ("DRAM", "DRAM", 1, 1),
    ("DRAM, 4 threads", "DRAM", 1, 4),
)
"""Title; where the weights are, batch and threads."""


def kernels_parts() -> dict[str, str]:
    """The table by its name."""
    rows = read_csv(data_file("gem5_kernels.csv").read_text("utf-8"))
    rates = {
        (row["format"], row["weights_in"], int(row["batch"]), int(row["threads"])): row["cycles_per_mac"]
        for row in rows
    }
    lines = []
    for fmt in dict.fromkeys(row["format"] for row in rows):
        cells = (rates[fmt, kept_in, batch, threads] for _, kept_in, batch, threads in COLUMNS)
        lines.append([f"`{fmt}`", *(f"{float(cycles):.4f}" for cycles in cells)])
    shown = table(("format", *(title for title, *_ in COLUMNS)), lines, "l" + "r" * len(COLUMNS))
    origin = sorted({(row["gem5_version"], row["date"], row["commit"]) for row in rows})
    said = "; ".join(f"gem5 {version}, {date}, commit {commit}" for version, date, commit in origin)
    return {"rates": f"{shown}\n\n{said}."}

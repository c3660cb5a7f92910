"""Measurements that no fit uses, summarised from a checkout of the public data.

    git clone https://github.com/SpareCores/sc-inspector-data
    python -m calibration.held_out sc-inspector-data --out held_out.csv
    SAILSIM_HELD_OUT=held_out.csv python research/fits/fit.py

The figures are others' and stay outside this repository; what is committed is this script and, in
`data/held_out_errors.json`, how far the fitted constants are off. SpareCores' data (CC-BY-SA 4.0) hold
llama-bench runs of llama.cpp build 4753 on cloud machines. Each row is the median, lowest and highest rate
over the instances of one chip with that many vCPUs. Left out: burstable instances, fewer than 4 vCPUs, models
whose runs nearly all overlapped with downloads, and what the fit uses.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from pathlib import Path
from statistics import median
from typing import Any

from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError

COLUMNS = (
    "machine",
    "system",
    "software",
    "model",
    "format",
    "test",
    "prompt",
    "n",
    "batch",
    "threads",
    "ngl",
    "disturbed",
    "instances",
    "tok_s",
    "lowest",
    "highest",
    "date",
    "source",
)
VARIABLE = "SAILSIM_HELD_OUT"
"""Environment variable with the path of the file that this module wrote."""
MODELS = {
    "gemma-2b.Q4_K_M.gguf": "gemma-2b",
    "llama-7b.Q4_K_M.gguf": "llama-7b",
    "phi-4-q4.gguf": "phi-4",
    "Llama-3.3-70B-Instruct-Q4_K_M.gguf": "llama-3.3-70b",
}
FITTED_MODELS = ("gemma-2b", "llama-7b")
SERVERS = {
    "aws": ("aws Graviton2", "graviton2"),
    "azure": ("azure Altra", "altra"),
    "gcp": ("gcp Altra", "altra"),
    "hcloud": ("hetzner Altra", "altra"),
    "alicloud": ("alibaba Altra", "altra"),
}
"""Clouds with Neoverse-N1 machines: name in the table and system file."""
FITTED_SERVERS = frozenset(
    f"aws/{name}"
    for name in (
        "c6g.2xlarge",
        "c6g.4xlarge",
        "c6g.8xlarge",
        "c6g.12xlarge",
        "c6g.16xlarge",
        "c6g.metal",
        "m6g.16xlarge",
        "r6g.16xlarge",
    )
)
GPUS = {
    "Tesla T4": ("T4", "t4"),
    "NVIDIA A10G": ("A10G", "a10g"),
    "NVIDIA L4": ("L4", "l4"),
    "NVIDIA L40S": ("L40S", "l40s"),
    "Tesla V100-SXM2-16GB": ("V100-SXM2", "v100"),
    "Tesla V100-SXM2-32GB": ("V100-SXM2", "v100"),
    "Tesla V100-PCIE-16GB": ("V100-PCIe", "v100"),
    "NVIDIA A100-SXM4-40GB": ("A100-40", "a100"),
    "NVIDIA H100 PCIe": ("H100-PCIe", "h100"),
}
FITTED_GPUS = frozenset(
    (
        *("aws/p3.2xlarge", "aws/g4dn.xlarge", "aws/g5.xlarge", "aws/g6.xlarge", "gcp/a2-highgpu-1g"),
        *("ovh/h100-380", "aws/g6e.xlarge"),
    )
)
CPU_TESTS = {("tg", 128), ("tg", 512), ("pp", 16), ("pp", 128), ("pp", 512), ("pp", 1024)}
GPU_TESTS = {("tg", 128), ("pp", 16), ("pp", 512)}
NEW_PROMPT = ("pp", 16)
"""A test of the fit's own GPUs that the fit does not use: rows of a batch, one machine each."""
FEWEST_VCPUS = 4
ALL_LAYERS = 999
"""llama-bench's number of layers on the GPU where all are."""


class Checkout:
    """Files of a repository by path: a work tree as it lies there, or the head of a bare git directory.

    Raises SailsimError where ``folder`` is neither.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bare = not (folder / "data").is_dir()
        if self.bare and not (folder / "HEAD").is_file():
            raise SailsimError(f"{folder} is no checkout, allowed is a work tree or a git directory")

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.folder), *arguments], capture_output=True, text=True, errors="replace",
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise SailsimError(f"git {arguments[0]} in {self.folder} failed: {done.stderr.strip()}")
        return done.stdout

    @property
    def commit(self) -> str:
        """Short name of the commit, or "unknown" for files without one."""
        try:
            return self._git("rev-parse", "--short=7", "HEAD").strip()
        except (SailsimError, OSError):
            return "unknown"

    def paths(self, end: str) -> list[str]:
        """The files ``data/CLOUD/MACHINE/`` + ``end``."""
        if self.bare:
            listed = self._git("ls-tree", "-r", "--name-only", "HEAD", "data").splitlines()
            return [p for p in listed if p.count("/") == 2 + end.count("/") + 1 and p.endswith(f"/{end}")]
        return sorted(p.relative_to(self.folder).as_posix() for p in self.folder.glob(f"data/*/*/{end}"))

    def text(self, path: str) -> str:
        """Content of a file; empty where there is none."""
        if not self.bare:
            file = self.folder / path
            return file.read_text("utf-8", errors="replace") if file.is_file() else ""
        try:
            return self._git("show", f"HEAD:{path}")
        except SailsimError:
            return ""


@dataclass(frozen=True)
class Run:
    """One test of llama-bench on one machine ("cloud/name"); ``ngl`` layers on a GPU, ``tok_s`` its mean."""

    machine: str
    neoverse_n1: bool
    gpu: str
    model: str
    test: str
    n: int
    threads: int
    ngl: int
    disturbed: bool
    tok_s: float
    date: str


def last_download(log: str) -> datetime | None:
    """When the benchmark's log shows its last model downloaded; None where it shows none."""
    found = re.findall(r"^(\S+ \S+),\d+ - DEBUG - Downloaded model ", log, re.MULTILINE)
    return datetime.fromisoformat(found[-1]) if found else None


def runs(checkout: Checkout) -> Iterator[Run]:
    """Every llama-bench result of the known models on a Neoverse-N1 machine or with a GPU."""
    for path in checkout.paths("llm/stdout"):
        _, cloud, name, *_ = path.split("/")
        folder = f"data/{cloud}/{name}"
        results = []
        for line in checkout.text(path).splitlines():
            try:
                results.append(json.loads(line))
            except json.JSONDecodeError:
                continue  # the program's own messages
        results = [r for r in results if r["model_filename"].split("/")[-1] in MODELS]
        if not results or not (cloud in SERVERS or any(r["gpu_info"] for r in results)):
            continue
        described = checkout.text(f"{folder}/lscpu/stdout")
        n1 = "Neoverse-N1" in described or '"0xd0c"' in described
        if not n1 and not any(r["gpu_info"] for r in results):
            continue
        last = last_download(checkout.text(f"{folder}/llm/stderr"))
        for r in results:
            started = datetime.fromisoformat(r["test_time"].replace("Z", ""))
            yield Run(
                machine=f"{cloud}/{name}",
                neoverse_n1=n1,
                gpu=r["gpu_info"],
                model=MODELS[r["model_filename"].split("/")[-1]],
                test="pp" if r["n_prompt"] else "tg",
                n=r["n_prompt"] or r["n_gen"],
                threads=r["n_threads"],
                ngl=r["n_gpu_layers"],
                disturbed=last is not None and started < last,
                tok_s=r["avg_ts"],
                date=r["test_time"][:10],
            )


def _row(
    machine: str,
    system: str,
    key: tuple[str, str, int],
    threads: int,
    ngl: int,
    found: list[Run],
    source: str,
) -> dict[str, Any]:
    model, test, n = key
    rates = [run.tok_s for run in found]
    values = (
        machine, system, "llama.cpp", model, "q4_k_m", test, 0, n, 1, threads, ngl,
        int(ngl == 0 and found[0].disturbed), len(found), f"{median(rates):.4g}", f"{min(rates):.4g}",
        f"{max(rates):.4g}", max(run.date for run in found), source,
    )  # fmt: skip
    return dict(zip(COLUMNS, map(str, values), strict=True))


def server_rows(found: Sequence[Run], source: str) -> list[dict[str, Any]]:
    """The rows of the Neoverse-N1 machines, without the fit's own."""
    groups: dict[tuple[bool, str, str, int, int, str, str], list[Run]] = defaultdict(list)
    for run in found:
        cloud, name = run.machine.split("/")
        if not run.neoverse_n1 or run.ngl != 0 or cloud not in SERVERS:
            continue
        fitted = run.machine in FITTED_SERVERS and run.model in FITTED_MODELS
        if fitted or "_B" in name or run.threads < FEWEST_VCPUS:  # _B: burstable
            continue
        title, system = SERVERS[cloud]
        title += " bare metal" if "metal" in name else ""
        key = (run.disturbed, run.model, run.test, run.n, run.threads, title, system)
        groups[key].append(run)
    rows = []
    for key, chosen in sorted(groups.items()):
        disturbed, model, test, n, threads, title, system = key
        # Where 128 tokens took too long a run of 16 stands in.
        short = (test, n) == ("tg", 16) and (
            disturbed,
            model,
            test,
            128,
            threads,
            title,
            system,
        ) not in groups
        wanted = (test, n) == ("tg", 128) if disturbed else (test, n) in CPU_TESTS or short
        if wanted:
            rows.append(_row(title, system, (model, test, n), threads, 0, chosen, source))
    return rows


def gpu_rows(found: Sequence[Run], source: str) -> list[dict[str, Any]]:
    """The rows of the GPUs: other machines and models than the fit's, and the fit's own at 16 rows."""
    groups: dict[tuple[str, str, str, str, int], list[Run]] = defaultdict(list)
    for run in found:
        if run.gpu not in GPUS or run.ngl != ALL_LAYERS or (run.test, run.n) not in GPU_TESTS:
            continue
        title, system = GPUS[run.gpu]
        if run.machine in FITTED_GPUS and run.model in (*FITTED_MODELS, "phi-4"):
            if (run.test, run.n) != NEW_PROMPT:
                continue
            title += " of the fit"
        groups[title, system, run.model, run.test, run.n].append(run)
    return [
        _row(title, system, (model, test, n), 0, ALL_LAYERS, chosen, source)
        for (title, system, model, test, n), chosen in sorted(groups.items())
    ]


def summarise(spare_cores: Path) -> list[dict[str, Any]]:
    """All held-out rows of the checkout, by `COLUMNS`, all values as text.

    Raises SailsimError where the folder is no checkout or holds none of the runs.
    """
    checkout = Checkout(spare_cores)
    found = list(runs(checkout))
    source = f"SpareCores sc-inspector-data {checkout.commit}"
    rows = server_rows(found, source) + gpu_rows(found, source)
    if not rows:
        raise SailsimError(
            f"{spare_cores} holds no llama-bench run of a known machine, allowed is SpareCores' data"
        )
    return rows


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows as CSV, whole or not at all."""
    text = StringIO()
    text.write(
        "# Made by calibration.held_out from public data of others; to be kept out of the repository.\n"
    )
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_whole(path, text.getvalue().encode())


def held_out_path(given: Path | None = None) -> Path | None:
    """The file of held-out rows: ``given``, else the one that `VARIABLE` names, else None.

    Raises SailsimError where one is named and is not there.
    """
    named = given or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if named is not None and not named.is_file():
        raise SailsimError(
            f"{named} does not exist, allowed is the file that `python -m "
            "calibration.held_out SPARECORES_CHECKOUT --out FILE` wrote"
        )
    return named


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m calibration.held_out``."""
    parser = argparse.ArgumentParser(
        prog="python -m calibration.held_out",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument("spare_cores", type=Path, help="checkout of github.com/SpareCores/sc-inspector-data")
    parser.add_argument("--out", type=Path, required=True, help="the CSV file to write")
    asked = parser.parse_args(arguments)
    rows = summarise(asked.spare_cores)
    write_rows(asked.out, rows)
    print(f"{len(rows)} rows written to {asked.out}")


if __name__ == "__main__":
    main()

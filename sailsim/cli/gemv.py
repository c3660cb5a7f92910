"""`sailsim gemv`: one product of integers by table look-up, with its counts and its cycles."""

from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from sailsim import _core
from sailsim.base.atomic import atomic_file
from sailsim.base.errors import SailsimError, escaped
from sailsim.base.input_file import check_regular
from sailsim.base.screen import screen
from sailsim.cli._command import Command
from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._table import echo, print_table, say
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.counts import Counts, PrtConfig, cycles_by_phase
from sailsim.lut_gemv.fast import lut_gemv, pattern_profile
from sailsim.lut_gemv.tile import int_product
from sailsim.sim.files import load_system

FILE = PathOption()


@click.command(cls=Command)
@click.option(
    "--weights", type=FILE, required=True, help="W.npy: integers (K, N), values; codes if --codebook."
)
@click.option("--activations", type=FILE, required=True, help="X.npy: integers (B, K).")
@click.option("--wbits", type=int, required=True, help="Bits of a stored weight, 1..8.")
@click.option("--abits", type=int, required=True, help="Bits of an activation, 1..16.")
@click.option("--nbw", type=int, default=4, show_default=True, help="Weights of a table, 1..6.")
@click.option("--unsigned-activations", is_flag=True, help="Activations are unsigned, not two's complement.")
@click.option(
    "--weight-code",
    type=click.Choice(["twos", "offset", "ternary"]),
    help="How weights are stored: two's complement (default), unsigned minus --zero-point, or -1, 0, +1.",
)
@click.option("--zero-point", type=int, help="Of --weight-code offset.")
@click.option("--codebook", type=FILE, help="C.npy: the 2^wbits integers that the codes in W.npy mean.")
@click.option(
    "--group-size", type=int, default=0, show_default=True, help="Weights of a block along K; 0: all."
)
@click.option("--system", default="sail-n1", show_default=True, help="A machine that ships, or a TOML file.")
@click.option("--substrate", help="Another than the machine's: as in `sailsim run`, row_dfm:add=3 say.")
@click.option("--threads", type=int, default=1, show_default=True, help="Threads of this computer.")
@click.option("--out", type=PathOption(written=True), help="Save the product as .npy: int64 (B, N).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def gemv(
    ctx: click.Context,
    weights: Path,
    activations: Path,
    wbits: int,
    abits: int,
    nbw: int,
    unsigned_activations: bool,
    weight_code: str | None,
    zero_point: int | None,
    codebook: Path | None,
    group_size: int,
    system: str,
    substrate: str | None,
    threads: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Multiply X.npy by W.npy with look-up tables on a machine's PIM units.

    The product is computed by table look-up and compared with the plain one: exit status 1 if they differ.
    Counts are of one slice's DFM and, times the slices in use, of all; cycles are of the busiest slice, its
    weights as fast as its port takes them (`time_tile`, memory "port").
    """
    code = _weight_code(wbits, weight_code, zero_point, codebook)
    w = load_npy("--weights", weights)
    codes = code.encode(w) if codebook is None else code.checked(w)
    x = load_npy("--activations", activations)
    widths: dict[str, Any] = {
        "abits": abits,
        "signed": not unsigned_activations,
        "nbw": nbw,
        "group_size": group_size,
    }
    y = lut_gemv(x, codes, code=code, threads=threads, **widths)
    found: dict[str, Any] = {
        "shape": {"batch": len(x), "k": x.shape[1], "n": codes.shape[1]},
        "wbits": wbits,
        "weight_code": str(code),
        **widths,
        "equal_to_int64_product": bool(np.array_equal(y, int_product(x, code.decode(codes)))),
        **_timing(x, codes, code, system, substrate, threads, widths),
    }
    if out is not None:
        with atomic_file(out) as file:
            np.save(file, y, allow_pickle=False)
        found["out"] = str(out)
    if as_json:
        print_json(found)
    else:
        _print(found)
    if not found["equal_to_int64_product"]:
        ctx.exit(1)


def _weight_code(
    wbits: int, weight_code: str | None, zero_point: int | None, codebook: Path | None
) -> WeightCode:
    if codebook is not None:
        if weight_code is not None:
            raise SailsimError(
                f"--weight-code is {weight_code} beside --codebook; allowed is one of the two."
            )
        code = WeightCode.book(load_npy("--codebook", codebook))
        if code.wbits != wbits:
            raise SailsimError(
                f"--codebook has {len(code.values)} values; allowed are 2^wbits = {1 << wbits}."
                if 1 <= wbits <= 8
                else f"wbits is {wbits}; allowed is 1..8."
            )
        return code
    if (zero_point is None) == (weight_code == "offset"):
        given = "missing" if zero_point is None else str(zero_point)
        raise SailsimError(
            f"--zero-point is {given}; it goes with --weight-code offset and with nothing else."
        )
    if zero_point is not None:
        return WeightCode.offset(wbits, zero_point)
    if weight_code == "ternary":
        if wbits != 2:
            raise SailsimError(f"wbits is {wbits}; allowed with --weight-code ternary is 2.")
        return WeightCode.ternary()
    return WeightCode.twos(wbits)


def _timing(
    x: NDArray[Any],
    codes: NDArray[np.uint8],
    code: WeightCode,
    system: str,
    substrate: str | None,
    threads: int,
    widths: dict[str, Any],
) -> dict[str, Any]:
    """Counts and cycles of the product on a machine, all its slices working on it."""
    try:
        config = load_system(system).slice_config(**({} if substrate is None else {"substrate": substrate}))
        profile = pattern_profile(x, prt=_prt(config), threads=threads, **widths)
        tile = {
            "k": len(codes),
            "n": codes.shape[1],
            "batch": len(x),
            "wbits": code.wbits,
            "value_bits": code.value_bits,
            "abits": widths["abits"],
            "nbw": widths["nbw"],
            "group_size": widths["group_size"],
        }
        plan = _core.plan_tile(config, **tile, scaled=False)
        timing = _core.time_tile(config, **tile, profile=profile, scaled=False)
    except SailsimError:
        raise
    except ValueError as error:
        raise SailsimError(f"{error}.") from error
    counts = Counts(**timing.counts)
    slices_used = -(-codes.shape[1] // plan.owned)
    return {
        "system": system,
        "substrate": config.substrate.name,
        "slices_used": slices_used,
        "outputs_per_slice": plan.owned,
        "passes": plan.passes * plan.batch_chunks,
        "counts": counts.as_dict(),
        "counts_total": counts.times(slices_used).as_dict(),
        "cycles": {**cycles_by_phase(timing), "total": timing.total},
    }


def _prt(config: _core.SliceConfig) -> PrtConfig:
    if config.prt_entries == 0:
        return PrtConfig(enabled=False)
    return PrtConfig(entries=config.prt_entries, policy=config.prt_policy)  # type: ignore[arg-type]


def load_npy(option: str, path: Path) -> NDArray[Any]:
    """Map an .npy file; its declared size is compared with the file's before anything is read.

    Raises:
        SailsimError: one sentence that names the option.
    """
    check_regular(path, f"{option} file", "an .npy file")
    try:
        with np.errstate(over="raise"):  # a declared size beyond 64 bits
            return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # NumPy raises many kinds on damaged files; all mean the same here.
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise SailsimError(f"{option}: {path} is not a whole .npy file ({reason}).") from None


def _print(found: dict[str, Any]) -> None:
    console = screen()
    shape = found["shape"]
    sign = "signed" if found["signed"] else "unsigned"
    say(
        f"({shape['batch']}, {shape['k']}) x ({shape['k']}, {shape['n']}): activations of {found['abits']} "
        f"bits, {sign}; {found['weight_code']}; NBW {found['nbw']}"
    )
    equal = found["equal_to_int64_product"]
    verdict = ("equal", "green") if equal else ("NOT equal", "red")
    saved = f", saved in {found['out']}" if "out" in found else ""
    console.print(Text.assemble("result ", verdict, escaped(f" to the int64 product{saved}")), soft_wrap=True)
    say(
        f"{found['system']}, substrate {found['substrate']}: {found['slices_used']} slices of "
        f"{found['outputs_per_slice']} outputs, passes: {found['passes']}"
    )
    counts = [
        {
            "counts": key.replace("_", " "),
            "one slice": f"{value:,}",
            "all slices": f"{found['counts_total'][key]:,}",
        }
        for key, value in found["counts"].items()
    ]
    print_table(counts, list(counts[0]), numbers=("one slice", "all slices"))
    echo()
    cycles = [
        {
            "cycles": phase.replace("_", " "),
            "busiest slice": f"{value:,}",
            "share": f"{value / found['cycles']['total']:.1%}",
        }
        for phase, value in found["cycles"].items()
    ]
    print_table(cycles, list(cycles[0]), numbers=("busiest slice", "share"))

"""`sailsim gemv`: integer product by table look-up, with its counts and cycles."""

from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from sailsim import _core
from sailsim.base.atomic import atomic_file
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import check_regular
from sailsim.cli.common.command import Command
from sailsim.cli.common.json_output import answered, as_json_option
from sailsim.cli.common.path_option import PathOption
from sailsim.cli.common.table import echo, print_numbers, say
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.counts import PrtConfig, TileCounts, cycles_by_phase
from sailsim.lut_gemv.fast import lut_gemv, pattern_profile
from sailsim.lut_gemv.tile import int_product
from sailsim.sim.machine.system_files import load_system

FILE = PathOption()


@click.command(cls=Command)
@click.option(
    "--weights", type=FILE, required=True, help="W.npy: integers (K, N), values; codes where --code is C.npy."
)
@click.option("--activations", type=FILE, required=True, help="X.npy: integers (B, K).")
@click.option("--wbits", type=int, required=True, help="Bits of a stored weight, 1..8.")
@click.option("--abits", type=int, required=True, help="Bits of an activation, 1..16.")
@click.option("--nbw", default=4, help="Weights of a table, 1..6.")
@click.option("--unsigned", is_flag=True, help="Activations are unsigned, not two's complement.")
@click.option(
    "--code",
    "code_name",
    default="twos",
    help="How weights are stored: twos (complement), offset:ZERO (unsigned minus ZERO), ternary (-1, 0, 1), "
    "or C.npy, the 2^wbits integers that the codes in W.npy mean.",
)
@click.option("--group-size", default=0, help="Weights of a block along K; 0: all.")
@click.option("--system", default="sail-n1", help="A machine that ships, or a TOML file.")
@click.option("--threads", default=1, help="Threads of this computer.")
@click.option("--out", type=PathOption(written=True), help="Save the product as .npy: int64 (B, N).")
@as_json_option
def gemv(
    weights: Path,
    activations: Path,
    unsigned: bool,
    code_name: str,
    system: str,
    out: Path | None,
    **given: int,
) -> None:
    """Multiply X.npy by W.npy with look-up tables on a machine's PIM units.

    The product is computed by table look-up and compared with the plain one: exit status 1 if they differ.
    Counts are for one slice's DFM and for all slices in use. Cycles are those of the busiest slice with its
    weights as fast as its port takes them (`time_tile`, memory "port").
    """
    wbits, threads = given["wbits"], given["threads"]
    given["signed"] = not unsigned
    widths: dict[str, Any] = {name: given[name] for name in ("abits", "signed", "nbw", "group_size")}
    code = _weight_code(wbits, code_name)
    w = load_npy("--weights", weights)
    codes = code.checked(w) if code.kind == "book" else code.encode(w)
    x = load_npy("--activations", activations)
    y = lut_gemv(x, codes, code=code, threads=threads, **widths)
    answer: dict[str, Any] = {
        "shape": {"batch": len(x), "k": x.shape[1], "n": codes.shape[1]},
        "wbits": wbits,
        "weight_code": str(code),
        **widths,
        "equal_to_int64_product": bool(np.array_equal(y, int_product(x, code.decode(codes)))),
        **_timing(x, codes, code, system, threads, widths),
    }
    if out is not None:
        with atomic_file(out) as file:
            np.save(file, y, allow_pickle=False)
        answer["out"] = str(out)
    if not answered(answer):
        _print(answer)
    if not answer["equal_to_int64_product"]:
        raise click.exceptions.Exit(1)


def _weight_code(wbits: int, name: str) -> WeightCode:
    kind, _, zero_point = name.partition(":")
    if name.endswith(".npy"):
        code = WeightCode.book(load_npy("--code", Path(name)))
    elif name == "ternary":
        code = WeightCode.ternary()
    elif name == "twos":
        code = WeightCode.twos(wbits)
    elif kind == "offset" and zero_point.isdecimal():
        code = WeightCode.offset(wbits, int(zero_point))
    else:
        raise SailsimError(
            f"code is {name!r}; allowed is twos, offset:ZERO with a whole number, ternary, or a C.npy."
        )
    if code.wbits != wbits:
        raise SailsimError(f"wbits is {wbits}; allowed with --code {name} is {code.wbits}.")
    return code


def _timing(
    x: NDArray[Any], codes: NDArray[np.uint8], code: WeightCode, system: str, threads: int, widths: Any
) -> dict[str, Any]:
    """Counts and cycles of the product on all slices of a machine."""
    config = load_system(system).slice_config()
    profile = pattern_profile(x, prt=PrtConfig.of(config), threads=threads, **widths)
    numbers = (widths[key] for key in ("abits", "nbw", "group_size"))
    shape = (*codes.shape, len(x), code.wbits, code.value_bits, *numbers)
    try:
        tile = _core.TileTimer(config, shape, scaled=False)
        plan, timing = tile.plan, tile.time([profile])[0]
    except ValueError as error:
        raise SailsimError(f"{error}.") from error
    counts = TileCounts(**timing.counts)
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


def load_npy(option: str, path: Path) -> NDArray[Any]:
    """Map an .npy file, after its declared size is checked against the file's.

    Raises:
        SailsimError: the file is missing or damaged; the sentence names the option.
    """
    check_regular(path, f"{option} file", "an .npy file")
    try:
        with np.errstate(over="raise"):  # a declared size beyond 64 bits
            return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # NumPy raises many kinds on damaged files; all mean the same here.
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise SailsimError(f"{option}: {path} is not a whole .npy file ({reason}).") from None


def _print(answer: dict[str, Any]) -> None:
    shape = answer["shape"]
    sign = "signed" if answer["signed"] else "unsigned"
    say(
        f"({shape['batch']}, {shape['k']}) x ({shape['k']}, {shape['n']}): activations of {answer['abits']} "
        f"bits, {sign}; {answer['weight_code']}; NBW {answer['nbw']}"
    )
    verdict = "equal" if answer["equal_to_int64_product"] else "NOT equal"
    saved = f", saved in {answer['out']}" if "out" in answer else ""
    echo(f"result {verdict} to the int64 product{saved}")
    say(
        f"{answer['system']}, substrate {answer['substrate']}: {answer['slices_used']} slices of "
        f"{answer['outputs_per_slice']} outputs, passes: {answer['passes']}"
    )
    every, whole = answer["counts_total"], answer["cycles"]["total"]
    counts = ((key.replace("_", " "), f"{n:,}", f"{every[key]:,}") for key, n in answer["counts"].items())
    print_numbers(("counts", "one slice", "all slices"), counts)
    echo()
    cycles = ((key.replace("_", " "), f"{n:,}", f"{n / whole:.1%}") for key, n in answer["cycles"].items())
    print_numbers(("cycles", "busiest slice", "share"), cycles)

"""Traces of a model: its weight matrices as the tiles that PIM units work on, with real activations.

``plan_trace`` chooses the tiles and their sizes; ``TracePlan.write`` makes them one by one, so a trace needs
the memory of one matrix. ``replay_timed`` runs a trace on one unit: results and cycles.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import ceil
from pathlib import Path
from typing import Any

from sailsim import _core
from sailsim.base.atomic import require_disk_space
from sailsim.base.errors import SailsimError
from sailsim.base.progress import with_progress
from sailsim.lut_gemv import descriptor
from sailsim.lut_gemv.codes import row_bytes
from sailsim.lut_gemv.counts import PrtConfig, cycles_by_phase
from sailsim.lut_gemv.descriptor import ABITS_MAX, NBW_MAX
from sailsim.lut_gemv.tile import Scales, Tile
from sailsim.lut_gemv.trace_file import ReplayResult, Trace, replay, write_trace
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.inference.weights import WeightSource, weight_source
from sailsim.workloads.model_files.folder_model import FolderModel
from sailsim.workloads.model_files.gguf_model import GgufModel
from sailsim.workloads.model_files.load import load_model, open_model_file, weight_choice
from sailsim.workloads.models.formats import WeightFormat
from sailsim.workloads.models.model import Linear, ModelSpec


@dataclass(frozen=True)
class TracePlan:
    """Plan of a trace: its matrices with the sources of their weights, each cut over ``slices``."""

    spec: ModelSpec
    file: GgufModel | FolderModel | None
    format: WeightFormat
    activations: Activations
    matrices: tuple[tuple[Linear, WeightSource], ...]
    left_out: tuple[Linear, ...]
    """Chosen matrices that no tile holds: those of experts, and those without scalar codes."""
    abits: int
    nbw: int
    batch: int
    slices: int
    seed: int
    choose_nbw: Callable[[Tile], int] | None = None
    """Chooses the NBW of a matrix from its first tile; None: all have `nbw`."""

    @property
    def provenance(self) -> dict[str, Any]:
        """Origin of the trace, for its header."""
        notes = [note] if (note := self.activations.note(self.spec)) else []
        uncoded = [linear for linear in self.left_out if not linear.of_experts]
        if experts := len(self.left_out) - len(uncoded):
            notes.append(f"left out, as tokens choose among their matrices: {experts} of experts")
        if uncoded:
            types = Counter(self.format.tensor(linear, self.spec).name for linear in uncoded)
            named = ", ".join(f"{name} {count} matrices" for name, count in types.most_common())
            notes.append(f"left out, as their types have no scalar codes and run on the cores: {named}")
        return {
            "model_source": self.spec.source,
            "model_sha256": self.file.sha256 if isinstance(self.file, GgufModel) else None,
            "weights": {linear.name: source.origin for linear, source in self.matrices},
            "activations": self.activations.id,
            "types": self.format.census_in_words(self.spec),
            "notes": notes,
            "slices": self.slices,
            "seed": self.seed,
        }

    @property
    def bytes(self) -> int:
        """Approximate size of the trace in bytes: codes, scales, expected results."""
        total = 0
        for linear, source in self.matrices:
            fmt, wbits = source.format, source.code.wbits
            blocks = ceil(linear.k / fmt.group_size) if fmt.group_size else 1
            codes = sum(linear.k * row_bytes(stop - start, wbits) for start, stop in self._runs(linear))
            total += codes + (4 if fmt.minimum else 2) * blocks * linear.n + 4 * self.batch * linear.n
        return total

    def tiles(self, progress: bool = False) -> Iterator[Tile]:
        """Make the tiles in the order of a step, the slices of a matrix one after the other."""
        for linear, source in with_progress(self.matrices, "matrices", progress):
            shape = (linear.role, linear.layer, self.spec.n_layers, linear.k, self.batch, self.seed)
            x = self.activations.quantized(*shape, abits=self.abits)
            act_scale = self.activations.act_scales(*shape, abits=self.abits)
            weights = source.load()
            if weights.order is not None:  # a program that runs it reorders them before the product
                x = x[:, weights.order]
            runs = self._runs(linear)
            nbw = self.nbw if self.choose_nbw is None else None
            for index, (start, stop) in enumerate(runs):
                part = weights.take(slice(start, stop))
                tile = Tile(
                    x=x,
                    codes=part.codes,
                    code=part.code,
                    abits=self.abits,
                    nbw=nbw or self.nbw,
                    group_size=part.group_size,
                    scales=Scales(part.scales, act_scale, part.minima),
                    name=linear.name if len(runs) == 1 else f"{linear.name}[{index}]",
                )
                if nbw is None:
                    assert self.choose_nbw is not None
                    nbw = self.choose_nbw(tile)
                    tile = replace(tile, nbw=nbw)
                yield tile

    def write(self, path: str | Path, progress: bool = False, row: int = 0) -> None:
        """Write the trace; ``row`` is that of `write_trace`.

        Raises SailsimError if the disk has no room for it.
        """
        padding = 2 * row * sum(len(self._runs(linear)) for linear, _ in self.matrices)
        require_disk_space(path, self.bytes + padding, "the trace", "layers or tensors")
        tiles = self.tiles(progress)
        write_trace(path, tiles, model=self.spec.name, provenance=self.provenance, row=row)

    def _runs(self, linear: Linear) -> list[tuple[int, int]]:
        """First output, and one past the last, of each slice that has any."""
        share = ceil(linear.n / self.slices)
        return [(start, min(start + share, linear.n)) for start in range(0, linear.n, share)]


def plan_trace(
    model: str | Path,
    activations: Activations,
    *,
    weights: str = "",
    wbits: int | None = None,
    group_size: int | None = None,
    abits: int = 8,
    nbw: int = 4,
    choose_nbw: Callable[[Tile], int] | None = None,
    batch: int = 1,
    layers: tuple[int, int] | None = None,
    tensors: str = "*",
    slices: int = 1,
    seed: int = 0,
) -> TracePlan:
    """Choose the tiles of a model for a trace.

    Args:
        model: a shipped name, or the path of a GGUF file or of a folder of safetensors.
        activations: inputs of the tiles.
        weights, wbits, group_size: choice of the weights' format, as for a point (`weight_choice`): each
            matrix gets its own format's codes, blocks and minima.
        abits: bits of an activation.
        nbw: weights of a group.
        choose_nbw: replaces ``nbw``: chooses it for all tiles of a matrix from the first one
            (`sailsim.sim.step.tile_time.fastest_nbw`).
        batch: rows of activations.
        layers: first block, and one past the last, without the head; None: all, and the head.
        tensors: shell pattern of names.
        slices: runs of outputs that every matrix is cut into.
        seed: of the activations' order, and of random weights.

    Raises:
        SailsimError: for values out of range, and where no chosen matrix has scalar codes.
    """
    for name, value, least, most in (
        ("abits", abits, 1, ABITS_MAX),
        ("nbw", nbw, 1, NBW_MAX),
        ("batch", batch, 1, 65535),
        ("slices", slices, 1, 65535),
    ):
        if not least <= value <= most:
            raise SailsimError(f"{name} is {value}; allowed is {least}..{most}.")
    choice = weight_choice(str(model), weights, wbits, group_size)
    file = open_model_file(model)
    spec = load_model(model) if file is None else file.spec
    if layers is not None and not 0 <= layers[0] < layers[1] <= spec.n_layers:
        raise SailsimError(
            f"layers is {layers[0]}:{layers[1]}; allowed is a range, not empty, in 0:{spec.n_layers}."
        )
    chosen = [
        linear
        for linear in spec.linears()
        if fnmatchcase(linear.name, tensors) and (layers is None or layers[0] <= linear.layer < layers[1])
    ]
    if not chosen:
        raise SailsimError(
            f"tensors is {tensors!r}; allowed is a pattern that matches one, such as '*.attn_q'."
        )
    fmt = choice.format(str(model), spec)
    types = {linear: fmt.tensor(linear, spec) for linear in chosen}
    coded = [linear for linear in chosen if types[linear].code is not None and not linear.of_experts]
    if not coded:
        why = (
            "are those of experts, which a trace does not choose among"
            if chosen[0].of_experts
            else f"are {types[chosen[0]].name}, which has no scalar codes and runs on the cores"
        )
        raise SailsimError(
            f"tensors is {tensors!r}, whose weights {why}; allowed are other matrices with codes, such as "
            "those of weights 4g32."
        )
    matrices = tuple((linear, weight_source(file, linear, types[linear], seed)) for linear in coded)
    left_out = tuple(linear for linear in chosen if linear not in set(coded))
    return TracePlan(
        spec, file, fmt, activations, matrices, left_out, abits, nbw, batch, slices, seed, choose_nbw
    )


def replay_timed(
    trace: Trace, config: _core.SliceConfig, threads: int = 1
) -> Iterator[tuple[ReplayResult, dict[str, int] | None]]:
    """Replay a trace on one unit, tile by tile: results, and cycles by phase (None after an error).

    ``config`` describes the unit, which has whole tiles, so ``config.slices`` must be 1. A tile that does not
    fit the unit's arrays gets ``ERR_CAPACITY``.
    """
    for result in replay(trace, prt=PrtConfig.of(config), threads=threads):
        cycles = None
        if result.tile is not None and result.profile is not None:
            tile, scaled = result.tile, result.tile.scales is not None
            try:
                timer = _core.TileTimer(config, tile.shape, scaled, tile.has_minimum)
                timing = timer.time([result.profile])[0]
                cycles = {**cycles_by_phase(timing), "total": int(timing.total)}
            except ValueError as error:
                status = descriptor.Status.ERR_CAPACITY
                result = replace(result, status=status, problem=str(error), output=None)
        yield result, cycles

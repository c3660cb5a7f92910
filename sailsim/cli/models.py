"""`sailsim models`: the model shapes that ship, and what a GGUF file or a folder of safetensors holds."""

from collections import Counter
from dataclasses import asdict
from typing import Any

import click

from sailsim.base.errors import SailsimError
from sailsim.cli._command import Group
from sailsim.cli._json import print_json
from sailsim.cli._table import echo, say
from sailsim.workloads.experts import distinct_experts
from sailsim.workloads.folder_model import FolderModel
from sailsim.workloads.formats import format_names, weight_format
from sailsim.workloads.gguf_model import GgufModel
from sailsim.workloads.load import load_model, opened
from sailsim.workloads.model import ModelSpec
from sailsim.workloads.shape_file import model_names


@click.group(cls=Group)
def models() -> None:
    """List the models, and show the shapes and sizes of one."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_models(as_json: bool) -> None:
    """List the models that ship; the path of a GGUF file, or of a folder with config.json and safetensors
    files, works wherever a model is asked for."""
    specs = [load_model(name) for name in model_names()]
    if as_json:
        print_json({"models": [_summary(spec) for spec in specs]})
        return
    echo(f"{'name':<14} {'parameters':>11} {'layers':>6} {'width':>6} {'heads':>6} {'ffn':>6} {'vocab':>7}")
    for spec in specs:
        heads = f"{spec.n_heads}/{spec.n_kv_heads}"
        echo(
            f"{spec.name:<14} {spec.n_params / 1e9:>9.3f} B {spec.n_layers:>6} {spec.d_model:>6} {heads:>6} "
            f"{spec.d_ffn:>6} {spec.vocab:>7}"
        )


@models.command()
@click.argument("model")
@click.option(
    "--format",
    "format_name",
    help="Also give the stored size in this weight format (not for a GGUF file or a folder).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(model: str, format_name: str | None, as_json: bool) -> None:
    """Show the shapes of MODEL, one that ships or the path of a GGUF or TOML file, or of a folder.

    For a GGUF file or a folder also the format and the stored bytes of every tensor.
    """
    file = opened(model)
    spec = load_model(model) if file is None else file.spec
    found = _summary(spec)
    if file is not None:
        if format_name is not None:
            raise SailsimError(
                f"format is {format_name!r}; allowed is none: a GGUF file or a folder has its own formats."
            )
        found |= _stored(file)
    elif format_name is not None:
        fmt = weight_format(format_name)
        found |= {
            "format": fmt.name,
            "bytes": fmt.model_bytes(spec),
            "bits_per_weight": fmt.model_bits_per_weight(spec),
        }
    if as_json:
        print_json(found)
        return
    for key, value in found.items():
        if key in QUIET and not value:
            continue
        say(f"{key:<20} {_in_words(key, value)}", " " * 21)


@models.command()
@click.option(
    "--model", "model_name", default="llama-2-7b", show_default=True, help="Model the sizes are for."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def formats(model_name: str, as_json: bool) -> None:
    """List the weight formats with the size that a model has in each."""
    spec = load_model(model_name)
    listed = [weight_format(name) for name in format_names()]
    if as_json:
        rows = [
            {
                "name": fmt.name,
                "wbits": fmt.wbits,
                "group_size": fmt.group_size,
                "bits_per_weight": fmt.model_bits_per_weight(spec),
                "bytes": fmt.model_bytes(spec),
                "source": fmt.source,
            }
            for fmt in listed
        ]
        print_json({"formats": rows})
        return
    echo(f"{'format':<8} {'code bits':>9} {'group':>6} {'bits/weight':>12} {'size of ' + spec.name:>22}")
    for fmt in listed:
        echo(
            f"{fmt.name:<8} {fmt.wbits or 'none':>9} {fmt.group_size:>6} "
            f"{fmt.model_bits_per_weight(spec):>12.3f} {fmt.model_bytes(spec) / 1e9:>19.3f} GB"
        )


QUIET = (
    "fused_ffn", "value_dim", "sliding_window", "full_layers", "experts", "published_active", "notes",
)  # fmt: skip
"""Fields of a shape that a line is spent on where they say something."""

TOUCHED = (1, 2, 8, 32)
"""Batches of which it is said how many experts they touch."""


def _in_words(key: str, value: Any) -> str:
    if key == "tensors":
        kinds = Counter(tensor["type"] for tensor in value)
        return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(name, inside)}" for name, inside in value.items() if inside)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:,}" if type(value) is int else f"{value}"


def _summary(spec: ModelSpec) -> dict[str, Any]:
    found = asdict(spec) | {"n_params": spec.n_params, "kv_bytes_per_token": spec.kv_bytes_per_token()}
    if spec.experts is not None:
        count, used = spec.experts.count, spec.experts.used
        touched = {f"at batch {batch}:": round(distinct_experts(count, used, batch), 2) for batch in TOUCHED}
        found |= {"active_params": spec.active_params, "experts_touched": touched}
    return found


def _stored(model: GgufModel | FolderModel) -> dict[str, Any]:
    """The tensors of a file or a folder, and what they take together."""
    tensors = [
        {"name": tensor.name, "shape": list(tensor.shape), "type": tensor.type, "bytes": tensor.n_bytes}
        for tensor in model.stored
    ]
    size = sum(tensor.n_bytes for tensor in model.stored)
    return {"bytes": size, "bits_per_weight": 8 * size / model.spec.n_params, "tensors": tensors}

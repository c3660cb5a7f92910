"""Models, weight formats, decode-step graphs, GGUF files and real activations.

``load_model`` and ``weight_format`` give the two inputs of ``decode_step``; ``Activations`` gives the bits
that the PIM sees. docs/models.md explains the data and its sources.
"""

from sailsim.workloads.activations import DEFAULT_TEXT, Activations, capture, default_gguf
from sailsim.workloads.formats import (
    TENSOR_FORMATS,
    TensorFormat,
    WeightFormat,
    format_names,
    uniform_format,
    weight_format,
)
from sailsim.workloads.forward import forward
from sailsim.workloads.gguf_file import GgufFile, GgufModel, open_gguf, stored_model, tensor_bytes
from sailsim.workloads.graph import Op, decode_step, prefill_step
from sailsim.workloads.model import ROLES, Linear, ModelSpec, Role, load_model, model_names
from sailsim.workloads.tokenizer import Tokenizer
from sailsim.workloads.traces import TimedTile, TracePlan, plan_trace, replay_timed
from sailsim.workloads.weights import Weights, WeightSource, file_source, synthetic_source

__all__ = [
    "DEFAULT_TEXT",
    "ROLES",
    "TENSOR_FORMATS",
    "Activations",
    "GgufFile",
    "GgufModel",
    "Linear",
    "ModelSpec",
    "Op",
    "Role",
    "TensorFormat",
    "TimedTile",
    "Tokenizer",
    "TracePlan",
    "WeightFormat",
    "WeightSource",
    "Weights",
    "capture",
    "decode_step",
    "default_gguf",
    "file_source",
    "format_names",
    "forward",
    "load_model",
    "model_names",
    "open_gguf",
    "plan_trace",
    "prefill_step",
    "replay_timed",
    "stored_model",
    "synthetic_source",
    "tensor_bytes",
    "uniform_format",
    "weight_format",
]

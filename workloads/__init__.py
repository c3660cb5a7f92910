"""Models, weight formats, decode-step graphs, GGUF files and real activations.

``load_model`` and ``weight_format`` give the two inputs of ``decode_step``; ``Activations`` gives the bits
that the PIM sees. docs/models.md explains the data and its sources.
"""

from sailsim.workloads.activations import Activations
from sailsim.workloads.capture import DEFAULT_TEXT, capture, default_gguf
from sailsim.workloads.choice import WeightChoice, chosen_format, settled_choice
from sailsim.workloads.experts import (
    EXPECTED,
    Experts,
    Routing,
    distinct_experts,
    expected_rounds,
    expected_spread,
    sampled_spread,
    touched,
)
from sailsim.workloads.folder_model import FolderModel, header_files, open_folder
from sailsim.workloads.formats import (
    FLOATS,
    TENSOR_FORMATS,
    TensorFormat,
    UniformFormat,
    WeightFormat,
    format_names,
    uniform_format,
    weight_format,
)
from sailsim.workloads.forward import forward
from sailsim.workloads.gguf_file import GgufFile
from sailsim.workloads.gguf_model import GgufModel, open_gguf, stored_model, tensor_bytes
from sailsim.workloads.graph import Op, decode_step, prefill_step, step_notes
from sailsim.workloads.image import Image, ImagePlan, plan_image, read_image
from sailsim.workloads.image_decode import ImageDecoder
from sailsim.workloads.load import load_model, opened, require_model
from sailsim.workloads.model import KV_BITS, KV_WORDS, ROLES, Linear, ModelSpec, Role
from sailsim.workloads.shape_file import has_own_formats, model_names
from sailsim.workloads.tokenizer import Tokenizer
from sailsim.workloads.traces import ReplayedTile, TracePlan, plan_trace, replay_timed
from sailsim.workloads.unit_attention import attention_on_units
from sailsim.workloads.weights import Weights, WeightSource, file_source, synthetic_source

__all__ = [
    "DEFAULT_TEXT",
    "EXPECTED",
    "FLOATS",
    "KV_BITS",
    "KV_WORDS",
    "ROLES",
    "TENSOR_FORMATS",
    "Activations",
    "Experts",
    "FolderModel",
    "GgufFile",
    "GgufModel",
    "Image",
    "ImageDecoder",
    "ImagePlan",
    "Linear",
    "ModelSpec",
    "Op",
    "ReplayedTile",
    "Role",
    "Routing",
    "TensorFormat",
    "Tokenizer",
    "TracePlan",
    "UniformFormat",
    "WeightChoice",
    "WeightFormat",
    "WeightSource",
    "Weights",
    "attention_on_units",
    "capture",
    "chosen_format",
    "decode_step",
    "default_gguf",
    "distinct_experts",
    "expected_rounds",
    "expected_spread",
    "file_source",
    "format_names",
    "forward",
    "has_own_formats",
    "header_files",
    "load_model",
    "model_names",
    "open_folder",
    "open_gguf",
    "opened",
    "plan_image",
    "plan_trace",
    "prefill_step",
    "read_image",
    "replay_timed",
    "require_model",
    "sampled_spread",
    "settled_choice",
    "step_notes",
    "stored_model",
    "synthetic_source",
    "tensor_bytes",
    "touched",
    "uniform_format",
    "weight_format",
]

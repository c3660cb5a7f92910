"""A model by its name or its file: a shape that ships, a TOML file of a shape, a GGUF file, or a folder of
safetensors."""

from pathlib import Path

from sailsim.base.arguments import A_PATH, check_type
from sailsim.base.errors import SailsimError
from sailsim.workloads.folder_model import FolderModel, open_folder
from sailsim.workloads.gguf_model import GgufModel, open_gguf
from sailsim.workloads.model import ModelSpec
from sailsim.workloads.shape_file import has_own_formats, model_names, read_shape, shipped_model


def opened(name_or_path: str | Path) -> GgufModel | FolderModel | None:
    """What has formats of its own behind a model argument: a GGUF file or a folder; None for every other."""
    path = Path(name_or_path)
    if not has_own_formats(name_or_path):
        return None
    if path.is_dir():
        return open_folder(path)
    return open_gguf(path) if path.exists() else None


def load_model(name_or_path: str | Path) -> ModelSpec:
    """A shipped model by name, or the model of a GGUF or TOML file, or of a folder of safetensors, by path.

    Raises SailsimError for an unknown name and for a file that is damaged or of an unsupported kind.
    """
    check_type("name_or_path", name_or_path, A_PATH, "is a name or a path")
    name = str(name_or_path)
    if name in model_names():
        return shipped_model(name)
    path = Path(name_or_path)
    require_model(name)
    if path.suffix == ".toml":
        return read_shape(path)
    found = opened(path)
    assert found is not None
    return found.spec


def require_model(name: str) -> None:
    """Raise SailsimError where a model argument is neither a model that ships nor a path that there is."""
    if name not in model_names() and not (name and Path(name).exists()):
        raise SailsimError(
            f"model is {name!r}; allowed is a path of a GGUF or TOML file, of a folder with config.json and "
            f"safetensors files, or one of {', '.join(model_names())}."
        )

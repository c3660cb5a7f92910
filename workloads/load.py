"""A model by its name or its file: a shape that ships, a TOML file of a shape, or a GGUF file."""

from pathlib import Path

from sailsim.base.errors import SailsimError
from sailsim.workloads.gguf_model import open_gguf
from sailsim.workloads.model import ModelSpec
from sailsim.workloads.shape_file import model_names, read_shape, shipped_model


def load_model(name_or_path: str | Path) -> ModelSpec:
    """A shipped model by name, or the model of a GGUF or TOML file by path.

    Raises SailsimError for an unknown name and for a file that is damaged or of an unsupported kind.
    """
    name = str(name_or_path)
    if name in model_names():
        return shipped_model(name)
    path = Path(name_or_path)
    if path.suffix == ".toml" and path.is_file():
        return read_shape(path)
    if path.is_file():
        return open_gguf(path).spec
    raise SailsimError(
        f"model is {name!r}; allowed is a path of a GGUF or TOML file or one of {', '.join(model_names())}."
    )

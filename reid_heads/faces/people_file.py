"""The file of enrolled people: names, mean embeddings, and the model that they are of.

Letters: P people, D embedding size.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_heads.atomic_file import save_arrays
from reid_heads.evaluation.features import check_features
from reid_heads.evaluation.named_arrays import BROKEN_FILE, read_arrays
from reid_heads.unit_norm import is_unit_norm

NOBODY = "nobody"
"""What a rejected face is called, so nobody is enrolled by that name."""

_ARRAYS = ("names", "embeddings", "model_digest")
_HINT = "; expected a file that `python -m reid_heads.faces enroll` wrote: enroll again"


@dataclass(frozen=True)
class EnrolledPeople:
    """Enrolled people; checked when built.

    Raises:
        ValueError: If there are none, two share a name, one is called nobody, or the embeddings do
            not fit.
    """

    names: tuple[str, ...]

    embeddings: np.ndarray
    """(P, D) float32 of unit norm."""

    model_digest: str
    """Of weights and input format of the model, see `models.digest_model`."""

    def __post_init__(self) -> None:
        check_features(self.embeddings, "embeddings")
        if len(self.embeddings) != len(self.names):
            raise ValueError(f"got {len(self.embeddings)} embeddings of {len(self.names)} names")
        if len(set(self.names)) < len(self.names) or not all(self.names):
            raise ValueError("names: got one twice, or an empty one; expected different ones")
        if NOBODY in self.names:
            raise ValueError(
                f"names: a person is called {NOBODY!r}, as faces of nobody enrolled are; rename it"
            )
        norms = np.linalg.norm(self.embeddings, axis=1)
        worst = int(np.abs(norms - 1).argmax())
        if not is_unit_norm(norms[worst]):
            raise ValueError(
                f"embeddings: that of {self.names[worst]!r} has norm {norms[worst]:g}, expected 1"
            )


def save_people(path: str | os.PathLike[str], people: EnrolledPeople) -> None:
    """Write ``.npz`` without pickle, whole or not at all, to be read by its owner alone."""
    arrays = {
        "names": np.array(people.names),
        "embeddings": people.embeddings.astype(np.float32),
        "model_digest": np.array(people.model_digest),
    }
    save_arrays(path, arrays, mode=0o600)


def load_people(
    path: str | os.PathLike[str], model_digest: str, embedding_dim: int
) -> EnrolledPeople:
    """Read what `save_people` wrote, to be compared with embeddings of a model.

    Args:
        path: The file.
        model_digest: Of the model in use.
        embedding_dim: D of the model in use.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, broken, or of another model.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of people {path}{_HINT}")
    try:
        people = _read(path)
    except BROKEN_FILE as error:
        raise ValueError(f"{path}: {error}{_HINT}") from error
    size = people.embeddings.shape[1]
    if people.model_digest != model_digest or size != embedding_dim:
        raise ValueError(
            f"{path} was enrolled with another model: its digest is {people.model_digest[:12]} and "
            f"its embeddings have {size} values, here it is {model_digest[:12]} and "
            f"{embedding_dim}; use the --config-file and --weights of then, or enroll again"
        )
    return people


def _read(path: Path) -> EnrolledPeople:
    names, embeddings, digest = read_arrays(path, _ARRAYS).values()
    if names.ndim != 1 or names.dtype.kind != "U" or digest.ndim != 0 or digest.dtype.kind != "U":
        raise ValueError("names and model_digest are no text")
    return EnrolledPeople(tuple(names.tolist()), embeddings, str(digest))

"""Embeddings of one set of images: the arrays of ``embeddings.npz``, read, written and checked.

A set that is not split into queries and gallery, as of verification and of Recall@K, is kept so:
``image_names (N,) str``, the images as their data set calls them, ``features (N, D)`` of any norm
but 0, and ``pids (N,)``. ``features.npz`` (see ``features``) stays what it is.

Letters: N images, D embedding size.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from reid_heads.atomic_file import save_arrays
from reid_heads.evaluation.features import check_features, check_labels
from reid_heads.evaluation.named_arrays import load_named_arrays
from reid_heads.face_pairs import image_stem


@dataclass(frozen=True)
class ImageEmbeddings:
    """Hold one model's embeddings of one set of images; checked when built.

    Raises:
        ValueError: If an array has a wrong type or shape, holds NaN or infinity, does not fit the
            others, or names an image twice; names the array.
    """

    image_names: np.ndarray
    """(N,) str."""

    features: np.ndarray
    """(N, D) floating point."""

    pids: np.ndarray
    """(N,) integer."""

    def __post_init__(self) -> None:
        check_features(self.features, "features")
        check_labels(self.pids, "pids", len(self.features), "features")
        names = self.image_names
        if not isinstance(names, np.ndarray) or names.dtype.kind != "U" or names.ndim != 1:
            got = getattr(names, "dtype", type(names).__name__)
            raise ValueError(f"image_names: got {got}, expected a NumPy array of str, one axis")
        if len(names) != len(self.features):
            raise ValueError(
                f"image_names: {len(names)} rows, but features has {len(self.features)}"
            )
        unique, counts = np.unique(names, return_counts=True)
        if counts.max() > 1:
            raise ValueError(f"image_names: {unique[counts.argmax()]} stands there twice")

    def rows_of(self, names: Iterable[str], source: str) -> np.ndarray:
        """Return the row of each of some images.

        Args:
            names: As pairs call them: the last folder and the file without its suffix.
            source: Who asks for them, for the error message.

        Raises:
            ValueError: If an image is not there, or two are called alike.
        """
        row_of: dict[str, int] = {}
        for row, name in enumerate(self.image_names.tolist()):
            twin = row_of.setdefault(image_stem(name), row)
            if twin != row:
                raise ValueError(
                    f"image_names: {self.image_names[twin]} and {name} are both called "
                    f"{image_stem(name)} in pair lists"
                )
        names = list(names)
        missing = sorted({name for name in names if name not in row_of})
        if missing:
            raise ValueError(
                f"{source} names {len(missing)} images without an embedding, {missing[0]} first; "
                f"the {len(row_of)} embeddings are of images such as {self.image_names[0]}. Do "
                "list and embeddings belong to one data set?"
            )
        return np.array([row_of[name] for name in names], dtype=np.int64)


def save_embeddings(path: str | os.PathLike[str], embeddings: ImageEmbeddings) -> None:
    """Write ``embeddings.npz`` whole or not at all; arrays only, so no pickle."""
    names = [field.name for field in fields(ImageEmbeddings)]
    save_arrays(path, {name: getattr(embeddings, name) for name in names})


def load_embeddings(path: str | os.PathLike[str]) -> ImageEmbeddings:
    """Read ``embeddings.npz``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such archive, lacks an array or an array breaks a rule; names file
            and array.
    """
    hint = ", as tests by verification and recall write them"
    return load_named_arrays(path, ImageEmbeddings, "embeddings", hint)

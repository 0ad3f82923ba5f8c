"""Face nets in ONNX files, as insightface publishes them: ArcFace and its kin.

Letters: N faces, D embedding size.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reid_heads.crop_description import KEY, VERSION
from reid_heads.faces.alignment import ALIGNED_SIZE
from reid_heads.faces.pipeline import EMBED_BATCH, check_embeddings
from reid_heads.onnx_files import FLOATS, OnnxFile, import_package, read_onnx, run_model

MIDDLE = 127.5
"""Taken from each pixel value, and what is left divided by it: insightface's preprocessing."""

_FIRST_NODES = 8
_GREY = 114


class OnnxEmbedder:
    """Embed aligned faces by an ONNX file, each with its mirror image.

    Attributes:
        embedding_dim: D, 512 of the published files.
        digest: SHA-256, in hexadecimal digits, of the file with its weights and of the input
            format.
    """

    def __init__(self, source: str | Path, device: str | None = None) -> None:
        """Load a file that maps (N, 3, 112, 112) to (N, D), and embed a grey face.

        Pixels are RGB, (value - 127.5) / 127.5, as insightface's ``ArcFaceONNX`` has it; for files
        that came from MXNet, and have this normalisation as their first nodes, 0..255. An export of
        `reid_heads.crop_export` says by itself what it takes.

        Args:
            source: The file.
            device: "cpu" or "cuda"; None: a GPU where onnxruntime can use one.

        Raises:
            FileNotFoundError: If there is no such file, or none of its weights' beside it.
            ModuleNotFoundError: Without the package ``onnxruntime``.
            ValueError: If the file is no ONNX model, none that maps aligned faces to embeddings, or
                its weights are NaN or infinite.
        """
        file = read_onnx(source, "face net", "; check --weights", is_finite=True)
        self.name = file.name
        self._session = file.open("the ONNX file of a face net", device=device, threads=None)
        self._input, self._output = _find_ends(self._session, self.name)
        batch = self._input.shape[0]
        self._batch = batch if isinstance(batch, int) and batch > 0 else None
        metadata = self._session.get_modelmeta().custom_metadata_map
        described = _read_description(metadata, self.name)
        mean, std = (0.0, 1.0) if _normalises_inside(file) else (MIDDLE, MIDDLE)
        usual = ("RGB", [mean] * 3, [std] * 3)
        self._color, self._mean, self._std = described or usual
        settings = f"faces onnx 1\n{self._color} {ALIGNED_SIZE} {self._mean} {self._std}\n"
        digest = hashlib.sha256(settings.encode())
        digest.update(file.content)
        self.digest = digest.hexdigest()
        self.embedding_dim = self._probe()

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        """Return (N, D) float32 of unit norm for (N, 112, 112, 3) uint8 RGB.

        Features of a face and of its mirror image are added as they are, as in insightface's own
        evaluation.

        Raises:
            ValueError: If faces are of another form, or an embedding is not finite or all zeros.
        """
        if faces.ndim != 4 or faces.shape[1:] != (ALIGNED_SIZE, ALIGNED_SIZE, 3):
            raise ValueError(
                f"faces: got shape {faces.shape}, expected (N, {ALIGNED_SIZE}, {ALIGNED_SIZE}, 3)"
            )
        rows = [np.zeros((0, self.embedding_dim), np.float32)]
        for start in range(0, len(faces), EMBED_BATCH):
            pixels = faces[start : start + EMBED_BATCH]
            rows.append(self._run(pixels) + self._run(pixels[:, :, ::-1]))
        embeddings = np.concatenate(rows)
        # Of rows of zeros or NaN there is no direction.
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        check_embeddings(embeddings)
        return embeddings

    def _run(self, pixels: np.ndarray) -> np.ndarray:
        """Return the features (N, D) of (N, 112, 112, 3) uint8 RGB as the graph gives them."""
        ordered = pixels[..., ::-1] if self._color == "BGR" else pixels
        tensor = (ordered.astype(np.float32) - self._mean) / self._std
        tensor = np.ascontiguousarray(tensor.transpose(0, 3, 1, 2), np.float32)
        size = self._batch or len(tensor)
        rows = []
        for start in range(0, len(tensor), size):
            part = tensor[start : start + size]
            # A graph of a fixed number of faces gets the last one again.
            again = np.repeat(part[-1:], size - len(part), axis=0)
            faces = np.concatenate([part, again]).astype(FLOATS[self._input.type])
            inputs = {self._input.name: faces}
            (found,) = run_model(self._session, [self._output.name], inputs, self.name)
            rows.append(np.asarray(found, np.float32)[: len(part)])
        return np.concatenate(rows)

    def _probe(self) -> int:
        """Return D, found by a grey face."""
        grey = np.full((1, ALIGNED_SIZE, ALIGNED_SIZE, 3), _GREY, np.uint8)
        found = self._run(grey)
        if found.ndim != 2 or len(found) != 1 or not np.isfinite(found).all():
            got = f"shape {found.shape}" if found.ndim != 2 or len(found) != 1 else "NaN"
            raise ValueError(
                f"{self.name} gives {got} for a grey face; expected a row of finite numbers, (1, "
                "D): is it a face net, and are its weights whole?"
            )
        return int(found.shape[1])


def _find_ends(session: Any, name: str) -> tuple[Any, Any]:
    """Return the input and the output of a face net.

    Raises:
        ValueError: If it is none; says what was found.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    is_face_net = len(inputs) == len(outputs) == 1 and len(inputs[0].shape) == 4
    if is_face_net:
        # A file may leave height and width open, but not say others.
        wanted = zip(inputs[0].shape[1:], (3, ALIGNED_SIZE, ALIGNED_SIZE), strict=True)
        is_face_net = all(not isinstance(axis, int) or axis == size for axis, size in wanted)
        is_face_net &= inputs[0].type in FLOATS and len(outputs[0].shape) == 2
    if not is_face_net:
        found = [
            ", ".join(f"{x.name} {x.type} {x.shape}" for x in ends) for ends in (inputs, outputs)
        ]
        raise ValueError(
            f"{name} maps {found[0]} to {found[1]}; expected a face net, float (N, 3, "
            f"{ALIGNED_SIZE}, {ALIGNED_SIZE}) to (N, D)"
        )
    return inputs[0], outputs[0]


def _read_description(
    metadata: Mapping[str, str], name: str
) -> tuple[str, list[float], list[float]] | None:
    """Return order of channels, mean and deviation of an export of `reid_heads`, None of others.

    Raises:
        ValueError: If the description is damaged or of another version.
    """
    if KEY not in metadata:
        return None
    try:
        said = json.loads(metadata[KEY])
        if said["version"] == VERSION and said["color"] in ("RGB", "BGR"):
            mean, std = ([float(x) for x in said[key]] for key in ("mean", "std"))
            return said["color"], mean, std
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{name}: its description {KEY!r} is damaged ({error!r}); export the net anew"
        ) from error
    raise ValueError(
        f"{name}: its description {KEY!r} is of version {said['version']} with colours "
        f"{said['color']}; expected version {VERSION} and RGB or BGR: export the net anew"
    )


def _normalises_inside(file: OnnxFile) -> bool:
    """Say whether the graph begins with a normalisation, by insightface's rule: nodes' names."""
    graph = import_package("onnx").load_from_string(file.content).graph
    names = [node.name for node in graph.node[:_FIRST_NODES]]
    return all(
        any(name.startswith(beginnings) for name in names)
        for beginnings in (("Sub", "_minus"), ("Mul", "_mul"))
    )

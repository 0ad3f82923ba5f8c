"""Crop nets from ONNX files, run by onnxruntime, without PyTorch.

Letters: H, W height and width of a crop in original pixels, h, w in resized pixels, N crops, D
embedding size.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from person_search.inference.cards import fill_in, fingerprint_of, read_card
from person_search.inference.crop_nets.card import INTERPOLATIONS, CropNetCard, read_reid_heads
from reid_heads.onnx_files import read_onnx
from reid_heads.unit_norm import is_unit_norm

MOST_CROPS = 32
"""That are computed together."""
_GREY = 114


class OnnxCropNet:
    """A crop net in an ONNX file; a `person_search.inference.crop_nets.crop_net.CropNet`.

    Attributes:
        card: how crops are prepared.
    """

    def __init__(
        self,
        source: str | Path | bytes,
        *,
        device: str | None = None,
        threads: int | None = None,
    ):
        """Load a file that maps (N, 3, h, w) to (N, D), and embed a grey crop.

        What a card beside it, ``NAME.card.json``, does not say is taken from the graph, and from
        the description in an export of `reid_heads`; the rest is usual, see `CropNetCard`.

        Args:
            source: the file, or what it holds.
            device: see `person_search.inference.onnx_network.OnnxNetwork`.
            threads: likewise.

        Raises:
            FileNotFoundError: if there is no such file, or none of its weights' beside it.
            ModuleNotFoundError: without the package ``onnxruntime``.
            ValueError: if the file is no ONNX model, or none that maps crops to embeddings, or its
                card is wrong.
        """
        file = read_onnx(source, "crop net")
        self.name = file.name
        self._session = file.open("a crop net's ONNX file", device=device, threads=threads)
        self._input, self._output = _ends(self._session, self.name)
        metadata = self._session.get_modelmeta().custom_metadata_map
        described = read_reid_heads(metadata, self.name)
        said = read_card(file.path, metadata, self.name)
        usual = self._card_of_graph() if described is None else described[0]
        self.card = fill_in(CropNetCard(), {**usual, **said}, self.name)
        self._check_size()
        batch = self._input.shape[0]
        self._batch = batch if isinstance(batch, int) else None
        self.fingerprint = fingerprint_of("crop net 1", file.content, self.card)
        if described is not None and self.card == fill_in(CropNetCard(), usual, self.name):
            # The same net has the same one in whatever program it runs.
            self.fingerprint = described[1]
        self.embedding_dim = self._probe(None if described is None else described[2])

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Embed crops; see `person_search.inference.crop_nets.crop_net.CropNet.embed`.

        Raises:
            ValueError: if the net gives NaN or zeros.
        """
        size = self._batch or MOST_CROPS
        rows = [np.zeros((0, self.embedding_dim), np.float32)]
        for start in range(0, len(crops), size):
            rows.append(self._run([self._prepare(crop) for crop in crops[start : start + size]]))
        return self._with_unit_norm(np.concatenate(rows))

    def _prepare(self, crop: np.ndarray) -> np.ndarray:
        """Resize and normalise a crop (H, W, 3); returns (3, h, w)."""
        card = self.card
        size = card.width, card.height
        image = Image.fromarray(np.ascontiguousarray(crop))
        if image.size != size:
            image = image.resize(size, INTERPOLATIONS[card.interpolation])
        pixels = np.asarray(image, np.float32)
        if card.color == "BGR":
            pixels = pixels[:, :, ::-1]
        mean, std = np.array(card.mean, np.float32), np.array(card.std, np.float32)
        return np.asarray(((pixels - mean) / std).transpose(2, 0, 1))

    def _run(self, prepared: list[np.ndarray]) -> np.ndarray:
        tensor = np.stack(prepared)
        if self._batch is not None and len(tensor) < self._batch:
            # A graph of a fixed number of crops gets the last one again.
            again = np.repeat(tensor[-1:], self._batch - len(tensor), axis=0)
            tensor = np.concatenate([tensor, again])
        if self._input.type == "tensor(float16)":
            tensor = tensor.astype(np.float16)
        (rows,) = self._session.run([self._output.name], {self._input.name: tensor})
        rows = np.asarray(rows, np.float32)[: len(prepared)]
        return rows.reshape(len(rows), -1)

    def _with_unit_norm(self, rows: np.ndarray) -> np.ndarray:
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        # Of rows of zeros or NaN there is no direction.
        with np.errstate(invalid="ignore", divide="ignore"):
            unit = rows / norms
        if not is_unit_norm(np.linalg.norm(unit, axis=1)).all():
            raise ValueError(
                f"{self.name} gives embeddings of norm {norms.min():.4g} to {norms.max():.4g}; "
                "expected finite ones that are not zero: are its weights whole?"
            )
        return np.asarray(unit)

    def _card_of_graph(self) -> dict[str, Any]:
        height, width = self._input.shape[2:]
        sizes = {"height": height, "width": width}
        return {field: value for field, value in sizes.items() if isinstance(value, int)}

    def _check_size(self) -> None:
        for field, axis in zip(("height", "width"), self._input.shape[2:], strict=True):
            value = getattr(self.card, field)
            if isinstance(axis, int) and axis != value:
                raise ValueError(
                    f"{self.name} takes crops of {field} {axis}, but its card says {value}; "
                    f"leave {field} out of the card"
                )

    def _probe(self, expected: int | None) -> int:
        """Return D, found by a grey crop."""
        grey = np.full((self.card.height, self.card.width, 3), _GREY, np.uint8)
        try:
            rows = self._run([self._prepare(grey)])
        # onnxruntime's exceptions have nothing but Exception in common.
        except Exception as error:
            raise ValueError(
                f"{self.name} does not take crops of {self.card.height} x {self.card.width} "
                f"(height x width): {error}. Say the right ones in its card"
            ) from error
        if expected not in (None, rows.shape[1]):
            raise ValueError(
                f"{self.name} gives {rows.shape[1]} numbers a crop, but its description says "
                f"{expected}; export it anew"
            )
        if not np.isfinite(rows).all():
            raise ValueError(f"{self.name} gives NaN for a grey crop: are its weights whole?")
        return int(rows.shape[1])


def _ends(session: Any, name: str) -> tuple[Any, Any]:
    """Return the input and the output of a crop net.

    Raises:
        ValueError: if it is none; says what was found.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    takes_crops = len(inputs) == 1 and len(inputs[0].shape) == 4 and inputs[0].shape[1] == 3
    takes_crops &= inputs[0].type in ("tensor(float)", "tensor(float16)")
    # Global pooling may leave axes of length 1.
    gives_rows = [x for x in outputs if len(x.shape) in (2, 4) and set(x.shape[2:]) <= {1}]
    if not takes_crops or len(outputs) != 1 or not gives_rows:
        found = [", ".join(f"{x.name} {x.shape}" for x in ends) for ends in (inputs, outputs)]
        raise ValueError(
            f"{name} maps {found[0]} to {found[1]}; expected a crop net, (N, 3, height, width) to "
            "(N, D)"
        )
    return inputs[0], outputs[0]

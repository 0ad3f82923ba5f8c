"""The evaluator that detectron2 runs over a test set without queries: verification and recall."""

import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from reid_heads.atomic_file import save_json
from reid_heads.evaluation.embedding_scoring import (
    IMAGE_PROTOCOLS,
    score_recall,
    score_verification,
)
from reid_heads.evaluation.embeddings import ImageEmbeddings, save_embeddings
from reid_heads.evaluation.evaluator import RESULTS_FILE, embedding_array
from reid_heads.face_pairs import FacePairs

logger = logging.getLogger(__name__)

EMBEDDINGS_FILE = "embeddings.npz"
MAIN_METRICS = {"verification": "verification/accuracy", "recall": "recall/MAP@R"}


class ImageEvaluator(DatasetEvaluator):
    """Score a model on a pair list or by searching for each image, and keep its embeddings.

    The inputs are the mapper's: ``image_id`` and ``person_id``; the model gives
    ``{"embedding": (D,) tensor}`` for each. Images are put in the order of the processes' ranks; an
    image that several processes have seen counts once, where it came first.
    """

    def __init__(
        self,
        protocol: str,
        output_dir: str | os.PathLike[str] | None = None,
        *,
        load_pairs: Callable[[], FacePairs] | None = None,
        record: Mapping[str, Any] | None = None,
        distributed: bool = True,
    ) -> None:
        """Set what is scored.

        Args:
            protocol: "verification" or "recall".
            output_dir: Where ``embeddings.npz`` and ``results.json`` go; None writes nothing.
            load_pairs: Gives the pairs of "verification"; called when they are needed.
            record: Facts that belong to the numbers; written to ``results.json`` as they are.
            distributed: Gather from all processes; False scores what this process alone has seen.

        Raises:
            ValueError: If the protocol is another one, or has no pairs and needs some.
        """
        if protocol not in IMAGE_PROTOCOLS:
            raise ValueError(
                f"protocol: got {protocol!r}, expected one of {', '.join(IMAGE_PROTOCOLS)}"
            )
        if protocol == "verification" and load_pairs is None:
            raise ValueError("verification needs a pair list: give load_pairs")
        self._protocol = protocol
        self._output_dir = None if output_dir is None else Path(output_dir)
        self._load_pairs = load_pairs
        self._record = dict(record or {})
        self._distributed = distributed
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._rows: dict[str, tuple[int, np.ndarray]] = {}

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Keep the embeddings of a batch of images, as arrays on the CPU.

        Raises:
            ValueError: If an embedding is missing or no vector of finite numbers; names the image.
        """
        for given, output in zip(inputs, outputs, strict=True):
            name = given["image_id"]
            self._rows.setdefault(name, (given["person_id"], embedding_array(output, name)))

    def evaluate(self) -> OrderedDict[str, dict[str, float]]:
        """Gather, write and score.

        Returns:
            On the main process ``{"verification": {"accuracy", ..}}`` or ``{"recall": {..}}``, see
            ``VerificationResult`` and ``RetrievalResult``; on the others nothing.

        Raises:
            ValueError: If there are no images, or they cannot be scored. The embeddings are written
                before anything is scored.
        """
        rows = self._rows
        if self._distributed:
            comm.synchronize()
            parts = comm.gather(rows, dst=0)
            if not comm.is_main_process():
                return OrderedDict()
            rows = {}
            for part in parts:
                for name, row in part.items():
                    rows.setdefault(name, row)
        embeddings = _join(rows)
        if self._output_dir is not None:
            save_embeddings(self._output_dir / EMBEDDINGS_FILE, embeddings)
            logger.info("wrote %s", self._output_dir / EMBEDDINGS_FILE)
        metrics, facts = self._score(embeddings)
        numbers = ", ".join(f"{metric} {value:.2f}" for metric, value in metrics.items())
        logger.info("%s: %s", self._protocol, numbers)
        results = OrderedDict([(self._protocol, metrics)])
        if self._output_dir is not None:
            facts = {"protocol": self._protocol, "num_images": len(rows), **facts}
            save_json(self._output_dir / RESULTS_FILE, {**results, **facts, "record": self._record})
        return results

    def _score(self, embeddings: ImageEmbeddings) -> tuple[dict[str, float], dict[str, Any]]:
        """Return the metrics, and what belongs to them."""
        if self._load_pairs is not None and self._protocol == "verification":
            pairs = self._load_pairs()
            result = score_verification(embeddings, pairs)
            return result.metrics(), {"num_pairs": len(pairs.first)}
        found = score_recall(embeddings)
        return found.metrics(), {"num_skipped_images": found.num_skipped}


def _join(rows: Mapping[str, tuple[int, np.ndarray]]) -> ImageEmbeddings:
    if not rows:
        raise ValueError("got 0 images; expected a test set with some")
    sizes = {len(embedding) for _, embedding in rows.values()}
    if len(sizes) > 1:
        raise ValueError(f"got embeddings of {sorted(sizes)} values; expected one length")
    return ImageEmbeddings(
        image_names=np.array(list(rows)),
        features=np.stack([embedding for _, embedding in rows.values()]),
        pids=np.array([pid for pid, _ in rows.values()], dtype=np.int64),
    )

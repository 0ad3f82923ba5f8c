"""The evaluator that detectron2 runs over a crop test set: collect, gather, write, score."""

import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from reid_heads.atomic_file import save_json
from reid_heads.evaluation.features import ReIDFeatures, save_features
from reid_heads.evaluation.rules import PLAIN, ReIDRules
from reid_heads.evaluation.scoring import check_protocol, describe_settings, score_features
from reid_heads.sysu_protocol import Permutations

logger = logging.getLogger(__name__)

FEATURES_FILE = "features.npz"
RESULTS_FILE = "results.json"
SPLITS = ("query", "gallery")


@dataclass(frozen=True)
class _Crops:
    """What one process has seen, in its order: small enough to send, a few arrays."""

    names: list[tuple[str, str]]
    """Split and image id of each crop."""

    person_ids: np.ndarray
    cam_ids: np.ndarray
    embeddings: np.ndarray
    """(crops, D) float32."""


class ReIDEvaluator(DatasetEvaluator):
    """Score a crop ReID model on a test set of queries and gallery, and keep its features.

    The inputs are the mapper's: ``image_id``, ``person_id``, ``cam_id`` and ``split`` ("query" or
    "gallery"); the model gives ``{"embedding": (D,) tensor}`` for each.

    Crops are put in the order of the processes' ranks, and within one process as they came.
    detectron2's test loader gives each process one run of consecutive crops, so this is the order
    of the data set whatever the number of processes. A crop that several processes have seen
    counts once, where it came first.
    """

    def __init__(
        self,
        protocol: str,
        output_dir: str | os.PathLike[str] | None = None,
        *,
        rules: ReIDRules = PLAIN,
        load_permutations: Callable[[], Permutations | None] | None = None,
        record: Mapping[str, Any] | None = None,
        distributed: bool = True,
    ) -> None:
        """Set what is scored.

        Args:
            protocol: One of ``scoring.PROTOCOLS``.
            output_dir: Where ``features.npz`` and ``results.json`` go; None writes nothing.
            rules: What is scored beside the plain ranking, and how galleries are drawn.
            load_permutations: Gives the official draws of ``sysu_mm01``; called when they are
                needed.
            record: Facts that belong to the numbers, such as the training sets and the config
                file; written to ``results.json`` as they are.
            distributed: Gather from all processes; False scores what this process alone has seen.

        Raises:
            ValueError: If the protocol is unknown, or allows no re-ranking or expansion.
        """
        check_protocol(protocol, rules)
        self._protocol = protocol
        self._output_dir = None if output_dir is None else Path(output_dir)
        self._rules = rules
        self._load_permutations = load_permutations
        self._record = dict(record or {})
        self._distributed = distributed
        self.reset()

    def reset(self) -> None:
        """Forget all crops."""
        self._names: list[tuple[str, str]] = []
        self._labels: list[tuple[int, int]] = []
        self._embeddings: list[np.ndarray] = []

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Keep the embeddings of a batch of crops, as arrays on the CPU.

        Raises:
            ValueError: If an embedding is missing, no vector of finite numbers, or of another
                length than those before, or a crop is neither query nor gallery; names the crop.
        """
        for given, output in zip(inputs, outputs, strict=True):
            name, split = given["image_id"], given.get("split")
            if split not in SPLITS:
                raise ValueError(
                    f"{name}: split is {split!r}, expected 'query' or 'gallery'. Is it a crop of a "
                    "registered test set?"
                )
            embedding = embedding_array(output, name)
            if self._embeddings and len(embedding) != len(self._embeddings[0]):
                raise ValueError(
                    f"{name}: the embedding has {len(embedding)} values, those before it "
                    f"{len(self._embeddings[0])}"
                )
            self._names.append((split, name))
            self._labels.append((given["person_id"], given["cam_id"]))
            self._embeddings.append(embedding)

    def evaluate(self) -> OrderedDict[str, dict[str, float]]:
        """Gather, write and score.

        Returns:
            On the main process ``{"reid": {"mAP", "mINP", "top1", "top5", "top10"}}`` in percent,
            and whatever else ``score_features`` gives; on the others nothing.

        Raises:
            ValueError: If there are no queries or no gallery, or no query has a match. The features
                are written before anything is scored.
        """
        parts = [self._collect()]
        if self._distributed:
            comm.synchronize()
            parts = comm.gather(parts[0], dst=0)
            if not comm.is_main_process():
                return OrderedDict()
        features = _merge(parts)
        if self._output_dir is not None:
            save_features(self._output_dir / FEATURES_FILE, features)
            logger.info("wrote %s", self._output_dir / FEATURES_FILE)
        return self._score(features)

    def _collect(self) -> _Crops:
        """Join what this process has seen."""
        labels = np.array(self._labels, dtype=np.int64).reshape(-1, 2)
        size = len(self._embeddings[0]) if self._embeddings else 0
        embeddings = np.array(self._embeddings, dtype=np.float32).reshape(
            len(self._embeddings), size
        )
        return _Crops(self._names, labels[:, 0], labels[:, 1], embeddings)

    def _score(self, features: ReIDFeatures) -> OrderedDict[str, dict[str, float]]:
        """Score, and write the results with what belongs to them."""
        load = self._load_permutations
        permutations = None if load is None else load()
        scored = score_features(features, self._protocol, self._rules, permutations=permutations)
        results = OrderedDict((name, result.metrics()) for name, result in scored.items())
        for name, metrics in results.items():
            numbers = ", ".join(f"{metric} {value:.2f}" for metric, value in metrics.items())
            logger.info("%s, %s: %s", self._protocol, name, numbers)
        if self._output_dir is not None:
            rules = asdict(self._rules)
            del rules["recall_ranks"]  # Of metric learning, which is not scored here.
            facts = {
                "protocol": self._protocol,
                "num_queries": len(features.query_pids),
                "num_skipped_queries": scored["reid"].num_skipped,
                "num_gallery": len(features.gallery_pids),
                **rules,
                **describe_settings(scored),
            }
            save_json(self._output_dir / RESULTS_FILE, {**results, **facts, "record": self._record})
        return results


def embedding_array(output: dict[str, Any], name: str) -> np.ndarray:
    """Copy the embedding of a model's output to a (D,) float32 array; errors name the crop."""
    if "embedding" not in output:
        raise ValueError(
            f"{name}: the model gave {sorted(output)} but no 'embedding'. Is it a crop ReID model?"
        )
    embedding: np.ndarray = output["embedding"].detach().float().cpu().numpy()
    if embedding.ndim != 1 or not np.isfinite(embedding).all():
        raise ValueError(
            f"{name}: got an embedding of shape {embedding.shape}, expected a vector of finite "
            "numbers. With NaN, training has diverged or half precision overflows."
        )
    return embedding


def _merge(parts: list[_Crops]) -> ReIDFeatures:
    """Join the processes' crops in the order of their ranks, each crop once."""
    first: dict[tuple[str, str], int] = {}
    for row, name in enumerate(name for part in parts for name in part.names):
        first.setdefault(name, row)
    rows_of = {}
    for split in SPLITS:
        rows = [row for name, row in first.items() if name[0] == split]
        if not rows:
            raise ValueError(
                f"got {len(first)} crops, none of them of the {split} split; expected a test set "
                "with queries and gallery"
            )
        rows_of[split] = np.array(rows)
    parts = [part for part in parts if part.names]
    joined = {
        "features": np.concatenate([part.embeddings for part in parts]),
        "pids": np.concatenate([part.person_ids for part in parts]),
        "camids": np.concatenate([part.cam_ids for part in parts]),
    }
    return ReIDFeatures(
        **{
            f"{split}_{name}": array[rows]
            for split, rows in rows_of.items()
            for name, array in joined.items()
        }
    )

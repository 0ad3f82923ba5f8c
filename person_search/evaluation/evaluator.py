"""The evaluator that detectron2 runs over a test set: collect, gather, write, score."""

import logging
import os
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import Instances
from detectron2.utils import comm

from person_search.evaluation.collection import FrameResult, merge_frames
from person_search.evaluation.predictions import save_predictions
from person_search.evaluation.results_file import save_results
from person_search.evaluation.rules import PLAIN, ProtocolLoader, SearchRules
from person_search.evaluation.scoring import check_searches, score_predictions
from reid_heads.unit_norm import is_unit_norm

logger = logging.getLogger(__name__)

PREDICTIONS_FILE = "predictions.npz"
RESULTS_FILE = "results.json"


class PersonSearchEvaluator(DatasetEvaluator):
    """Score a person search model on one test set, and keep what it found.

    The model gives for each frame ``{"instances": Instances(pred_boxes, scores, pred_classes,
    embeddings)}`` and, where queries stand in it, ``"queries": Instances(pred_boxes, embeddings,
    query_ids)``; boxes in original pixels, embeddings of unit norm, ``query_ids`` the rows of the
    first protocol's queries. It may give ``"context"`` too: by query id, the Instances of the
    people beside the query, for context matching.

    Attributes:
        record: of which model the results are, by which command, on which data set; set before
            `evaluate`, and written into the files.
    """

    def __init__(
        self,
        load_protocol: ProtocolLoader,
        output_dir: str | os.PathLike[str] | None = None,
        *,
        searches: Sequence[SearchRules] = (PLAIN,),
        distributed: bool = True,
    ) -> None:
        """Set what is scored.

        Args:
            load_protocol: Gives the protocol of each gallery when its turn to score comes.
            output_dir: Where ``predictions.npz`` and ``results.json`` go; None writes nothing.
            searches: What to score, see ``list_searches``. The first's protocol gives the queries,
                and the frames that detection is scored on; the queries of the others must be among
                its own. The context of each query is saved in any case.
            distributed: Gather from all processes; False scores what this process alone has seen.

        Raises:
            ValueError: If there is no search, or two have one name.
        """
        check_searches(searches)
        self._load_protocol = load_protocol
        self._searches = tuple(searches)
        self._output_dir = None if output_dir is None else Path(output_dir)
        self._distributed = distributed
        self.record: dict[str, str] = {}
        self._frames: list[FrameResult] = []

    def reset(self) -> None:
        """Forget all frames."""
        self._frames = []

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Keep what the model found in a batch of frames, as plain arrays on the CPU.

        Raises:
            ValueError: If a field is missing or an embedding is not of unit norm; names the frame.
        """
        for given, output in zip(inputs, outputs, strict=True):
            name = given["image_id"]
            found = _to_arrays(output["instances"], "instances", ("scores",), name)
            asked = {
                "boxes": found["boxes"][:0],
                "embeddings": found["embeddings"][:0],
                "query_ids": np.zeros(0, dtype=np.int64),
            }
            if output.get("queries") is not None and len(output["queries"]):
                asked = _to_arrays(output["queries"], "queries", ("query_ids",), name)
            self._frames.append(
                FrameResult(
                    name=name,
                    boxes=found["boxes"],
                    scores=found["scores"],
                    embeddings=found["embeddings"],
                    query_ids=asked["query_ids"].astype(np.int64),
                    query_boxes=asked["boxes"],
                    query_embeddings=asked["embeddings"],
                    context=_to_context(output, name),
                )
            )

    def evaluate(self) -> OrderedDict[str, dict[str, float]]:
        """Gather, write and score.

        Returns:
            On the main process ``{"detection": {..}, "search": {..}, ..., "bbox": {..}}`` in
            percent; on the others nothing.

        Raises:
            ValueError: If a query has no embedding, or a protocol asks for queries unknown to the
                first one. The predictions are written before anything is scored.
        """
        frames = self._frames
        if self._distributed:
            comm.synchronize()
            gathered = comm.gather(frames, dst=0)
            if not comm.is_main_process():
                return OrderedDict()
            frames = [frame for part in gathered for frame in part]
        results = self._score(frames)
        if self._output_dir is not None:
            save_results(self._output_dir / RESULTS_FILE, results, self.record)
        return results

    def _score(self, frames: list[FrameResult]) -> OrderedDict[str, dict[str, float]]:
        """Write the predictions, then score them."""
        # Of the first search, the protocol serves to put the frames in order too.
        load_protocol = lru_cache(maxsize=1)(self._load_protocol)
        predictions = merge_frames(frames, self._searches[0].load_protocol(load_protocol))
        if self._output_dir is not None:
            path, model = self._output_dir / PREDICTIONS_FILE, self.record.get("model", "")
            save_predictions(path, predictions, model)
            logger.info("wrote %s", self._output_dir / PREDICTIONS_FILE)
        return score_predictions(load_protocol, self._searches, predictions)


def _to_context(
    output: dict[str, Any], frame: str
) -> dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Copy the people beside each query to arrays: boxes, scores, embeddings."""
    context = {}
    for query, people in output.get("context", {}).items():
        arrays = _to_arrays(people, "context", ("scores",), frame)
        context[query] = arrays["boxes"], arrays["scores"], arrays["embeddings"]
    return context


def _to_arrays(
    instances: Instances, key: str, extra: tuple[str, ...], frame: str
) -> dict[str, np.ndarray]:
    """Copy one Instances to arrays: boxes, embeddings and the extra fields."""
    for field in ("pred_boxes", "embeddings", *extra):
        if not instances.has(field):
            raise ValueError(
                f"{frame}: the model's {key} have no field {field}; got "
                f"{sorted(instances.get_fields())}. Is it a person search model?"
            )
    boxes = instances.pred_boxes.tensor.detach().float().cpu().numpy().reshape(-1, 4)
    embeddings = instances.embeddings.detach().float().cpu().numpy()
    norms = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings))
    if not is_unit_norm(norms).all():
        raise ValueError(
            f"{frame}: embeddings of the model's {key} have norms {norms.min():.4g} to "
            f"{norms.max():.4g}, expected 1. Normalise them in the model; with NaN, training has "
            "diverged or half precision overflows."
        )
    arrays = {name: instances.get(name).detach().cpu().numpy() for name in extra}
    if "scores" in arrays:
        arrays["scores"] = arrays["scores"].astype(np.float32)
    return {"boxes": boxes, "embeddings": embeddings, **arrays}

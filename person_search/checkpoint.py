"""Loading of weights into a model with an identity branch of its own."""

import logging
import os
import pickle

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts

IDENTITY_BRANCH_PREFIX = "roi_heads.identity_branch."
"""Prefix of the identity branch's parameters in a model's state dict."""

logger = logging.getLogger(__name__)


class PersonSearchCheckpointer(DetectionCheckpointer):
    """detectron2's checkpointer, for models that hold the backbone's last stage twice.

    Weights of an ImageNet backbone are matched to parameters by the end of their names, and
    detectron2 refuses to give one weight to two parameters. Here the identity branch's copy of a
    stage is matched apart from the detection branch's.
    """

    def load(self, path: str, *args, **kwargs) -> dict:
        """Load weights, and the training state where asked, as detectron2 does.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is not a checkpoint.
        """
        # Only plain paths: detectron2:// and http:// are fetched first.
        name = (path or "").split("?")[0]
        if name and "://" not in name and not os.path.isfile(name):
            raise FileNotFoundError(f"there is no checkpoint {name}; check MODEL.WEIGHTS")
        return super().load(path, *args, **kwargs)

    def _load_file(self, filename):
        try:
            return super()._load_file(filename)
        except (EOFError, RuntimeError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{filename} is not a checkpoint, or only a part of one; copy it again"
            ) from error

    def _load_model(self, checkpoint):
        if checkpoint.get("matching_heuristics", False):
            self._convert_ndarray_to_tensor(checkpoint["model"])
            checkpoint["model"] = self._match_each_branch(checkpoint)
            checkpoint["matching_heuristics"] = False
        self.incompatible = super()._load_model(checkpoint)
        return self.incompatible

    def _match_each_branch(self, checkpoint: dict) -> dict:
        state = self.model.state_dict()
        own = {k: v for k, v in state.items() if k.startswith(IDENTITY_BRANCH_PREFIX)}
        shared = {k: v for k, v in state.items() if k not in own}
        is_caffe2 = checkpoint.get("__author__") == "Caffe2"
        matched = align_and_update_state_dicts(
            shared, dict(checkpoint["model"]), c2_conversion=is_caffe2
        )
        if own:
            again = align_and_update_state_dicts(
                own, dict(checkpoint["model"]), c2_conversion=is_caffe2
            )
            matched.update({k: v for k, v in again.items() if k in own})
        return matched

    def load_whole_model(self, path: str) -> None:
        """Load trained weights, which must hold every parameter of the model in its shape.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the checkpoint is of another model.
        """
        if not path:
            raise FileNotFoundError(
                "no weights given; set MODEL.WEIGHTS to a checkpoint that this config trained"
            )
        self.incompatible = None
        self.load(path)
        wrong_shapes = self.incompatible.incorrect_shapes
        reshaped = [
            f"{k} is {tuple(got)} there and {tuple(expected)} here"
            for k, got, expected in wrong_shapes
        ]
        # Weights of another shape are not loaded, so they are among the missing ones too.
        missing = set(self.incompatible.missing_keys) - {k for k, *_ in wrong_shapes}
        if missing or reshaped:
            problems = [f"{k} is missing there" for k in sorted(missing)] + reshaped
            more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise ValueError(
                f"{path} is a checkpoint of another model: {'; '.join(problems[:5])}{more}. "
                "Use the config that it was trained with"
            )

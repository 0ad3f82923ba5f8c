"""Loading of weights into models that hold parts of a backbone several times."""

import logging
import os
import pickle
from collections.abc import Mapping

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts
from torch import nn

from reid_heads.backbones.torchvision_weights import (
    convert_torchvision_state_dict,
    is_torchvision_resnet,
)
from reid_heads.detectron2_parts import arrays_to_tensors

logger = logging.getLogger(__name__)


class WeightCopyCheckpointer(DetectionCheckpointer):
    """detectron2's checkpointer, for models that hold some stages of the backbone more than once.

    Weights of an ImageNet backbone are matched to parameters by the end of their names, and
    detectron2 refuses to give one weight to two parameters. A module whose submodules are copies of
    backbone stages says so by an attribute ``weight_copies``, a tuple of prefixes within it ("" for
    the module itself); each copy is matched apart. ImageNet weights may be detectron2's own files
    or torchvision's.
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
            checkpoint = super()._load_file(filename)
            # Something else that PyTorch saved; detectron2 lets it pass, or fails with TypeError.
            if not isinstance(checkpoint["model"], Mapping):
                raise TypeError(f"it holds a {type(checkpoint['model']).__name__}")
        except (EOFError, RuntimeError, TypeError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{filename} is not a checkpoint, or only a part of one; copy it again"
            ) from error
        if is_torchvision_resnet(checkpoint["model"]):
            checkpoint["model"] = convert_torchvision_state_dict(checkpoint["model"])
            checkpoint["matching_heuristics"] = True
        return checkpoint

    def _load_model(self, checkpoint):
        if checkpoint.get("matching_heuristics", False):
            arrays_to_tensors(self, checkpoint["model"])
            checkpoint["model"] = self._match_each_copy(checkpoint)
            checkpoint["matching_heuristics"] = False
        self.incompatible = super()._load_model(checkpoint)
        return self.incompatible

    def _match_each_copy(self, checkpoint: dict) -> dict:
        remaining = self.model.state_dict()
        copies = []
        for prefix in weight_copy_prefixes(self.model):
            copies.append({k: v for k, v in remaining.items() if k.startswith(prefix)})
            remaining = {k: v for k, v in remaining.items() if not k.startswith(prefix)}
        is_caffe2 = checkpoint.get("__author__") == "Caffe2"
        matched: dict = {}
        for part in (remaining, *copies):
            if not part:
                continue
            found = align_and_update_state_dicts(
                part, dict(checkpoint["model"]), c2_conversion=is_caffe2
            )
            # The shared part keeps what nothing took, for detectron2's report of it.
            matched.update({k: v for k, v in found.items() if k in part or part is remaining})
        return matched

    def load_whole_model(self, path: str) -> None:
        """Load trained weights, which must hold every parameter of the model in its shape.

        Where training kept a moving average of the weights, that is what is loaded.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the checkpoint is of another model.
        """
        if not path:
            raise FileNotFoundError(
                "no weights given; set MODEL.WEIGHTS to a checkpoint that this config trained"
            )
        self.incompatible = None
        rest = self.load(path)
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
        self._take_weight_average(rest)

    def _take_weight_average(self, rest: dict) -> None:
        """Replace the weights by their moving average, where training kept one."""
        hooks = rest.get("trainer", {}).get("hooks", {})
        average = hooks.get("WeightAverage", {}).get("average", {})
        if average:
            logger.info("taking the moving average of the weights")
            self.model.load_state_dict(average, strict=False)


def weight_copy_prefixes(model: nn.Module) -> list[str]:
    """Return the prefixes, in the model's state dict, of its copies of backbone stages."""
    return [
        f"{name}.{prefix}" if name else prefix
        for name, module in model.named_modules()
        for prefix in getattr(module, "weight_copies", ())
    ]

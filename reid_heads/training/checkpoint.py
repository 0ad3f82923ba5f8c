"""Loading of weights into models that hold parts of a backbone several times."""

import logging
import os
import pickle
from collections.abc import Mapping

from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts
from detectron2.config import CfgNode
from torch import nn

from reid_heads.backbones.mobilenet_weights import (
    convert_mobilenet_v2_state_dict,
    is_torchvision_mobilenet_v2,
)
from reid_heads.backbones.torchvision_weights import (
    convert_torchvision_state_dict,
    is_torchvision_resnet,
)
from reid_heads.config_readers import flat_items
from reid_heads.detectron2_parts import arrays_to_tensors
from reid_heads.importers import crop_networks  # noqa: F401  (registers what it imports)
from reid_heads.importers.checkpoint_file import find_weights, listed, read_checkpoint
from reid_heads.importers.imported import ImportedModel
from reid_heads.importers.registry import find_importer
from reid_heads.losses import ReIDLosses
from reid_heads.safetensors_file import SUFFIX, read_safetensors
from reid_heads.training.checkpoint_files import PICKLE, FileCheckpointer

logger = logging.getLogger(__name__)

_IDENTITIES = "MODEL.REID_HEAD.NUM_IDENTITIES"

LEAST_SHARE = 0.25
"""Of a checkpoint's weights that must find a place: with fewer it is another network's, whose
norms happen to be as wide here and there."""

LEAST_IMPORTED_SHARE = 0.5
"""The same of a public checkpoint, which is known to be of a whole network: its backbone at least
is most of it."""


class WeightCopyCheckpointer(FileCheckpointer):
    """The checkpointer for models that hold some stages of the backbone more than once.

    Weights of an ImageNet backbone are matched to parameters by the end of their names, and
    detectron2 refuses to give one weight to two parameters. A module whose submodules are copies of
    backbone stages says so by an attribute ``weight_copies``, a tuple of prefixes within it ("" for
    the module itself); each copy is matched apart. ImageNet weights may be detectron2's own files
    or torchvision's. Public checkpoints that an importer knows are loaded under this project's
    names.
    """

    imported: ImportedModel | None = None
    """What an importer made of the file that was loaded last, None for any other file."""

    # load_whole_model says by itself, and more closely, what is lacking.
    _takes_whole_models = False

    def load(self, path: str, *args, **kwargs) -> dict:
        """Load weights, and the training state where asked, as detectron2 does.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is not a checkpoint, or one of another network: hardly any of
                its tensors finds a place.
        """
        # Only plain paths: detectron2:// and http:// are fetched first.
        name = (path or "").split("?")[0]
        if name and "://" not in name and not os.path.isfile(name):
            raise FileNotFoundError(f"there is no checkpoint {name}; check MODEL.WEIGHTS")
        return super().load(path, *args, **kwargs)

    def _load_file(self, filename):
        checkpoint = self._read_file(filename)
        self.imported = None
        if importer := find_importer(checkpoint["model"]):
            self.imported = importer.convert(read_checkpoint(filename))
            self._tell_of_import(filename)
            return {"model": self.imported.state}
        if is_torchvision_resnet(checkpoint["model"]):
            checkpoint["model"] = convert_torchvision_state_dict(checkpoint["model"])
            checkpoint["matching_heuristics"] = True
        elif is_torchvision_mobilenet_v2(checkpoint["model"]):
            checkpoint["model"] = convert_mobilenet_v2_state_dict(checkpoint["model"])
            checkpoint["matching_heuristics"] = True
        return checkpoint

    def _read_file(self, filename):
        if filename.endswith(SUFFIX):
            return {"model": read_safetensors(filename)}
        try:
            checkpoint = super()._load_file(filename)
            # Something else that PyTorch saved; detectron2 lets it pass, or fails with TypeError.
            if not isinstance(checkpoint["model"], Mapping):
                raise TypeError(f"it holds a {type(checkpoint['model']).__name__}")
        except (EOFError, RuntimeError, TypeError, pickle.UnpicklingError) as error:
            if isinstance(error, pickle.UnpicklingError) and not filename.endswith(PICKLE):
                # Code, which is named and not run, or a number of numpy's beside the weights.
                return {"model": read_checkpoint(filename).state}
            raise ValueError(
                f"{filename} is not a checkpoint, or only a part of one; copy it again"
            ) from error
        if not filename.endswith(PICKLE):
            # Not where detectron2 looks: torchreid's are under another name.
            checkpoint["model"], _ = find_weights(filename, checkpoint["model"])
        return checkpoint

    def _tell_of_import(self, filename):
        imported = self.imported
        placed = ", ".join(f"{count} {group}" for group, count in imported.placed.items())
        logger.info(
            "%s is of %s, the network of %s; tensors: %s",
            filename,
            imported.family,
            imported.config_file,
            placed,
        )
        for note in imported.notes:
            logger.info(note)

    def _load_model(self, checkpoint):
        if checkpoint.get("matching_heuristics", False):
            arrays_to_tensors(self, checkpoint["model"])
            checkpoint["model"] = self._match_each_copy(checkpoint)
            checkpoint["matching_heuristics"] = False
        # Counts of batches fit any network of the same layers, however wide.
        names = [name.removeprefix("module.") for name in checkpoint["model"]]
        given = [name for name in names if not name.endswith("num_batches_tracked")]
        self.incompatible = super()._load_model(checkpoint)
        if self._takes_whole_models and self._path.endswith(SUFFIX):
            losses, absent = loss_prefixes(self.model), self.incompatible.missing_keys
            absent[:] = [name for name in absent if not name.startswith(losses)]
        self._check_some_fit(given)
        return self.incompatible

    def _check_some_fit(self, given: list[str]) -> None:
        """Refuse a checkpoint that loads nothing, or hardly anything.

        Args:
            given: names of its weights.

        Raises:
            ValueError: that names tensors of both sides.
        """
        wrong = {name for name, *_ in self.incompatible.incorrect_shapes}
        own = self.model.state_dict()
        placed = [name for name in given if name in own and name not in wrong]
        least = LEAST_SHARE if self.imported is None else LEAST_IMPORTED_SHARE
        if self._takes_whole_models or len(placed) > least * len(given):
            return
        left = [name for name in given if name not in placed] or ["nothing"]
        missing = [name for name in self.incompatible.missing_keys if name not in wrong]
        reshaped = f", with other shapes {listed(sorted(wrong))}" if wrong else ""
        raise ValueError(
            f"{self._path} is a checkpoint of another model: {len(placed)} of its {len(given)} "
            f"tensors find a place. It holds {listed(left)}; the "
            f"model expects {listed(missing or list(own))}{reshaped}. {self._advice()}"
        )

    def _advice(self) -> str:
        """Say what to do about a checkpoint of another model."""
        if self.imported is None:
            return "Use the config that it was trained with"
        return (
            f"It is a network of {self.imported.family}; use {self.imported.config_file} "
            f"{' '.join(self.imported.overrides)}"
        )

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

    def load_whole_model(self, path: str) -> dict:
        """Load trained weights, which must hold every parameter of the model in its shape.

        Where training kept a moving average of the weights, that is what is loaded. A safetensors
        file may lack what only the losses read, as a model that is passed on does.

        Returns:
            What else the file holds, such as ``iteration``, the last one of the training.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the checkpoint is of another model.
        """
        if not path:
            raise FileNotFoundError(
                "no weights given; set MODEL.WEIGHTS to a checkpoint that this config trained"
            )
        self.incompatible = None
        self._takes_whole_models = True
        rest = self.load(path)
        wrong_shapes = self.incompatible.incorrect_shapes
        reshaped = [
            f"{k} is {tuple(got)} there and {tuple(expected)} here"
            for k, got, expected in wrong_shapes
        ]
        # Weights of another shape are not loaded, so they are among the missing ones too.
        missing = set(self.incompatible.missing_keys) - {k for k, *_ in wrong_shapes}
        if self.imported is not None:
            missing -= set(self.imported.untouched)
        if missing or reshaped:
            problems = [f"{k} is missing there" for k in sorted(missing)] + reshaped
            more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise ValueError(
                f"{path} is a checkpoint of another model: {'; '.join(problems[:5])}{more}. "
                f"{self._advice()}"
            )
        self._take_weight_average(rest)
        return rest

    def _take_weight_average(self, rest: dict) -> None:
        """Replace the weights by their moving average, where training kept one."""
        hooks = rest.get("trainer", {}).get("hooks", {})
        average = hooks.get("WeightAverage", {}).get("average", {})
        if average:
            logger.info("taking the moving average of the weights")
            self.model.load_state_dict(average, strict=False)


def warn_of_other_settings(cfg: CfgNode, imported: ImportedModel | None) -> None:
    """Log which keys of a public checkpoint's network a config has otherwise.

    Args:
        cfg: of the model that was given the weights.
        imported: ``WeightCopyCheckpointer.imported``; None: nothing is logged.
    """
    if imported is None:
        return
    own = cfg.clone()
    own.defrost()
    own.merge_from_list(imported.overrides)
    theirs, ours = dict(flat_items(own)), dict(flat_items(cfg))
    # How many people are trained on is no matter of the network.
    others = [k for k in imported.overrides[::2] if theirs[k] != ours[k] and k != _IDENTITIES]
    if others:
        logger.warning(
            "the network of %s differs from this config, and the same weights compute something "
            "else here; to have the same, add: %s",
            imported.family,
            " ".join(f"{key} {str(theirs[key]).replace(' ', '')}" for key in others),
        )


def loss_prefixes(model: nn.Module) -> tuple[str, ...]:
    """Return the prefixes, in the model's state dict, of its losses: only training reads those."""
    modules = model.named_modules()
    return tuple(f"{name}." for name, module in modules if isinstance(module, ReIDLosses))


def weight_copy_prefixes(model: nn.Module) -> list[str]:
    """Return the prefixes, in the model's state dict, of its copies of backbone stages."""
    return [
        f"{name}.{prefix}" if name else prefix
        for name, module in model.named_modules()
        for prefix in getattr(module, "weight_copies", ())
    ]

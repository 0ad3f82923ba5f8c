"""Checkpoints as files: written whole, checked when read, and the one before where the last broke.

PyTorch puts a checksum beside each part of a checkpoint and never compares it; here that is done
(`reid_heads.torch_file`).
"""

import logging
import os
import pickle
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils import comm

from reid_heads.atomic_file import atomic_file
from reid_heads.plain_pickle import ForeignNameError, read_plain_pickle
from reid_heads.torch_file import DamagedFileError, advise_trust, check_sums, load_torch_file
from reid_heads.trust import files_are_trusted
from reid_heads.unfinished import remove_unfinished

logger = logging.getLogger(__name__)

BEST_NAME = "model_best"
"""Of the checkpoint with the best weights, from which training does not go on."""
FINAL = "model_final.pth"
"""The file that a training ends with."""
PICKLE = ".pkl"
"""By which detectron2 knows a file of its model zoo, or of Caffe2's."""

_NUMBERED = re.compile(r"model_(\d{7})\.pth")
_HEURISTICS = "matching_heuristics"


class FileCheckpointer(DetectionCheckpointer):
    """detectron2's checkpointer with files that are safe to read and to write.

    Nothing in a file runs, unless it is trusted (`reid_heads.trust`). A checkpoint takes its place
    when it is on the disk, and is named as the last one after that. Where training goes on and the
    last one is damaged, it does so from the newest that is whole.
    """

    _path = ""

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load weights, and the training state where asked, as detectron2 does."""
        self._path = path or ""
        loaded: dict[str, Any] = super().load(path, *args, **kwargs)
        return loaded

    def _load_file(self, filename: str) -> dict[str, Any]:
        if filename.endswith(PICKLE):
            return name_zoo_weights(read_pickle(filename))
        loaded = load_torch_file(filename)
        if filename.endswith(".pyth"):
            return _name_pycls_weights(filename, loaded)
        if "model" not in loaded:
            loaded = {"model": loaded}
        queries = parse_qs(urlsplit(self._path).query)
        if queries.pop(_HEURISTICS, None) == ["True"]:
            loaded[_HEURISTICS] = True
        if queries:
            raise ValueError(
                f"{self._path} asks for {', '.join(queries)}; expected {_HEURISTICS}=True at most"
            )
        checkpoint: dict[str, Any] = loaded
        return checkpoint

    def save(self, name: str, **kwargs: Any) -> None:
        """Write a checkpoint whole, then name it as the last one; that of the best is not.

        Raises:
            OSError: if it cannot be written, as on a full disk; what was there before still is.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        content = {"model": self.model.state_dict()}
        content |= {key: part.state_dict() for key, part in self.checkpointables.items()}
        path = Path(self.save_dir) / f"{name}.pth"
        self.logger.info("Saving checkpoint to %s", path)
        try:
            with atomic_file(path, is_durable=True) as file:
                torch.save({**content, **kwargs}, file)
            if name != BEST_NAME:
                self.tag_last_checkpoint(path.name)
        # PyTorch hides what the system said.
        except (OSError, RuntimeError) as error:
            raise OSError(
                f"{path} could not be written ({error}); the checkpoints before it are as they "
                "were. See that the disk has room, then go on with --resume"
            ) from error

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Name the checkpoint that training goes on from."""
        with atomic_file(Path(self.save_dir) / "last_checkpoint", is_durable=True) as file:
            file.write(last_filename_basename.encode())

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Go on from the newest checkpoint that is whole, or load weights.

        Raises:
            DamagedFileError: if no checkpoint is whole.
        """
        if not resume:
            return self.load(path, checkpointables=[])
        # The main process wrote them; the others do as it does.
        found = self._find_last() if comm.is_main_process() else ("", "")
        last, problem = comm.all_gather(found)[0]
        if problem:
            raise DamagedFileError(problem)
        return self.load(last) if last else self.load(path, checkpointables=[])

    def complete_final(self, iteration: int) -> None:
        """Write the final checkpoint where training was cut off after the last one before it.

        Args:
            iteration: the last one, after which both are written, with the same content.
        """
        final = Path(self.save_dir) / FINAL
        numbered = final.with_name(f"model_{iteration:07d}.pth")
        if not self.save_to_disk or not numbered.is_file() or not find_damage(final):
            return
        with numbered.open("rb") as source, atomic_file(final, is_durable=True) as file:
            shutil.copyfileobj(source, file)
        self.tag_last_checkpoint(FINAL)

    def _find_last(self) -> tuple[str, str]:
        """Return the checkpoint to go on from, "" for none; and what is wrong where all broke."""
        if not self.has_checkpoint():
            return "", ""
        remove_unfinished(Path(self.save_dir))
        problems: list[str] = []
        # A power cut may have left no name.
        name = os.path.basename(self.get_checkpoint_file()) or FINAL
        for file in list_resumable(Path(self.save_dir, name)):
            if not (problem := find_damage(file)):
                if problems:
                    logger.warning("%s; going on from %s, the one before", problems[-1], file)
                return str(file), ""
            problems.append(problem)
        return "", (
            f"no checkpoint to go on from: {'; '.join(problems)}. Copy one back, or begin anew "
            "without --resume"
        )


def list_resumable(last: Path) -> list[Path]:
    """List the last checkpoint, then those before it in its folder, newest first.

    Args:
        last: as ``last_checkpoint`` names it, whether it is there or not.
    """
    numbers = {
        file: int(match[1])
        for file in last.parent.glob("model_*.pth")
        if (match := _NUMBERED.fullmatch(file.name)) and file != last
    }
    if own := _NUMBERED.fullmatch(last.name):
        numbers = {file: number for file, number in numbers.items() if number < int(own[1])}
    return [last, *sorted(numbers, key=numbers.__getitem__, reverse=True)]


def find_damage(checkpoint: Path) -> str:
    """Say what is wrong with a checkpoint, or what belongs to it; "" if it is as it was written."""
    files = [checkpoint]
    if match := _NUMBERED.fullmatch(checkpoint.name):
        files += sorted(checkpoint.parent.glob(f"divided_{match[1]}_*.pth"))
    for file in files:
        if not file.is_file():
            return f"{file} is missing"
        if not zipfile.is_zipfile(file):
            return f"{file} is cut off ({file.stat().st_size} bytes)"
        try:
            check_sums(file)
        except (DamagedFileError, OSError) as error:
            return str(error).split(";")[0]
    return ""


def read_pickle(filename: str) -> Any:
    """Read a pickle of arrays, as of detectron2's model zoo; a trusted one may hold anything.

    Raises:
        ValueError: if it would import what arrays are not made of, or is no such file.
    """
    with open(filename, "rb") as file:
        try:
            if files_are_trusted():
                return pickle.load(file, encoding="latin1")
            return read_plain_pickle(file)
        except ForeignNameError as error:
            raise ValueError(
                f"{filename} holds more than arrays: reading it would run code of "
                f"{error.args[0]}, and it is not run. Save its weights as .pth or .safetensors "
                f"where it comes from; or, {advise_trust('the file')}"
            ) from error


def name_zoo_weights(content: Any) -> dict[str, Any]:
    """Lay out what a pickle of a model zoo holds, as detectron2 reads it.

    Args:
        content: of detectron2's zoo, or arrays by Caffe2's names, in "blobs" or not.

    Raises:
        TypeError: if it is neither.
    """
    if not isinstance(content, dict):
        raise TypeError(f"it holds a {type(content).__name__}")
    if "model" in content and "__author__" in content:
        logger.info("Reading a file from '%s'", content["__author__"])
        return content
    blobs = content.get("blobs", content)
    weights = {k: v for k, v in blobs.items() if not str(k).endswith("_momentum")}
    return {"model": weights, "__author__": "Caffe2", _HEURISTICS: True}


def _name_pycls_weights(filename: str, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict) or "model_state" not in content:
        raise ValueError(f"{filename} has no 'model_state', which files of pycls have")
    weights = {
        name: value
        for name, value in content["model_state"].items()
        if not name.endswith("num_batches_tracked")
    }
    return {"model": weights, "__author__": "pycls", _HEURISTICS: True}

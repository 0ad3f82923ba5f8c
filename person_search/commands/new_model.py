"""Make an installed model of public files: a checkpoint, or a detector and a crop network.

Two ONNX files need neither PyTorch nor detectron2; what a checkpoint needs is imported for it
alone.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from person_search.inference.detectors.load import is_of_zoo
from person_search.inference.finder import PersonFinder
from person_search.inference.model_card import ModelCard, card_path
from person_search.inference.recorded_files import record_files
from person_search.inference.two_step_file import save_two_step_file
from reid_heads.atomic_file import new_folder, save_json
from reid_heads.importers.first_bytes import check_checkpoint
from reid_heads.onnx_files import read_onnx

DETECTOR, CROP_NET = "detector.onnx", "crop_net.onnx"
_GREY = np.full((128, 128, 3), 128, np.uint8)
"""A picture to try a new model on: weights that are NaN may only show there."""


def import_model(
    file: Path,
    folder: Path,
    card: ModelCard,
    detector: str | None,
    settings: Sequence[str] = (),
) -> tuple[list[str], PersonFinder]:
    """Write a model's folder, and load it from there; nothing of it stays after an error.

    Args:
        file: a checkpoint of a public person search network; or of a public crop network, or its
            ONNX file, with a detector.
        folder: of the new model, which must not be there yet.
        card: what the model is.
        detector: of a model of two steps: an ONNX file, ``torchvision:NAME`` or
            ``detectron2:CONFIG``.
        settings: keys and values, alternating, on top of the config that a checkpoint's network is
            built from.

    Returns:
        What a user must be told, a line each: where the tensors went, what was passed over; and
        the model.

    Raises:
        FileExistsError: if there is such a model.
        FileNotFoundError: if a file is missing.
        KeyError: if ``settings`` name an unknown key.
        ModuleNotFoundError: if a checkpoint is given, and PyTorch or detectron2 is missing.
        ValueError: if a file is not what it should be, or nothing reads a key of ``settings``.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file} to import")
    with new_folder(folder) as new:
        if detector is not None:
            lines = _write_two_steps(file, detector, new, settings)
            main = new / "model.json"
        else:
            lines = _write_search_network(file, new, settings)
            main = new / "model.pth"
        save_json(card_path(main), card.to_dict())
        # What cannot be used is none, whatever was written.
        try:
            finder = PersonFinder.load(main, device="cpu")
            if detector is not None:
                finder.find([_GREY], parts=False)
        except ValueError as error:
            raise ValueError(_name_originals(str(error), new, file, detector)) from error
        record_files(new)
    return lines, finder


def _name_originals(message: str, folder: Path, file: Path, detector: str | None) -> str:
    """Name the user's files in a message instead of their copies, which are gone by then."""
    message = message.replace(str(folder / CROP_NET), str(file))
    return message.replace(str(folder / DETECTOR), str(detector))


def _write_search_network(file: Path, folder: Path, settings: Sequence[str]) -> list[str]:
    if file.suffix == ".onnx":
        raise ValueError(
            f"{file}: an export of `person-search export` is used as it is, by --model {file}; any "
            "other ONNX file, a crop network, needs --detector, which finds the people whom it "
            "embeds"
        )
    check_checkpoint(file)
    # PyTorch is asked for where a checkpoint is there to be read.
    from person_search.commands.public_checkpoint import write_search_network

    return write_search_network(file, folder, settings)


def _write_two_steps(file: Path, detector: str, folder: Path, settings: Sequence[str]) -> list[str]:
    crop_net = folder / CROP_NET
    if file.suffix == ".onnx":
        if settings:
            raise ValueError(
                f"--set {settings[0]}: {file} is an ONNX file, which has no config; say how its "
                f"crops are prepared in a card, {card_path(file)}"
            )
        lines = [f"crop network: {file}, as it is"]
        _copy(file, crop_net)
    else:
        check_checkpoint(file)
        from person_search.commands.public_checkpoint import write_crop_network

        lines = write_crop_network(file, crop_net, settings)
    name = detector
    if not is_of_zoo(detector):
        if not Path(detector).is_file():
            raise FileNotFoundError(
                f"there is no detector {detector}: expected an ONNX file, torchvision:NAME or "
                "detectron2:CONFIG"
            )
        name = DETECTOR
        _copy(Path(detector), folder / name)
    save_two_step_file(folder / "model.json", name, crop_net.name)
    return [*lines, f"detector: {detector}"]


def _copy(file: Path, to: Path) -> None:
    """Copy a network's file, with weights that it keeps beside it inside, and with its card."""
    to.write_bytes(read_onnx(file, "network").content)
    if card_path(file).is_file():
        shutil.copyfile(card_path(file), card_path(to))

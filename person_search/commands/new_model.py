"""Make an installed model of public files: a checkpoint, or a detector and a crop network."""

import shutil
from pathlib import Path

import torch
from detectron2.modeling import build_model

from person_search.config import load_config
from person_search.importers import search_networks
from person_search.inference.detectors.load import is_of_zoo
from person_search.inference.finder import PersonFinder
from person_search.inference.model_card import ModelCard, card_path
from person_search.inference.models import CONFIG_NAME
from person_search.inference.onnx_network import read_model
from person_search.inference.two_step_file import save_two_step_file
from reid_heads.atomic_file import new_folder, save_json
from reid_heads.config_file import find_config
from reid_heads.crop_export import export_crop_model
from reid_heads.crop_model import load_crop_model
from reid_heads.importers.checkpoint_file import CheckpointFile, read_checkpoint
from reid_heads.importers.crop_networks import convert, recognise
from reid_heads.importers.imported import ImportedModel


def import_model(
    file: Path, folder: Path, card: ModelCard, detector: str | None
) -> tuple[list[str], PersonFinder]:
    """Write a model's folder, and load it from there; nothing of it stays after an error.

    Args:
        file: a checkpoint of a public person search network; or of a public crop network, or its
            ONNX file, with a detector.
        folder: of the new model, which must not be there yet.
        card: what the model is.
        detector: of a model of two steps: an ONNX file, ``torchvision:NAME`` or
            ``detectron2:CONFIG``.

    Returns:
        What a user must be told, a line each: where the tensors went, what was passed over; and
        the model.

    Raises:
        FileExistsError: if there is such a model.
        FileNotFoundError: if a file is missing.
        ValueError: if a file is not what it should be.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file} to import")
    with new_folder(folder) as new:
        if detector is not None:
            lines = _write_two_steps(file, detector, new)
            main = new / "model.json"
        else:
            lines = _write_search_network(file, new)
            main = new / "model.pth"
        save_json(card_path(main), card.to_dict())
        # What cannot be used is none, whatever was written.
        finder = PersonFinder.load(main, device="cpu")
    return lines, finder


def _write_search_network(file: Path, folder: Path) -> list[str]:
    if file.suffix == ".onnx":
        raise ValueError(
            f"{file} alone is used as it is, by --model {file}; an ONNX file of a crop network "
            "needs --detector, which finds the people whom it embeds"
        )
    checkpoint = read_checkpoint(file)
    if (family := crop_family(checkpoint)) is not None:
        raise ValueError(
            f"{file} is a crop network ({family}): it embeds people and finds none; name "
            "what finds them by --detector"
        )
    imported = search_networks.convert(checkpoint)
    cfg = load_config(str(find_config(imported.config_file)), imported.overrides)
    cfg.MODEL.DEVICE = "cpu"
    model = build_model(cfg)
    load_imported(model, imported)
    torch.save({"model": model.state_dict()}, folder / "model.pth")
    (folder / CONFIG_NAME).write_text(cfg.dump(), encoding="utf-8")
    return describe(imported)


def crop_family(checkpoint: CheckpointFile) -> str | None:
    """Return whose crop network a checkpoint is; None if it is none that is known."""
    family: str | None = recognise(checkpoint.state)
    return family


def load_imported(model: torch.nn.Module, imported: ImportedModel) -> None:
    """Load an imported state; what the file has nothing for stays as it was made.

    Raises:
        ValueError: if names differ otherwise.
    """
    missing, unexpected = model.load_state_dict(imported.state, strict=False)
    lacking = sorted(set(missing) - set(imported.untouched))
    if lacking or unexpected:
        raise ValueError(
            f"the {imported.family} does not fit {imported.config_file}: nothing for {lacking}, no "
            f"place for {sorted(unexpected)}"
        )


def _write_two_steps(file: Path, detector: str, folder: Path) -> list[str]:
    crop_net = folder / "crop_net.onnx"
    if file.suffix == ".onnx":
        lines = [f"crop network: {file}, as it is"]
        _copy(file, crop_net)
    else:
        imported = convert(read_checkpoint(file))
        export = export_crop_model(load_crop_model(file, device="cpu"), crop_net)
        lines = [
            *describe(imported),
            f"crop network: written as ONNX, embeddings differ by {export.difference:.1e}",
        ]
    name = detector
    if not is_of_zoo(detector):
        if not Path(detector).is_file():
            raise FileNotFoundError(
                f"there is no detector {detector}: expected an ONNX file, torchvision:NAME or "
                "detectron2:CONFIG"
            )
        name = "detector.onnx"
        _copy(Path(detector), folder / name)
    save_two_step_file(folder / "model.json", name, crop_net.name)
    return [*lines, f"detector: {detector}"]


def _copy(file: Path, to: Path) -> None:
    """Copy a network's file, with weights that it keeps beside it inside, and with its card."""
    to.write_bytes(read_model(file))
    if card_path(file).is_file():
        shutil.copyfile(card_path(file), card_path(to))


def describe(imported: ImportedModel) -> list[str]:
    """Say where a checkpoint's tensors went, a line each."""
    placed = ", ".join(f"{group} {count}" for group, count in imported.placed.items())
    lines = [
        f"{imported.family}: {sum(imported.placed.values())} tensors placed ({placed})",
        f"config: {imported.config_file} {' '.join(map(str, imported.overrides))}".rstrip(),
    ]
    lines += [f"passed over: {name}: {why}" for name, why in imported.passed_over.items()]
    if imported.untouched:
        lines.append(f"not in the file: {', '.join(imported.untouched)}")
    return [*lines, *imported.notes]

"""Make files of the parts of a model of public checkpoints; this needs PyTorch and detectron2."""

from pathlib import Path

import torch
from detectron2.modeling import build_model

from person_search.config import load_config
from person_search.importers import search_networks
from person_search.inference.models import CONFIG_NAME
from reid_heads.config_file import find_config
from reid_heads.crop_export import export_crop_model
from reid_heads.crop_model import load_crop_model
from reid_heads.importers.checkpoint_file import CheckpointFile, read_checkpoint
from reid_heads.importers.crop_networks import convert, recognise
from reid_heads.importers.imported import ImportedModel


def write_search_network(file: Path, folder: Path) -> list[str]:
    """Write a person search network's weights and config into a model's folder.

    Args:
        file: a checkpoint of a public person search network.
        folder: of the model.

    Returns:
        What a user must be told, a line each.

    Raises:
        ValueError: if the file is not what it should be.
    """
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


def write_crop_network(file: Path, crop_net: Path) -> list[str]:
    """Write a public crop network's checkpoint as an ONNX file.

    Args:
        file: the checkpoint.
        crop_net: the ONNX file to write.

    Returns:
        What a user must be told, a line each.

    Raises:
        ValueError: if the file is not what it should be.
    """
    imported = convert(read_checkpoint(file))
    export = export_crop_model(load_crop_model(file, device="cpu"), crop_net)
    return [
        *describe(imported),
        f"crop network: written as ONNX, embeddings differ by {export.difference:.1e}",
    ]


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

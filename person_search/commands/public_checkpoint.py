"""Make files of the parts of a model of public checkpoints; this needs PyTorch and detectron2."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from detectron2.modeling import build_model

from person_search.config import load_config
from person_search.importers import search_networks
from person_search.inference.fingerprint import decides_embeddings
from person_search.inference.models import CONFIG_NAME
from reid_heads import crop_model
from reid_heads.config_file import find_config
from reid_heads.crop_export import export_crop_model
from reid_heads.importers.checkpoint_file import CheckpointFile, read_checkpoint
from reid_heads.importers.crop_networks import convert, recognise
from reid_heads.importers.imported import ImportedModel, misfits

_WHO_IS_FOUND = ("TEST.SEARCH.SCORE_THRESHOLD", "TEST.DETECTIONS_PER_IMAGE")
"""Keys outside ``MODEL`` that decide whom a search network finds."""


def write_search_network(file: Path, folder: Path, settings: Sequence[str] = ()) -> list[str]:
    """Write a person search network's weights and config into a model's folder.

    Args:
        file: a checkpoint of a public person search network.
        folder: of the model.
        settings: keys and values, alternating, on top of the network's config.

    Returns:
        What a user must be told, a line each.

    Raises:
        KeyError: if ``settings`` name an unknown key.
        ValueError: if the file is not what it should be, or nothing reads a key of ``settings``.
    """
    checkpoint = read_checkpoint(file)
    if (family := crop_family(checkpoint)) is not None:
        raise ValueError(
            f"{file} is a crop network ({family}): it embeds people and finds none; name "
            "what finds them by --detector"
        )
    imported = add_settings(search_networks.convert(checkpoint), settings)
    cfg = load_config(str(find_config(imported.config_file)), imported.overrides)
    _check_are_read(settings, lambda key: decides_embeddings(key) or key in _WHO_IS_FOUND)
    cfg.MODEL.DEVICE = "cpu"
    model = build_model(cfg)
    load_imported(model, imported, settings)
    torch.save({"model": model.state_dict()}, folder / "model.pth")
    (folder / CONFIG_NAME).write_text(cfg.dump(), encoding="utf-8")
    return describe(imported)


def crop_family(checkpoint: CheckpointFile) -> str | None:
    """Return whose crop network a checkpoint is; None if it is none that is known."""
    family: str | None = recognise(checkpoint.state)
    return family


def add_settings(imported: ImportedModel, settings: Sequence[str]) -> ImportedModel:
    """Put keys and values, alternating, on top of a model's; drop the notes that ask for them."""
    words = imported.overrides
    said = dict(zip(settings[::2], settings[1::2], strict=True))
    merged = dict(zip(words[::2], words[1::2], strict=True)) | said
    return dataclasses.replace(
        imported,
        overrides=[word for pair in merged.items() for word in pair],
        notes=[note for note in imported.notes if not any(key in note for key in said)],
    )


def _check_are_read(settings: Sequence[str], is_read: Callable[[str], bool]) -> None:
    """Refuse keys that have no say in a model that is only used; `load_config` refuses others.

    Raises:
        ValueError: names them.
    """
    unread = [key for key in settings[::2] if not is_read(key)]
    if unread:
        raise ValueError(
            f"--set {', '.join(unread)}: only training or another program reads that; expected "
            "keys of the network and of how its pictures are prepared, such as INPUT.REID.SIZE"
        )


def load_imported(
    model: torch.nn.Module, imported: ImportedModel, settings: Sequence[str] = ()
) -> None:
    """Load an imported state; what the file has nothing for stays as it was made.

    Args:
        model: to fill.
        imported: what an importer made of a file.
        settings: what a user set, for the message.

    Raises:
        ValueError: if names differ otherwise, or shapes.
    """
    if problems := misfits(imported.state, model.state_dict(), imported.untouched):
        words = f" with {' '.join(settings)}" if settings else ""
        raise ValueError(
            f"the {imported.family} does not fit {imported.config_file}{words}: {problems}"
        )
    model.load_state_dict(imported.state, strict=False)


def write_crop_network(file: Path, crop_net: Path, settings: Sequence[str] = ()) -> list[str]:
    """Write a public crop network's checkpoint as an ONNX file.

    Args:
        file: the checkpoint.
        crop_net: the ONNX file to write.
        settings: keys and values, alternating, on top of the network's config.

    Returns:
        What a user must be told, a line each.

    Raises:
        KeyError: if ``settings`` name an unknown key.
        ValueError: if the file is not what it should be, or nothing reads a key of ``settings``.
    """
    imported = add_settings(convert(read_checkpoint(file)), settings)
    model = crop_model.load_crop_model(file, overrides=settings, device="cpu")
    _check_are_read(settings, lambda key: crop_model.decides_embeddings(model.cfg, key))
    export = export_crop_model(model, crop_net)
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

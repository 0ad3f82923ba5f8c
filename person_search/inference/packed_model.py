"""A trained model as a folder that others can use: written, read back, found again.

The folder is an installed model's (`person_search.inference.models`), with ``model.safetensors``,
``config.yaml``, card, threshold, the results files that the card's numbers are from, and a page
about all that, ``README.md``.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from person_search.evaluation.results_file import ResultsFile
from person_search.inference.hub import PREFIX, HubAddress, fetch_folder
from person_search.inference.model_card import ModelCard, card_path
from person_search.inference.model_page import PAGE, Measured, format_page
from person_search.inference.models import find_model
from person_search.inference.packed_file import WEIGHTS
from person_search.inference.recorded_files import check_unchanged, record_files
from person_search.inference.threshold_file import Calibration, threshold_path
from reid_heads.atomic_file import atomic_file, new_folder, save_json

if TYPE_CHECKING:
    from person_search.inference.finder import PersonFinder

_GREY = np.full((96, 128, 3), 128, np.uint8)
_BOX = (20, 10, 60, 90)
"""Inside every picture that a model is tried on."""


def find_pretrained(name: str | Path) -> Path:
    """Return the main file of a model that somebody passed on.

    Args:
        name: see `PersonFinder.from_pretrained`.

    Raises:
        ConnectionError: if it cannot be fetched.
        FileNotFoundError: if there is no such model.
        ValueError: if it is no model, or a file of it was changed.
    """
    if str(name).startswith(PREFIX):
        file = find_model(fetch_folder(HubAddress.parse(str(name))))
    else:
        file = find_model(name)
    check_unchanged(file.parent)
    return file


def write_packed_model(
    finder: "PersonFinder",
    folder: Path,
    card: ModelCard | None,
    *,
    calibration: Calibration | None = None,
    results: Sequence[ResultsFile] = (),
    add_files: Callable[[Path], None] | None = None,
) -> Path:
    """Write a model's folder, and load it from there; nothing of it stays after an error.

    Args:
        finder: with the model, which runs in PyTorch.
        folder: of the new model, which must not be there, or be empty.
        card: what the model is.
        calibration: of the model, where it was calibrated.
        results: that the card's numbers are from.
        add_files: writes more files into the folder that it is given, such as an export.

    Returns:
        The file of the weights.

    Raises:
        FileExistsError: if there is something in the folder.
        ValueError: if there is no card, the model does not run in PyTorch, or what is read back
            does not do the same to the last bit.
    """
    write = getattr(finder.network, "write", None)
    if write is None:
        raise ValueError(
            f"the finder runs its model by {type(finder.network).__name__}; only a trained one, as "
            "PersonFinder.from_config loads it, can be packed. Copy the folder of any other"
        )
    if card is None:
        raise ValueError(
            "the model has no card; give one, ModelCard(name, domain, licence, trained_on): others "
            "must know whom it knows and under which licence it is"
        )
    with new_folder(folder) as new:
        write(new)
        save_json(card_path(new / WEIGHTS), card.to_dict())
        if calibration is not None:
            calibration.save(threshold_path(new / WEIGHTS))
        measured = [_copy(file, number, new) for number, file in enumerate(results, 1)]
        if add_files is not None:
            add_files(new)
        page = format_page(
            card, measured, calibration, finder.fingerprint, finder.embedding_dim, new.iterdir()
        )
        with atomic_file(new / PAGE) as file:
            file.write(page.encode())
        record_files(new)
        _check_reads_back(finder, new / WEIGHTS)
    return folder / WEIGHTS


def _copy(file: ResultsFile, number: int, folder: Path) -> Measured:
    """Copy a results file into a model's folder."""
    name = "results.json" if number == 1 else f"results-{number}.json"
    shutil.copyfile(file.path, folder / name)
    return Measured(name, file)


def _check_reads_back(finder: "PersonFinder", weights: Path) -> None:
    """Compare what was written with the model, to the last bit.

    Raises:
        ValueError: if they differ.
    """
    # Slow to import.
    from person_search.synthetic.sample_pictures import draw_sample_pictures

    # Loading compares the fingerprint: weights and config, byte by byte.
    again = type(finder).load(weights, device="cpu", min_score=finder.min_score)
    if str(getattr(finder.network, "device", "cpu")) != "cpu":
        return
    for picture in (_GREY, draw_sample_pictures()[0]):
        (first,), (second,) = (x.find([picture], parts=False) for x in (finder, again))
        given = [x.embed(picture, [_BOX], parts=False) for x in (finder, again)]
        pairs = [given, *((getattr(first, k), getattr(second, k)) for k in vars(first))]
        if not all(np.array_equal(*pair) for pair in pairs):
            raise ValueError(
                "the model that was written gives other numbers than the one in memory; nothing "
                "was kept. Is another program at work on the same files?"
            )

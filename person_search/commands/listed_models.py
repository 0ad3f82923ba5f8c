"""The models of the list: fetched, made into installed models; and all that is here, checked."""

import sys
from pathlib import Path

from person_search.commands.model_texts import format_listed
from person_search.inference.model_card import ModelCard
from person_search.inference.models import models_folder
from person_search.inference.recorded_files import record_files
from person_search.model_list.checking import check_downloads, check_models, model_folders
from person_search.model_list.listed_model import FACE_DETECTOR, ListedModel
from person_search.model_list.records import Record
from person_search.model_list.table import LISTED


def fetch(model: ListedModel) -> Path:
    """Say what a model is and under which terms, then fetch its file.

    Raises:
        ConnectionError: if it cannot be fetched; says which file to put where.
        OSError: if there is no room, or it cannot be written.
        ValueError: if the file that is there is another one.
    """
    # It locks files as POSIX does, and is needed here alone.
    from person_search.model_list.download import download

    print(format_listed(model), flush=True)
    path = download(model)
    record = Record.find(path)
    print(f"{'here':11s}  {path}\n{'sha256':11s}  {record.sha256 if record else ''}")
    return path


def how_to_go_on(model: ListedModel, path: Path) -> str:
    """Say what takes a fetched file, or makes an installed model of it."""
    if model.is_for_faces:
        option = "--detector" if model.kind == FACE_DETECTOR else "--weights"
        return f"for faces: python -m reid_heads.faces COMMAND {option} {path}"
    if model.kind == "detector":
        return (
            f"a detector: name it to what is imported, person-search models import FILE "
            f"--detector {path}, or person-search models download NAME --import --detector "
            f"{model.name}"
        )
    detector = " --detector nanodet-m" if model.kind == "crop" else ""
    return f"make it a model: person-search models download {model.name} --import{detector}"


def find_detector(said: str | None) -> ListedModel | None:
    """Return the detector of the list that a user names; None for what else finds people.

    Args:
        said: a name of the list, or what `person-search models import --detector` takes.

    Raises:
        ValueError: if it is of the list, and no detector.
    """
    listed = LISTED.get(said or "")
    if listed is None or Path(str(said)).is_file():
        return None
    if listed.kind != "detector":
        names = ", ".join(x.name for x in LISTED.values() if x.kind == "detector")
        raise ValueError(f"--detector {said} is no detector; expected one of {names}, or a file")
    return listed


def add_detector(card: ModelCard, detector: ListedModel) -> ModelCard:
    """Return the card of a crop network with what is known of a listed detector beside it."""
    other = detector.to_card()
    both = {
        name: f"{getattr(card, name)}; detector {detector.name}: {getattr(other, name)}"
        for name in ("licence", "trained_on", "source")
    }
    limits = " ".join(filter(None, [card.limits, other.limits]))
    numbers = {**card.numbers, **other.numbers}
    return ModelCard(card.name, card.domain, **both, limits=limits, numbers=numbers)


def check(is_recording: bool) -> int:
    """Compare every file that is here with what it was; fetch nothing.

    Args:
        is_recording: whether to take installed models as they are now, and write that down.

    Returns:
        The exit status: 1 if something is not as it was.
    """
    if is_recording:
        for folder in model_folders():
            record_files(folder)
    is_well = True
    for checked in (*check_downloads(), *check_models()):
        is_well &= not checked.problems
        print(f"{'WRONG' if checked.problems else 'ok':5s}  {checked.path}")
        for problem in checked.problems:
            print(f"       {problem}")
        if checked.note:
            print(f"       {checked.note}")
    print(f"looked at {models_folder()} and at the downloads beside it", file=sys.stderr)
    return 0 if is_well else 1

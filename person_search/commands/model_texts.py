"""What is printed of models: installed ones, and those of the list."""

from pathlib import Path
from typing import TYPE_CHECKING

from person_search.inference.model_card import ModelCard
from person_search.model_list.listed_model import ListedModel
from person_search.model_list.records import downloads_folder

if TYPE_CHECKING:
    from person_search.inference.finder import PersonFinder


def format_model(path: Path, finder: "PersonFinder") -> str:
    """Write what is known of a model, a fact a line."""
    card = finder.card
    lines = {"file": str(path)}
    if card is None:
        lines["card"] = "none: nothing is known of whom it knows"
    else:
        lines |= _of_card(card)
    lines["embedding"] = f"{finder.embedding_dim} numbers"
    lines["threshold"] = "not calibrated" if finder.threshold is None else f"{finder.threshold:.3f}"
    lines["fingerprint"] = finder.fingerprint
    return _format(lines, {} if card is None else dict(card.numbers))


def format_card(card: ModelCard) -> str:
    """Write a card, a fact a line."""
    return _format(_of_card(card), dict(card.numbers))


def _of_card(card: ModelCard) -> dict[str, str]:
    lines = {"name": card.name, "knows": card.domain, "licence": card.licence}
    return lines | {"trained on": card.trained_on, "source": card.source, "limits": card.limits}


def format_listed(model: ListedModel) -> str:
    """Write what the list says of a model, a fact a line."""
    size = "not stated anywhere" if model.size is None else f"{model.size:,} bytes"
    known_from = f" ({model.size_and_hash_from})" if model.size_and_hash_from else ""
    sha256 = "not known: that of the first download is recorded, and checked from then on"
    lines = {
        "name": model.name,
        "for": model.purpose,
        "licence": model.licence,
        "trained on": model.trained_on,
        "data terms": model.data_terms,
        "run by us": model.run_by_us,
    }
    if model.sources:
        lines |= {f"source {n}": str(source) for n, source in enumerate(model.sources, 1)}
        lines["sha256"] = sha256 if model.sha256 is None else model.sha256 + known_from
    lines |= {"file": model.file, "size": size}
    lines["note"] = model.note
    lines["published"] = f"in {model.published_in}, percent:" if model.published else ""
    return _format(lines, dict(model.published))


def _format(lines: dict[str, str], numbers: dict[str, float]) -> str:
    text = [f"{key:11s}  {value}" for key, value in lines.items() if value]
    # One place after the point, and the second where there is one: it is not rounded away.
    text += [f"{f'{value:.2f}'.removesuffix('0'):>11s}  {what}" for what, value in numbers.items()]
    return "\n".join(text)


def format_row(model: ListedModel) -> str:
    """Write a model of the list in a line."""
    size = "    ?    " if model.size is None else f"{model.size / 1e6:6.1f} MB"
    is_here = (downloads_folder() / model.name / model.file).is_file()
    run = "run by us: " + model.run_by_us.partition(":")[0]
    here = "  fetched" if is_here else ""
    return f"{model.name:22s}  {size}  {run:14s}  {model.purpose} ({model.licence}){here}"

"""The page about a packed model, ``README.md``, as Hugging Face shows it."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from person_search.evaluation.results_file import ResultsFile
from person_search.inference.model_card import ModelCard
from person_search.inference.threshold_file import Calibration

PAGE = "README.md"
"""Name of the file in a model's folder."""

_KNOWN_LICENCES = (
    *("apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "gpl-3.0", "agpl-3.0"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
)
"""SPDX identifiers, in small letters, that Hugging Face knows by the same name."""

_USE = """```python
from person_search.inference.finder import PersonFinder

finder = PersonFinder.from_pretrained("path/to/this/folder")  # or "hf:OWNER/NAME"
(people,) = finder.find(["street.jpg"])
```"""


@dataclass(frozen=True)
class Measured:
    """A results file that came into a model's folder."""

    name: str
    """In the folder."""

    results: ResultsFile


def format_page(
    card: ModelCard,
    measured: Sequence[Measured],
    calibration: Calibration | None,
    fingerprint: str,
    embedding_dim: int,
    files: Iterable[Path],
) -> str:
    """Write the page.

    Args:
        card: what the model is.
        measured: the files that its numbers are from.
        calibration: of the model, where it was calibrated.
        fingerprint: of the model.
        embedding_dim: D.
        files: of the folder.

    Returns:
        Markdown, after a block of YAML that Hugging Face reads.
    """
    names = {file.name for file in files}
    lines = [*_front_matter(card), "", f"# {card.name}", "", _what_it_is(card), ""]
    facts = {
        "knows": f"{card.domain} only",
        "trained on": card.trained_on,
        "licence": card.licence,
        "from": card.source,
        "limits": card.limits,
        "embedding": f"{embedding_dim} numbers of unit norm, compared by cosine similarity",
        "threshold": _threshold(calibration),
        "fingerprint": f"`{fingerprint}`",
    }
    lines += ["| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in facts.items() if value]
    lines += ["", "## Use", "", _USE, "", _files(names), "", "## Measured", ""]
    if not measured:
        lines += ["Nothing: no results file came with it.", ""]
    for one in measured:
        lines += [*_table(one), ""]
    return "\n".join(lines)


def _front_matter(card: ModelCard) -> list[str]:
    short = card.licence.lower()
    licence = [f"license: {short}"]
    if short not in _KNOWN_LICENCES:
        slug = re.sub(r"[^a-z0-9.]+", "-", short).strip("-.")[:60]
        licence = ["license: other", f"license_name: {json.dumps(slug or 'other')}"]
    tags = [f"- {tag}" for tag in ("person-search", "person-re-identification", "object-detection")]
    return ["---", *licence, "library_name: person-search", "tags:", *tags, "---"]


def _what_it_is(card: ModelCard) -> str:
    return (
        "A person search model: it finds everybody in a picture and gives each a vector, so that "
        "two pictures of one person have similar vectors. It is made for pictures like those it "
        f"was trained on: {card.domain}. What it says of people is a likeness, never proof of who "
        "they are; search footage of people only where you may."
    )


def _threshold(calibration: Calibration | None) -> str:
    if calibration is None:
        return "not calibrated"
    return (
        f"similarity {calibration.threshold:.3f}: on {calibration.dataset}, galleries of "
        f"{calibration.gallery_size} frames, it misses {calibration.miss_rate:.1%} and takes "
        f"{calibration.false_alarm_rate:.1%} of the absent for present"
    )


def _files(names: set[str]) -> str:
    text = (
        "`model.safetensors` and `config.yaml` run in PyTorch, and are what another training "
        "starts from."
    )
    if "model.onnx" in names:
        text += " `model.onnx` is the same model without PyTorch, and is what is taken by default."
    return text


def _table(one: Measured) -> list[str]:
    rows = [f"| {_cell(name)} | {value:.2f} |" for name, value in one.results.numbers.items()]
    return [
        f"On {_cell(one.results.dataset)}, in percent, from [{one.name}]({one.name}):",
        "",
        "| what | % |",
        "|---|---|",
        *rows,
        "",
        "```bash",
        one.results.command.replace("```", ""),
        "```",
    ]


def _cell(text: str) -> str:
    """Write text so that it stays in a cell of a table."""
    return " ".join(text.split()).replace("|", r"\|")

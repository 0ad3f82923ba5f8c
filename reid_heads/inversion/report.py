"""What images from inversion are worth, in numbers and as a picture grid.

Letters: N embeddings, G real crops, D embedding size, P identities, H and W pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

_GAP, _HEADER = 2, 14
_PAPER = 255
_COLUMNS = {
    "own_identity": "cosine to own identity",
    "own_crops": "to single crops of it",
    "other_identities": "to other identities",
    "nearest_is_own": "nearest identity is own, %",
}


def measure_similarity(
    embeddings: Floats,
    identities: Sequence[int],
    real_embeddings: Floats,
    real_identities: Sequence[int],
    rows_of_real: Sequence[int] | None = None,
) -> dict[str, float]:
    """Compare embeddings with those of real crops of the identities that they should show.

    An identity's embedding is the mean of its real crops', scaled to unit norm.

    Args:
        embeddings: (N, D) of unit norm.
        identities: N numbers, each with a real crop at least.
        real_embeddings: (G, D) of unit norm.
        real_identities: G numbers.
        rows_of_real: for embeddings that are real crops themselves, their N rows among the real
            ones: a crop is not compared with itself, and counts only where its identity has another
            one.

    Returns:
        Means over the embeddings: ``own_identity``, the cosine to the own identity's embedding;
        ``own_crops``, to its single crops; ``other_identities``, to the embeddings of all others
        (NaN where there is none); ``nearest_is_own``, for how many percent the own identity is the
        nearest of all.

    Raises:
        ValueError: without anything to compare, or for an identity without a real crop.
    """
    people, columns, counts = np.unique(real_identities, return_inverse=True, return_counts=True)
    unknown = sorted(set(identities) - set(people.tolist()))
    if unknown or not len(identities):
        raise ValueError(f"there is no real crop to compare with of {unknown or 'nobody'}")
    sums = np.zeros((len(people), real_embeddings.shape[1]))
    np.add.at(sums, columns, real_embeddings.astype(np.float64))
    x = embeddings.astype(np.float64)
    own = np.searchsorted(people, identities)
    own_sums, own_counts = sums[own], counts[own]
    if rows_of_real is not None:
        own_sums = own_sums - real_embeddings[list(rows_of_real)]
        own_counts = own_counts - 1
    counted = own_counts > 0
    if not counted.any():
        raise ValueError("every identity has a single real crop; expected two of one at least")
    x, own, own_sums, own_counts = x[counted], own[counted], own_sums[counted], own_counts[counted]
    similarities = x @ _unit(sums).T
    rows = np.arange(len(x))
    similarities[rows, own] = (x * _unit(own_sums)).sum(1)
    to_own = similarities[rows, own]
    num_others = len(people) - 1
    others = (similarities.sum() - to_own.sum()) / (len(x) * num_others) if num_others else np.nan
    return {
        "own_identity": float(to_own.mean()),
        "own_crops": float(((x * own_sums).sum(1) / own_counts).mean()),
        "other_identities": float(others),
        "nearest_is_own": float(100 * (similarities.argmax(1) == own).mean()),
    }


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float64] = rows / np.maximum(norms, 1e-12)
    return unit


def format_report(report: Mapping[str, Any]) -> str:
    """Write a report of the command as Markdown.

    Args:
        report: ``title``; ``settings`` by name; and ``rows``: of each kind of images by name its
            ``statistics``, the distance of BatchNorm statistics, and by the name of a network what
            ``measure_similarity`` gives, where real crops were at hand.
    """
    lines = [f"# {report['title']}", ""]
    lines += [", ".join(f"{name} {value}" for name, value in report["settings"].items()), ""]
    lines += ["| images | distance of BatchNorm statistics |", "|---|---|"]
    for name, row in report["rows"].items():
        lines.append(f"| {name} | {row['statistics']:.1f} |")
    networks = [
        name for name in ("same network", "second network") if any_has(report["rows"], name)
    ]
    for network in networks:
        lines += ["", f"Re-embedded by the {network}:", ""]
        lines += [f"| images | {' | '.join(_COLUMNS.values())} |", "|---" * 5 + "|"]
        for name, row in report["rows"].items():
            if network in row:
                cells = [_format(row[network][column], column) for column in _COLUMNS]
                lines.append(f"| {name} | {' | '.join(cells)} |")
    if not networks:
        lines += ["", "No real crops are at hand to compare embeddings with."]
    return "\n".join(lines) + "\n"


def any_has(rows: Mapping[str, Mapping[str, Any]], name: str) -> bool:
    """Tell whether any row has an entry of that name."""
    return any(name in row for row in rows.values())


def _format(value: float, column: str) -> str:
    return f"{value:.1f}" if column == "nearest_is_own" else f"{value:.3f}"


def draw_grid(columns: Mapping[str, Sequence[Pixels | None]], blocks: int = 2) -> Pixels:
    """Lay pictures out, a row for each target, under the names of the columns.

    Args:
        columns: by name the pictures (H, W, 3) uint8 RGB of all targets, all of one size; None
            leaves a cell empty. Spaces around a name tell columns apart but are not written.
        blocks: how many targets stand beside each other in a row.

    Returns:
        (H', W', 3) uint8 RGB.

    Raises:
        ValueError: if columns differ in length, if there is no picture, or one of another size.
    """
    counts = {len(cells) for cells in columns.values()}
    sizes = {cell.shape for cells in columns.values() for cell in cells if cell is not None}
    if len(counts) != 1 or len(sizes) != 1:
        raise ValueError(
            f"grid: got columns of {sorted(counts)} pictures of sizes {sorted(sizes)}; expected "
            "one number and one size"
        )
    ((height, width, _),), (count,) = sizes, counts
    blocks = min(blocks, count)
    step_x, step_y = width + _GAP, height + _GAP
    block_width = len(columns) * step_x + 3 * _GAP
    rows = -(-count // blocks)
    sheet = np.full((_HEADER + rows * step_y, blocks * block_width, 3), _PAPER, np.uint8)
    for column, cells in enumerate(columns.values()):
        for k, cell in enumerate(cells):
            if cell is not None:
                y = _HEADER + k // blocks * step_y
                x = k % blocks * block_width + column * step_x
                sheet[y : y + height, x : x + width] = cell
    picture = Image.fromarray(sheet)
    pen = ImageDraw.Draw(picture)
    for block in range(blocks):
        for column, name in enumerate(columns):
            pen.text((block * block_width + column * step_x + 1, 1), name.strip(), fill=(0, 0, 0))
    return np.asarray(picture)

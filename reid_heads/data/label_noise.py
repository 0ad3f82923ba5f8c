"""Put wrong labels into a training set, to study how methods bear them.

    python -m reid_heads.data.label_noise --dataset drawn_market --share 0.4 --seed 1 \
        --output noisy.csv --truth truth.csv

writes two lists of the same crops. ``noisy.csv`` is trained on (``DATASETS.CROPS``); ``truth.csv``
has the true persons, and the column ``labeled_as`` with those of the noisy list.

Letters: N crops, P identities.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reid_heads.data.crop_lists import write_crop_list
from reid_heads.data.info import find_splits
from reid_heads.data.mapper import naming_unreadable
from reid_heads.pictures import read_image
from reid_heads.text_files import read_table
from reid_heads.trust import add_trust_argument, trusted_files

TARGETS = ("uniform", "look_alikes")
LOOK_ALIKES = 5
"""Nearest identities that a crop is given to in place of its own, with "look_alikes"."""
_STRIPES = 6


def flip_labels(
    pids: np.ndarray, share: float, seed: int, look_alikes: np.ndarray | None = None
) -> np.ndarray:
    """Give a share of the crops to other identities of the set: closed-set noise.

    Each identity keeps at least one crop of its own, drawn too, so that none vanishes from the
    labels and their number stays the same.

    Args:
        pids: (N,) int64, 0..P-1, the true ones.
        share: of the crops whose label becomes wrong, in [0, 1); rounded to whole crops.
        seed: same seed, same labels.
        look_alikes: (P, L) identities that each one is mistaken for, evenly; None: all others.

    Returns:
        (N,) int64, wrong in ``round(share * N)`` places.

    Raises:
        ValueError: for a share out of range or too large for every identity to keep a crop, or
            with fewer than two identities.
    """
    number = _check_share(pids, share)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pids))
    _, kept = np.unique(pids[order], return_index=True)
    chosen = np.delete(order, kept)[:number]
    noisy = pids.copy()
    if look_alikes is None:
        steps = rng.integers(1, pids.max() + 1, size=number)
        noisy[chosen] = (pids[chosen] + steps) % (pids.max() + 1)
    else:
        columns = rng.integers(look_alikes.shape[1], size=number)
        noisy[chosen] = look_alikes[pids[chosen], columns]
    return noisy


def _check_share(pids: np.ndarray, share: float) -> int:
    """Return the number of crops to give away."""
    people = len(np.unique(pids))
    if not 0 <= share < 1:
        raise ValueError(f"the share of wrong labels is {share}; expected 0 <= share < 1")
    if people < 2:
        raise ValueError(f"the crops show {people} person; wrong labels need two at least")
    number = round(share * len(pids))
    if number > len(pids) - people:
        raise ValueError(
            f"a share of {share} of {len(pids)} crops is {number}, but each of the {people} "
            f"identities keeps one: at most {(len(pids) - people) / len(pids):.3f} can be wrong"
        )
    return number


def find_look_alikes(crops: Sequence[dict[str, Any]], number: int = LOOK_ALIKES) -> np.ndarray:
    """Return for each identity those whose clothes have the nearest colours.

    The mean colour of six horizontal stripes of the middle half, mean over an identity's crops: no
    model, but what people are told apart by first.

    Args:
        crops: dataset dicts of whole images, ``person_id`` 0..P-1.
        number: L, of look-alikes each; fewer where there are not as many others.

    Returns:
        (P, L) int64, nearest first.
    """
    pids = np.array([crop["person_id"] for crop in crops])
    colors = np.stack([_stripe_colors(crop["file_name"]) for crop in crops])
    sums = np.zeros((pids.max() + 1, colors.shape[1]))
    np.add.at(sums, pids, colors)
    means = sums / np.bincount(pids)[:, None]
    rows = []
    for pid, mean in enumerate(means):
        distances = np.square(means - mean).sum(axis=1)
        distances[pid] = np.inf
        rows.append(np.argsort(distances, kind="stable")[: min(number, len(means) - 1)])
    return np.stack(rows)


def _stripe_colors(file_name: str) -> np.ndarray:
    with naming_unreadable(file_name):
        image = Image.fromarray(read_image(file_name))
    width, height = image.size
    middle = image.resize(
        (1, _STRIPES), Image.Resampling.BOX, (width / 4, 0, width * 3 / 4, height)
    )
    return np.asarray(middle, np.float64).ravel()


def read_wrong_labels(path: str | Path) -> dict[str, bool]:
    """Read a truth list: whether the label of each crop is wrong, by the crop's absolute path.

    Args:
        path: as written by ``python -m reid_heads.data.label_noise --truth``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has no columns path, person and labeled_as.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no truth list {path}; check --truth")
    folder = path.parent.absolute()
    rows = read_table(path, ("path", "person", "labeled_as"))
    return {str(folder / row["path"]): row["person"] != row["labeled_as"] for _, row in rows}


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m reid_heads.data.label_noise",
        description="Write a list of a data set's training crops in which a share of the labels is "
        "wrong, and the truth beside it.",
    )
    add = parser.add_argument
    add("--dataset", required=True, help="a built-in set, or a folder or a CSV file of your own")
    add("--root", type=Path, help="as of python -m reid_heads.data")
    add("--split", default="train", help="training split to read (default train)")
    add("--share", type=float, required=True, metavar="S", help="of wrong labels, 0 <= S < 1")
    add("--seed", type=int, default=1, help="same seed, same labels (default 1)")
    add(
        "--to",
        choices=TARGETS,
        default="uniform",
        help="who gets a crop: any other identity, or one of the five whose clothes have the "
        "nearest colours (default uniform)",
    )
    add_trust_argument(parser)
    add("--output", type=Path, required=True, metavar="CSV", help="the list with wrong labels")
    add("--truth", type=Path, required=True, metavar="CSV", help="the list with the true ones")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 after an error, which is printed to the standard error."""
    args = build_parser().parse_args(arguments)
    try:
        with trusted_files(args.trust_this_file):
            _, load = find_splits(args.dataset, args.root)
            crops = load(args.split)
        pids = np.array([crop["person_id"] for crop in crops])
        _check_share(pids, args.share)
        look_alikes = find_look_alikes(crops) if args.to == "look_alikes" else None
        noisy = flip_labels(pids, args.share, args.seed, look_alikes)
        write_crop_list(args.output, crops, noisy.tolist())
        write_crop_list(args.truth, crops, pids.tolist(), {"labeled_as": noisy.tolist()})
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    wrong = int((noisy != pids).sum())
    print(f"{args.output}: {len(pids)} crops of {pids.max() + 1} people, {wrong} wrong labels")
    return 0


if __name__ == "__main__":
    sys.exit(main())

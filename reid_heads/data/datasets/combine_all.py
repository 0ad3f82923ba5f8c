"""All images of a data set as one training set: what domain generalization calls "combine-all".

Letters: P identities.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any


def combine_all(
    load: Callable[[str], list[dict[str, Any]]],
    splits: Sequence[str],
    distractor_pids: Collection[int] = (),
) -> list[dict[str, Any]]:
    """Join the splits of a data set to one training set.

    No protocol shows people in its test that it trains on. A number that occurs in both parts is
    therefore taken for two people: MSMT17 numbers its test people from 0 anew.

    Args:
        load: returns the dataset dicts of a split, junk left out.
        splits: a training split, whose people are 0..P-1, then the test splits.
        distractor_pids: numbers of nobody in particular in the test splits; they are left out.

    Returns:
        The training split as it is, then the test crops, no longer marked as such; their people
        follow in the order of their numbers, so that all of them are 0..P-1.

    Raises:
        ValueError: an image is in two splits.
    """
    train_split, *test_splits = splits
    joined = list(load(train_split))
    test = [
        entry
        for split in test_splits
        for entry in load(split)
        if entry["person_id"] not in distractor_pids
    ]
    offset = 1 + max(entry["person_id"] for entry in joined)
    labels = {
        pid: offset + row for row, pid in enumerate(sorted({entry["person_id"] for entry in test}))
    }
    for entry in test:
        crop = {**entry, "person_id": labels[entry["person_id"]]}
        del crop["split"]
        joined.append(crop)
    _check_names(joined, splits)
    return joined


def _check_names(crops: list[dict[str, Any]], splits: Sequence[str]) -> None:
    names: set[str] = set()
    for crop in crops:
        if crop["image_id"] in names:
            raise ValueError(
                f"the image {crop['image_id']} is in two of the splits {', '.join(splits)}; they "
                f"cannot be joined to one training set"
            )
        names.add(crop["image_id"])

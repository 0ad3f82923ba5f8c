"""The table of identities and the queue of OIM: whose row is whose in both projects.

PRW's training set has 483 identities, of the numbers 1 to 478, 480 to 483 and 932. This project
gives them the rows 0 to 482 in that order; NAE and SeqNet have a table of 482 rows, each at the
place of the identity's number, and train the identities that are beyond it as unlabelled people.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from reid_heads.importers.placing import Placement

_OIM = "roi_heads.identity_losses.losses.OIM."

_PRW_ROWS = 482
_PRW_NUMBERS = (*range(1, 479), *range(480, 484), 932)
_SIZES = {"cuhk_sysu": (5532, 5000), "prw": (len(_PRW_NUMBERS), 500)}
_GROUP = "identity table and queue"


class Memory(NamedTuple):
    """What a file's table and queue say about the training set."""

    dataset: str
    """Folder of its configs: "cuhk_sysu" or "prw"."""
    overrides: list[str]
    """Sizes that differ from those of its configs."""
    notes: list[str]
    pointer: dict[str, Tensor]
    """What this project's memory has besides; empty where the file has no table and queue."""


def place_memory(placement: Placement, first_prw_number: int) -> Memory:
    """Place table and queue so that training can go on.

    Args:
        placement: of the file; its table and queue are "lut" and "cq", with some prefix.
        first_prw_number: of the identity that has row 0 of a table for PRW.
    """
    table, queue = (_find(placement, end) for end in ("reid_loss.lut", "reid_loss.cq"))
    if table is None or queue is None:
        return Memory("cuhk_sysu", [], [], {})
    rows, notes = placement.left[table], []
    dataset = "prw" if len(rows) in (_PRW_ROWS, len(_PRW_NUMBERS)) else "cuhk_sysu"
    if len(rows) == _PRW_ROWS:
        rows, missing = prw_table(rows, first_prw_number)
        notes.append(
            f"the table of identities has {_PRW_ROWS} rows for the {len(_PRW_NUMBERS)} identities "
            f"of PRW, each at the place of its number: {len(_PRW_NUMBERS) - len(missing)} are kept "
            f"at this project's places, the rows of the identities "
            f"{', '.join(map(str, missing))} are empty until training goes on"
        )
    sizes = (len(rows), len(placement.left[queue]))
    keys = ("MODEL.REID_HEAD.NUM_IDENTITIES", "MODEL.REID_HEAD.OIM.QUEUE_SIZE")
    overrides = [
        word
        for key, size, usual in zip(keys, sizes, _SIZES[dataset], strict=True)
        if size != usual
        for word in (key, str(size))
    ]
    if sizes[0] != _SIZES[dataset][0]:
        notes.append(
            f"the table of identities has {sizes[0]} rows, that of neither CUHK-SYSU nor PRW; "
            "the config is that of CUHK-SYSU, with other data sets training cannot go on"
        )
    placement.place(table, f"{_OIM}table", _GROUP, rows)
    placement.place(queue, f"{_OIM}queue", _GROUP)
    notes.append("the place in the queue that is replaced next is not in the file; it starts at 0")
    pointer = {f"{_OIM}queue_pointer": torch.zeros((), dtype=torch.int64)}
    return Memory(dataset, overrides, notes, pointer)


def prw_table(rows: Tensor, first_number: int) -> tuple[Tensor, list[int]]:
    """Put PRW's rows at this project's places.

    Args:
        rows: (482, D); row n is of the identity ``first_number`` + n, if there is one.
        first_number: of row 0.

    Returns:
        (483, D), zeros where there is no row; and the numbers of the identities without one.
    """
    table = rows.new_zeros(len(_PRW_NUMBERS), rows.shape[1])
    missing = []
    for place, number in enumerate(_PRW_NUMBERS):
        if 0 <= number - first_number < len(rows):
            table[place] = rows[number - first_number]
        else:
            missing.append(number)
    return table, missing


def _find(placement: Placement, end: str) -> str | None:
    return next((name for name in placement.left if name.endswith(end)), None)

"""Receipts of what was removed: when, by which rule, how much; they tell of nobody."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from person_search.accountability.activity_log import ActivityLog, mode_of
from person_search.accountability.chain_file import ChainFile
from person_search.accountability.entries import Entry
from person_search.accountability.places import receipts_file
from person_search.accountability.uses import Use, now

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex


def write_receipt(
    index: "GalleryIndex", action: str, use: Use, *, user: str | None, **said: Any
) -> Entry:
    """Write a receipt beside the gallery, and end the use in which it was removed.

    Args:
        index: What was removed from.
        action: What was done.
        use: The log gets the receipt's hash and counts by it.
        user: By whom; None where it was done by itself.
        said: Plain values: counts, rules, states.

    Returns:
        The receipt, with its hash.

    Raises:
        LogError: It cannot be written.
    """
    chain = receipts_of(index)
    chain.path.parent.mkdir(parents=True, exist_ok=True)
    receipt = chain.append(
        {
            **said,
            "action": action,
            "end": now(),
            "user": user,
            "gallery": {
                "file": Path(index.uri).name,
                "name": index.name,
                "model": index.fingerprint,
                "state": ActivityLog(index).state(),
            },
        }
    )
    told = {key: value for key, value in said.items() if isinstance(value, int)}
    use.said(receipt=receipt["hash"], **told).end()
    return receipt


def receipts_of(index: "GalleryIndex") -> ChainFile:
    """Return the chain of all receipts of a gallery's file."""
    return ChainFile(receipts_file(index.uri), mode_of(index.uri))

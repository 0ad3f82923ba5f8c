"""Counts of a data set beside the published ones."""

from tabulate import tabulate

Counts = dict[str, int]
"""What was counted in a split, such as images or identities, to how many there are."""


def format_counts(counts: dict[str, Counts], published: dict[str, Counts]) -> str:
    """Make a table: a line for each thing counted, for each split the found and published number.

    Args:
        counts: by split; every split has the same things, in the order of the lines.
        published: by split, as far as known; empty leaves the columns out.
    """
    headers = [""]
    for split in counts:
        headers += [split, "published"] if published else [split]
    lines = []
    for row in next(iter(counts.values()), {}):
        line = [row]
        for split, found in counts.items():
            line.append(f"{found[row]:,}")
            if published:
                expected = published.get(split, {}).get(row)
                line.append("-" if expected is None else f"{expected:,}")
        lines.append(line)
    alignment = ["left", *["right"] * (len(headers) - 1)]
    return str(tabulate(lines, headers, disable_numparse=True, colalign=alignment))


def find_differences(counts: dict[str, Counts], published: dict[str, Counts]) -> list[str]:
    """Name every number that is not the published one."""
    return [
        f"DIFFERS: {split} {row}: found {counts[split][row]:,}, published {expected:,}"
        for split, numbers in published.items()
        for row, expected in numbers.items()
        if counts[split][row] != expected
    ]

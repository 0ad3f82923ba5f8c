"""Whether the gallery finds what its old engine, Milvus Lite 2.5, finds in the same embeddings."""

from collections.abc import Sequence
from itertools import pairwise

# Best first: row and similarity.
Found = Sequence[tuple[int, float]]
SIZE = 20_000
QUESTIONS_A_KIND = 75


def compare_answers(ours: Sequence[Found], theirs: Sequence[Found]) -> dict:
    """Compare answers to the same questions, place by place.

    Returns:
        `questions`; `same_people` and `same_order`, in how many of them; `ties`, neighbours in
        their answers whose similarities are equal; `swapped_within`, the largest difference of
        their similarities of two rows that lie at each other's places, 0 if none; and
        `largest_difference` of what both say of the same row.
    """
    same_people = same_order = ties = 0
    swapped = difference = 0.0
    for one, other in zip(ours, theirs, strict=True):
        rows, other_rows = [row for row, _ in one], [row for row, _ in other]
        same_people += set(rows) == set(other_rows)
        same_order += rows == other_rows
        ties += sum(a[1] == b[1] for a, b in pairwise(other))
        of_row = dict(other)
        for place, (row, similarity) in enumerate(one):
            if row in of_row:
                difference = max(difference, abs(similarity - of_row[row]))
                if place < len(other):
                    swapped = max(swapped, abs(of_row[row] - other[place][1]))
    return {
        "questions": len(ours),
        "same_people": same_people,
        "same_order": same_order,
        "ties": ties,
        "swapped_within": swapped,
        "largest_difference": difference,
    }


def describe_agreement(found: dict) -> str:
    """Put the comparison into words."""
    text = (
        f"{found['questions']} questions of all kinds on {found['size']:,} rows, the best "
        f"{found['top']}, asked of the gallery and of Milvus Lite 2.5.1 by inner product, as the "
        f"gallery asked it before: the same people in {found['same_people']} answers, in the same "
        f"order in {found['same_order']}. The similarities that both give a person differ by "
        f"{found['largest_difference']:.1e} at most: the engine sums in float32, the gallery in "
        f"float64. Neighbours of equal similarity in the engine's answers: {found['ties']}."
    )
    if found["same_order"] < found["questions"]:
        text += (
            " Where the order differs, the engine's similarities of those who changed places are "
            f"within {found['swapped_within']:.1e} of each other."
        )
    return text

"""Whom a query means: a picture, and who of the people in it is looked for.

One rule, for the shell, the page, its API and Python:

1. A box means whoever is in it.
2. A number means that one of the people found, who are numbered from 1 from left to right.
3. Without both, somebody who fills the picture is meant (`find_filling`). Such a picture is a crop
   of that one person: whatever else is found in it are parts, and has no number.
4. Else the only person found is meant.
5. Of several one must be chosen, by number or box.
6. Where nobody is found, a picture taller than wide is the crop of one person, and meant whole;
   any other is refused: it needs a box.

Example:
    person = choose_person(finder, "someone.jpg")
    if len(person) > 1:  # several, numbered from left to right; look at person.boxes
        person = choose_person(finder, "someone.jpg", number=2)
    matches = gallery.search(person.embeddings)
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from person_search.footage.images import ImageSource, read_image
from person_search.inference.crops import embed_person, find_filling
from person_search.people import Box, People, check_box, paired_iou

if TYPE_CHECKING:
    from person_search.inference.finder import PersonFinder

SAME_PERSON_IOU = 0.5
"""Overlap from which on a person found in the picture is the one asked for."""


class NobodyFoundError(ValueError):
    """Nobody is found in a picture that is no crop of a person either."""


def find_people(finder: "PersonFinder", image: ImageSource) -> People:
    """Find the people of a picture of whom one may be meant, from left to right.

    Args:
        finder: the model.
        image: as `PersonFinder.find` takes them.

    Returns:
        Only who fills the picture, where somebody does; else everybody found, maybe nobody. Number
        1 is the first row.

    Raises:
        OSError, ValueError: If the picture cannot be read, or the model gives NaN.
    """
    pixels = read_image(image)
    people = find_filling(finder, pixels)
    if people is None:
        (people,) = finder.find([pixels])
    return people.from_left_to_right()


def choose_person(
    finder: "PersonFinder",
    image: ImageSource,
    *,
    box: Sequence[float] | None = None,
    number: int | None = None,
    people: People | None = None,
) -> People:
    """Find out who in a picture is meant, by the rule at the top of this module.

    Args:
        finder: the model.
        image: as `PersonFinder.find` takes them.
        box: (x1, y1, x2, y2) in original pixels; counts before ``number``.
        number: of a person that `find_people` finds, from 1.
        people: what `find_people` found in this picture, where that is known already.

    Returns:
        One person, who is meant, with the box that was embedded; or several, never none, of whom
        one must be chosen: number 1 is the first row.

    Raises:
        NobodyFoundError: If nobody is found in a picture that is not taller than wide.
        OSError, ValueError: If the picture cannot be read, the box is refused (`check_box`), there
            is no person of this number, or the model gives NaN.
    """
    pixels = read_image(image)
    height, width = pixels.shape[:2]
    if box is not None:
        return _take_box(finder, pixels, check_box(box, width, height))
    if people is None:
        people = find_people(finder, pixels)
    if number is not None:
        return people.numbered(number)
    if len(people):
        return people
    if height > width:
        return _take_box(finder, pixels, (0.0, 0.0, float(width), float(height)))
    raise NobodyFoundError(
        f"nobody was found in the picture ({width} x {height} pixels); give a box"
    )


def find_beside(people: People, box: Box) -> People:
    """Return those of a picture's people who are not the one in a box, by falling score."""
    is_other = paired_iou(np.array(box), people.boxes) < SAME_PERSON_IOU
    return people.select(is_other).by_score()


def _take_box(finder: "PersonFinder", image: np.ndarray, box: Box) -> People:
    embedding = embed_person(finder, image, box)
    return People(np.array([box], np.float32), np.ones(1, np.float32), embedding[None])

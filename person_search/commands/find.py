"""``person-search find``: say whom a model sees in pictures.

This is how a model is looked at, and how two models are compared: --boxes lets one embed the people
whom another has found.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from person_search.commands.model_arguments import (
    add_min_score_argument,
    add_model_arguments,
    check_model_arguments,
    load_finder,
)
from person_search.commands.pictures import check_picture_file, draw_pictures, save_picture
from person_search.commands.written_files import check_can_write
from person_search.footage.images import read_image
from person_search.inference.found_people import SUFFIXES, FoundPeople, load_boxes
from person_search.people import People

if TYPE_CHECKING:
    from person_search.inference.finder import PersonFinder

NOBODY = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search find``."""
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="a picture's file")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write boxes, scores and embeddings here, a .npz or .json file with the arrays "
        "image_names, image_index, boxes, scores and embeddings",
    )
    parser.add_argument(
        "--boxes",
        type=Path,
        metavar="FILE",
        help="embed these boxes instead of those that the model finds: a file as --output writes",
    )
    add_min_score_argument(parser)
    parser.add_argument(
        "--save", type=Path, metavar="OUT.png", help="draw the pictures with the people into this"
    )
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Find or embed, print a line a person; return the exit status: 0, or `NOBODY`.

    Raises:
        OSError: A picture or file is missing or cannot be written.
        ValueError: An argument is wrong, or a picture cannot be read.
    """
    check_model_arguments(args)
    if args.output is not None:
        if args.output.suffix not in SUFFIXES:
            raise ValueError(f"--output {args.output}: expected a name in {' or '.join(SUFFIXES)}")
        check_can_write("--output", args.output)
    if args.save is not None:
        check_picture_file(args.save)
    given = None if args.boxes is None else _boxes_of(args.boxes, args.pictures)
    # Broken pictures are named before the seconds that a model takes to load.
    for picture in args.pictures:
        read_image(picture)
    finder = load_finder(args, min_score=args.min_score)
    people = [look(finder, name, None if given is None else given[name]) for name in args.pictures]
    for name, found in zip(args.pictures, people, strict=True):
        print(format_people(name, found))
    if args.output is not None:
        FoundPeople.gather(args.pictures, people).save(args.output)
        print(f"wrote {args.output}: {sum(map(len, people))} people", file=sys.stderr)
    if args.save is not None:
        save_picture(draw_pictures(list(zip(args.pictures, people, strict=True))), args.save)
    return 0 if any(map(len, people)) else NOBODY


def look(finder: "PersonFinder", picture: str, boxes: np.ndarray | None) -> People:
    """Find the people of a picture, from left to right, or embed those in given boxes (N, 4)."""
    image = read_image(picture)
    if boxes is None:
        (people,) = finder.find([image])
        return people.from_left_to_right()
    embeddings = finder.embed(image, boxes)
    return People(boxes, np.ones(len(boxes), np.float32), embeddings)


def format_people(picture: str, people: People) -> str:
    """Write a picture's people, a line each, numbered as ``search --query PICTURE#N`` does."""
    lines = [f"{picture}: {len(people)} people"]
    for row, score in enumerate(people.scores.tolist()):
        box = " ".join(f"{value:7.1f}" for value in people.box(row))
        lines.append(f"{row + 1:5d}  {score:5.3f}  {box}")
    return "\n".join(lines)


def _boxes_of(path: Path, pictures: list[str]) -> dict[str, np.ndarray]:
    """Return the boxes of each picture.

    Raises:
        FileNotFoundError, ValueError: The file is none, or has nothing on a picture.
    """
    boxes = load_boxes(path)
    missing = [picture for picture in pictures if picture not in boxes]
    if missing:
        raise ValueError(
            f"--boxes {path} has nothing on {', '.join(missing)}; it names {', '.join(boxes)}, and "
            "pictures must be given by the same names"
        )
    return boxes

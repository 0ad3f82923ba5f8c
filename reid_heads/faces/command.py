"""Faces at the command line: ``python -m reid_heads.faces --help``.

Aligns pictures of faces, says whether two faces are one person's, enrolls people, and names faces.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from reid_heads.atomic_file import save_json
from reid_heads.faces.detectors import Detector, cut_face, whole_picture
from reid_heads.faces.face_list import read_face_list
from reid_heads.faces.models import (
    FaceModel,
    load_detector,
    load_face_model,
    load_point_detector,
)
from reid_heads.faces.parser import build_parser
from reid_heads.faces.people_file import NOBODY, EnrolledPeople, load_people, save_people
from reid_heads.faces.pictures import (
    AlignedPictures,
    FaceSource,
    align_people,
    check_pictures,
    find_main_face,
    list_person_pictures,
    naming,
    read_picture,
)
from reid_heads.faces.pipeline import FacePipeline, Identification
from reid_heads.text_files import read_json
from reid_heads.trust import trusted_files

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        0, or 2 after an error, which is printed to the standard error.
    """
    args = build_parser().parse_args(argv)
    try:
        with trusted_files(args.trust_this_file):
            COMMANDS[args.command](args)
    except (ValueError, OSError, KeyError, ModuleNotFoundError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"error: {message}", file=sys.stderr)
        return 2
    return 0


def run_align(args: argparse.Namespace) -> None:
    """Write a folder of aligned faces."""
    if args.faces is None and args.detector is None and args.detector_config is None:
        raise ValueError(
            "got neither --faces nor --detector-config nor --detector; align needs one of them to "
            "know where eyes, nose and mouth are"
        )
    people, faces = align_people(args.people, args.output, open_source(args))
    print(f"{faces} faces of {people} people written to {args.output}")


def run_verify(args: argparse.Namespace) -> None:
    """Print whether the main faces of two pictures are one person's."""
    check_pictures(args.pictures)
    threshold = read_threshold(args)
    source, model = open_source(args), open_model(args)
    pipeline = FacePipeline(whole_picture, model.embed, threshold)
    embedded = []
    for path in args.pictures:
        image, face = find_main_face(path, source)
        with naming(path):
            embedded.append((face, model.embed(cut_face(image, face)[None])[0]))
    result = pipeline.compare(*embedded)
    verdict = "the same person" if result.is_same else "different people"
    print(f"{verdict}: similarity {result.similarity:.4f}, threshold {threshold:.4f}")


def run_enroll(args: argparse.Namespace) -> None:
    """Write the file of people."""
    _check_output(args.output, "--output")
    pictures = list_person_pictures(args.people)
    source, model = open_source(args), open_model(args)
    # Enrolling compares nothing, so any threshold will do.
    pipeline = FacePipeline(whole_picture, model.embed, threshold=1.0)
    for person, paths in pictures.items():
        faces = []
        for path in paths:
            image, face = find_main_face(path, source)
            with naming(path):
                faces.append(cut_face(image, face))
        with naming(args.people / person):
            pipeline.enroll_faces(person, faces)
    enrolled = pipeline.enrolled
    people = EnrolledPeople(tuple(enrolled), np.stack(list(enrolled.values())), model.digest)
    save_people(args.output, people)
    print(f"{len(enrolled)} people, {sum(map(len, pictures.values()))} faces: {args.output}")
    print("the file is personal data, as the pictures are; only its owner can read it")


def run_identify(args: argparse.Namespace) -> None:
    """Print a name for each face of pictures."""
    check_pictures(args.pictures)
    if args.json is not None:
        _check_output(args.json, "--json")
    threshold = read_threshold(args)
    source, model = open_source(args), open_model(args)
    pipeline = FacePipeline(whole_picture, model.embed, threshold)
    people = load_people(args.people, model.digest, model.embedding_dim)
    for name, embedding in zip(people.names, people.embeddings, strict=True):
        pipeline.enroll_embedding(name, embedding)
    found = []
    for path in args.pictures:
        detect, image = source(path), read_picture(path)
        with naming(path):
            found.append((path, pipeline.with_detector(detect).identify(image)))
    if args.json is not None:
        save_json(args.json, _describe(found, args.people, threshold))
    print(format_table(found))


def read_threshold(args: argparse.Namespace) -> float:
    """Return the threshold of ``--threshold`` or ``--threshold-from``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If neither or both are given, the file has no threshold, or it is not -1..1.
    """
    if (args.threshold is None) == (args.threshold_from is None):
        raise ValueError("expected either --threshold or --threshold-from, one of them")
    path = args.threshold_from
    value = args.threshold if path is None else _read_threshold_file(path)
    if not -1 <= value <= 1:
        where = "--threshold" if path is None else f"the threshold in {path}"
        raise ValueError(f"{where} is {value}; expected a cosine within -1..1")
    return float(value)


def _read_threshold_file(path: Path) -> float:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check --threshold-from")
    try:
        content = read_json(path)
    except ValueError as error:
        raise ValueError(f"{error}; check --threshold-from") from error
    value = content.get("threshold") if isinstance(content, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(
            f"{path} holds no number named threshold; expected what `python -m reid_heads.evaluate "
            "--protocol verification --json` wrote"
        )
    return float(value)


def open_source(args: argparse.Namespace) -> FaceSource:
    """Return where faces come from, as the options say.

    Raises:
        OSError: If a file is missing.
        KeyError: If the detector's config has an unknown key.
        ValueError: If options do not belong together, or a file or number is not as it should be.
    """
    if (args.detector_config is None) != (args.detector_weights is None):
        raise ValueError("--detector-config and --detector-weights belong together")
    options = ("faces", "detector", "detector_config")
    given = [f"--{name.replace('_', '-')}" for name in options if getattr(args, name) is not None]
    if len(given) > 1:
        raise ValueError(f"got {' and '.join(given)}; faces come from one of them")
    if args.detector_config is None and args.detector_class is not None:
        raise ValueError("--detector-class belongs to --detector-config")
    if args.detector is not None:
        detector: Detector = load_point_detector(args.detector, args.min_score, args.device)
    elif args.detector_config is not None:
        min_score = 0.5 if args.min_score is None else args.min_score
        detector = load_detector(
            args.detector_config, args.detector_weights, args.detector_class, min_score, args.device
        )
    else:
        if args.min_score is not None:
            raise ValueError("--min-score belongs to --detector-config or --detector")
        return AlignedPictures() if args.faces is None else read_face_list(args.faces)
    return lambda picture: detector


def open_model(args: argparse.Namespace) -> FaceModel:
    """Load the face net; warn where a threshold from a file is of other embeddings."""
    model = load_face_model(args.config_file, args.weights, args.device)
    if getattr(args, "threshold_from", None) is not None and not model.is_flip_tested:
        logger.warning(
            "the threshold was measured without mirror images, which this command adds; evaluate "
            "with MODEL.CROP_REID.FLIP_TEST True for one that fits"
        )
    return model


def format_table(found: Sequence[tuple[Path, Sequence[Identification]]]) -> str:
    """Lay out who was found, one line a face; boxes are x1 y1 x2 y2 in original pixels."""
    rows = []
    for path, faces in found:
        for face in faces:
            box = " ".join(f"{value:.0f}" for value in face.face.box_xyxy)
            rows.append((str(path), box, face.name or NOBODY, f"{face.similarity:.4f}"))
        if not faces:
            rows.append((str(path), "-", "no face found", "-"))
    headers = ("picture", "box", "name", "similarity")
    alignment = ("left", "left", "left", "right")
    table = tabulate(rows, headers, tablefmt="plain", disable_numparse=True, colalign=alignment)
    return str(table)


def _describe(
    found: Sequence[tuple[Path, Sequence[Identification]]], people: Path, threshold: float
) -> dict[str, Any]:
    pictures = [
        {
            "picture": str(path),
            "faces": [
                {
                    "box_xyxy": list(face.face.box_xyxy),
                    "score": face.face.score,
                    "name": face.name,
                    "similarity": face.similarity,
                }
                for face in faces
            ],
        }
        for path, faces in found
    ]
    return {"people": str(people), "threshold": threshold, "pictures": pictures}


def _check_output(path: Path, option: str) -> None:
    """Raise ValueError before the work rather than after it."""
    if path.is_dir():
        raise ValueError(f"{option} is {path}, which is a folder; expected a file to write")


COMMANDS = {
    "align": run_align,
    "verify": run_verify,
    "enroll": run_enroll,
    "identify": run_identify,
}

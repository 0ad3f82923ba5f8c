"""The command line of ``python -m reid_heads.faces``."""

import argparse
from pathlib import Path
from typing import Any

from reid_heads.trust import add_trust_argument

PRIVACY = (
    "Everything runs on this machine, and nothing is sent anywhere. Embeddings of faces, and so "
    "files of enrolled people, are personal data, as pictures of faces are: ask those whose faces "
    "they are, keep them safe, delete them when they have served, and let no similarity alone "
    "decide about anybody."
)


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m reid_heads.faces",
        description="Align faces, verify that two are one person's, enroll people, name faces.",
        epilog=PRIVACY,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_align(commands)
    _add_verify(commands)
    _add_enroll(commands)
    _add_identify(commands)
    return parser


def _add_align(commands: Any) -> None:
    add = _add_command(commands, "align", "turn pictures of people into a folder of aligned faces")
    _add_people(add)
    add(
        "--output",
        required=True,
        type=Path,
        metavar="FOLDER",
        help="new folder for the faces, 112 x 112 pixels, in a folder for each person, as "
        "DATASETS.FACES, enroll and training take them",
    )
    _add_source(add)


def _add_verify(commands: Any) -> None:
    add = _add_command(commands, "verify", "say whether two pictures show one person")
    add(
        "pictures", nargs=2, type=Path, metavar="PICTURE", help="of whose faces the main one counts"
    )
    _add_model(add)
    _add_threshold(add)
    _add_source(add)


def _add_enroll(commands: Any) -> None:
    add = _add_command(commands, "enroll", "remember people by their faces")
    _add_people(add)
    add(
        "--output",
        required=True,
        type=Path,
        metavar="NPZ",
        help="file of names and mean embeddings; takes the place of an older one",
    )
    _add_model(add)
    _add_source(add)


def _add_identify(commands: Any) -> None:
    add = _add_command(commands, "identify", "name the faces of pictures, or nobody")
    add("pictures", nargs="+", type=Path, metavar="PICTURE", help="to look for faces in")
    add("--people", required=True, type=Path, metavar="NPZ", help="file that enroll wrote")
    add("--json", type=Path, metavar="OUT", help="write what was found to this file as well")
    _add_model(add)
    _add_threshold(add)
    _add_source(add)


def _add_command(commands: Any, name: str, text: str) -> Any:
    """Add a command; return what adds its options."""
    command = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=PRIVACY
    )
    add_trust_argument(command)
    return command.add_argument


def _add_people(add: Any) -> None:
    add(
        "--people", required=True, type=Path, metavar="FOLDER", help="with a folder for each person"
    )


def _add_model(add: Any) -> None:
    add(
        "--config-file",
        metavar="C",
        help="that the face net was trained with; an ONNX file needs none, nor does "
        "a public checkpoint",
    )
    add(
        "--weights",
        required=True,
        metavar="W",
        help="its checkpoint, or an ONNX file that maps aligned faces (N, 3, 112, 112) to "
        "embeddings, as insightface's ArcFace",
    )


def _add_threshold(add: Any) -> None:
    add(
        "--threshold",
        type=float,
        metavar="T",
        help="cosine, -1..1, from which two faces are one person's",
    )
    add(
        "--threshold-from",
        type=Path,
        metavar="JSON",
        help="take it from what `python -m reid_heads.evaluate --protocol verification --json` "
        "wrote of this face net",
    )


def _add_source(add: Any) -> None:
    add(
        "--faces",
        type=Path,
        metavar="CSV",
        help="where the faces are: a list with the header path,x1,y1,x2,y2 and, if the five points "
        "are known, lx1,ly1,...,lx5,ly5, in pixels; see reid_heads/faces/face_list.py. Without "
        "this and without a detector, each picture is one aligned face",
    )
    add(
        "--detector",
        metavar="D",
        help="a face detector with five points: the ONNX file of SCRFD or YuNet, facenet-pytorch's "
        "wheel, or mtcnn for that package as installed",
    )
    add(
        "--detector-config",
        metavar="C",
        help="of a detectron2 model that finds faces; the points "
        "are taken from it if it has a keypoint head of five",
    )
    add("--detector-weights", metavar="W", help="its checkpoint")
    add(
        "--detector-class",
        type=int,
        metavar="N",
        help="number of its class of faces, from 0; needed if it has several",
    )
    add(
        "--min-score",
        type=float,
        metavar="S",
        help="least score of a face, 0..1 (default 0.5; of YuNet 0.9, of MTCNN 0.7)",
    )
    add("--device", choices=("cpu", "cuda"), help="to compute on (default: as the configs say)")

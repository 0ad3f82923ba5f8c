"""The arguments that choose a gallery and a model, the same in every command."""

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from reid_heads.torch_parts import hush_remarks
from reid_heads.trust import add_trust_argument

if TYPE_CHECKING:
    from person_search.inference.finder import PersonFinder
    from person_search.inference.model_card import ModelCard

MODEL_VARIABLES = ("PERSON_SEARCH_MODEL", "PERSON_SEARCH_CONFIG", "PERSON_SEARCH_WEIGHTS")
"""Of the environment, that name a model."""

IN_PARTS = {"auto": None, "always": True, "never": False}
"""Values of ``--parts``, as `PersonFinder.find` takes them."""

GALLERY_HELP = "a file ending in .db, or the address http://host:port of a server"


def add_gallery_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--gallery`` and ``--name``."""
    parser.add_argument("--gallery", required=True, metavar="G", help=GALLERY_HELP)
    parser.add_argument(
        "--name",
        default="gallery",
        help="one file or server holds many galleries; this one's name (default: %(default)s)",
    )


def add_device_argument(parser: Any) -> None:
    """Add ``--device`` to a parser or a group of arguments."""
    parser.add_argument(
        "--device",
        default="auto",
        help="auto, cuda, mps or cpu; default: %(default)s, the GPU where there is one",
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `load_finder` reads."""
    model = parser.add_argument_group(
        "model",
        "default: $PERSON_SEARCH_CONFIG and $PERSON_SEARCH_WEIGHTS, else $PERSON_SEARCH_MODEL, "
        "else the newest installed model (person-search models), else the one that comes along, "
        "which knows drawn people only",
    )
    model.add_argument(
        "--model", metavar="NAME|FILE", help="an installed model, or an exported one, an ONNX file"
    )
    model.add_argument(
        "--config-file", metavar="C", help="config of a trained model (YAML); runs in PyTorch"
    )
    model.add_argument("--weights", metavar="W", help="its weights")
    model.add_argument(
        "--parts",
        choices=tuple(IN_PARTS),
        default="auto",
        help="search pictures in overlapping parts as well, each of which costs as much as a "
        "picture; default: %(default)s, where people in them would be too small for the model",
    )
    add_device_argument(model)
    add_trust_argument(model)


def add_min_score_argument(parser: argparse.ArgumentParser, more: str = "") -> None:
    """Add ``--min-score``, which `check_model_arguments` checks.

    Args:
        parser: of a command that finds people.
        more: what else is to be known of it there.
    """
    parser.add_argument(
        "--min-score",
        type=float,
        metavar="X",
        help=f"least score of a person, 0..1; default: the model's own{more}",
    )


def load_finder(
    args: argparse.Namespace, device: str | None = None, min_score: float | None = None
) -> "PersonFinder":
    """Load the model that the arguments name, the default one if they name none.

    Args:
        args: as `add_model_arguments` gives them.
        device: where ``--device`` leaves the choice.
        min_score: least score of a person, 0..1; None is the model's own.

    Raises:
        ValueError: The arguments contradict each other, or the model cannot be loaded.
        OSError: A file is missing.
        ModuleNotFoundError: A config is named, and PyTorch or detectron2 is missing.
    """
    check_model_arguments(args)
    hush_remarks()
    from person_search.inference.finder import PersonFinder

    chosen = device if device is not None and args.device == "auto" else args.device
    config, weights = args.config_file, args.weights
    if args.model is None and config is None:
        config, weights = (os.environ.get(f"PERSON_SEARCH_{x}") for x in ("CONFIG", "WEIGHTS"))
        if (config is None) != (weights is None):
            raise ValueError(
                "PERSON_SEARCH_CONFIG and PERSON_SEARCH_WEIGHTS belong together; only one is set"
            )
    if config is not None and weights is not None:
        finder = PersonFinder.from_config(config, weights, device=chosen, min_score=min_score)
    else:
        finder = PersonFinder.load(args.model, device=chosen, min_score=min_score)
    finder.parts = IN_PARTS[args.parts]
    say_what_it_knows(finder.card, is_chosen=is_model_chosen(args))
    return finder


def say_what_it_knows(card: "ModelCard | None", is_chosen: bool) -> None:
    """Tell of a model that nobody chose, and of one that knows drawn people only.

    Args:
        card: of the model.
        is_chosen: whether an argument or the environment named the model.
    """
    if card is not None and card.is_drawn:
        print(
            f"{card.say_what_it_knows()}; for real footage choose another: "
            "person-search models --help",
            file=sys.stderr,
        )
    elif not is_chosen:
        print(f"model: {'one without a card' if card is None else card.name}", file=sys.stderr)


def is_model_chosen(args: argparse.Namespace) -> bool:
    """Say whether the arguments or the environment name a model."""
    named = [args.model, args.config_file, *map(os.environ.get, MODEL_VARIABLES)]
    return any(named)


def check_model_arguments(args: argparse.Namespace) -> None:
    """Refuse arguments that contradict each other, before anything is loaded.

    Raises:
        ValueError: The message says which.
    """
    if (args.config_file is None) != (args.weights is None):
        raise ValueError("--config-file and --weights belong together; got only one of them")
    if args.model is not None and args.config_file is not None:
        raise ValueError("got --model and --config-file; expected one of them")
    score = getattr(args, "min_score", None)
    if score is not None and not 0 <= score <= 1:
        raise ValueError(f"--min-score is {score:g}; expected 0..1")

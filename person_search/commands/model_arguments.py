"""The arguments that choose a gallery and a model, the same in every command."""

import argparse
import sys
from typing import TYPE_CHECKING

from reid_heads.torch_parts import hush_remarks

if TYPE_CHECKING:
    from person_search.inference.finder import PersonFinder

GALLERY_HELP = "a file ending in .db, or the address http://host:port of a server"


def add_gallery_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--gallery`` and ``--name``."""
    parser.add_argument("--gallery", required=True, metavar="G", help=GALLERY_HELP)
    parser.add_argument(
        "--name",
        default="gallery",
        help="one file or server holds many galleries; this one's name (default: %(default)s)",
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `load_finder` reads."""
    model = parser.add_argument_group(
        "model",
        "default: $PERSON_SEARCH_CONFIG and $PERSON_SEARCH_WEIGHTS, else the shipped model, which "
        "knows drawn people only",
    )
    model.add_argument("--config-file", metavar="C", help="config of the model (YAML)")
    model.add_argument("--weights", metavar="W", help="its weights")
    model.add_argument(
        "--export", metavar="F", help="an exported ONNX file instead of config and weights"
    )
    model.add_argument("--device", help="cuda or cpu; default: cuda where there is one")


def load_finder(args: argparse.Namespace, device: str | None = None) -> "PersonFinder":
    """Load the model that the arguments name, the default one if they name none.

    Args:
        args: as `add_model_arguments` gives them.
        device: where ``--device`` is not given.

    Raises:
        ValueError: The arguments contradict each other, or the model cannot be loaded.
        OSError: A file is missing.
    """
    check_model_arguments(args)
    hush_remarks()
    from person_search.inference.finder import PersonFinder, default_model

    if args.export is not None:
        return PersonFinder.from_export(args.export)
    config, weights = args.config_file, args.weights
    if config is None:
        config, weights = default_model()
        print(f"model: {weights}", file=sys.stderr)
    return PersonFinder.from_config(config, weights, device=args.device or device)


def check_model_arguments(args: argparse.Namespace) -> None:
    """Refuse arguments that contradict each other, before anything is loaded.

    Raises:
        ValueError: The message says which.
    """
    if (args.config_file is None) != (args.weights is None):
        raise ValueError("--config-file and --weights belong together; got only one of them")
    if args.export is not None and args.config_file is not None:
        raise ValueError("got --export and --config-file; expected one of them")

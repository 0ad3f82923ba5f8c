"""Packed models on Hugging Face: put there, and installed from there."""

import argparse
import shutil
from pathlib import Path

from person_search.commands.model_texts import format_card
from person_search.inference.hub import PREFIX, HubAddress, fetch_folder, push_files
from person_search.inference.model_card import ModelCard, card_path
from person_search.inference.models import find_model
from person_search.inference.packed_file import WEIGHTS
from person_search.inference.recorded_files import recorded_names
from reid_heads.atomic_file import new_folder

__all__ = ["PREFIX", "add_arguments", "download", "name_of", "push"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search models push``."""
    add = parser.add_argument
    add("model", metavar="FOLDER|NAME", help="one that `models pack` made")
    add("--to", required=True, metavar="hf:OWNER/NAME", help="a model on Hugging Face")
    add("--private", action="store_true", help="a new one is for its owner alone")
    add("--yes", action="store_true", help="do so; without it nothing is sent, only shown")


def push(args: argparse.Namespace) -> None:
    """Show what goes where, and send it if that was said.

    Raises:
        ConnectionError: if it cannot be sent.
        FileNotFoundError: if there is no such model, or it was not packed.
        ModuleNotFoundError: without the package ``huggingface_hub``.
        ValueError: if the address is none, a file was changed, the card has no licence, or nobody
            said ``--yes``.
    """
    address = HubAddress.parse(args.to)
    folder = find_model(args.model).parent
    names = recorded_names(folder)
    card = ModelCard.load(card_path(folder / WEIGHTS))
    if card.licence.lower().startswith("unknown"):
        raise ValueError(
            f"{folder}: the card says of the licence: {card.licence}. What nobody may use, or only "
            "others may pass on, is not pushed; pack the model with its --licence"
        )
    print(f"{folder} to {address}, {'if it is new for you alone' if args.private else 'for all'}:")
    sizes = {name: (folder / name).stat().st_size for name in names}
    for name, size in sizes.items():
        print(f"{size:14,} bytes  {name}")
    print(f"{sum(sizes.values()):14,} bytes in all")
    print(format_card(card), flush=True)
    if not args.yes:
        raise ValueError("nothing was sent; if this is what others are to get, add --yes")
    url = push_files(folder, names, address, f"{card.name}, packed by person-search", args.private)
    print(f"sent: {url}")


def name_of(address: str) -> str:
    """Return the last part of an address: by it a model is installed where nobody says another.

    Raises:
        ValueError: if it is no address.
    """
    return HubAddress.parse(address).name.partition("/")[2]


def download(text: str, folder: Path) -> None:
    """Show what a model is and under which terms, then fetch it, check it and install it.

    Args:
        text: its address.
        folder: of the installed model, which must not be there.

    Raises:
        ConnectionError: if it cannot be fetched.
        FileNotFoundError: if it was not packed.
        ValueError: if the address is none, the card is none, or a file was changed.
    """
    address = HubAddress.parse(text)
    card = card_path(WEIGHTS)
    print(format_card(ModelCard.load(fetch_folder(address, (str(card),)) / card)), flush=True)
    fetched = fetch_folder(address)
    with new_folder(folder) as new:
        for name in recorded_names(fetched):
            shutil.copyfile(fetched / name, new / name)

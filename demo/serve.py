"""``person-search serve``: the page for a browser, and its API.

Without --gallery a small drawn world is made and indexed at the first start.
"""

import argparse
import itertools
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from person_search.commands.model_arguments import (
    add_model_arguments,
    check_model_arguments,
    is_model_chosen,
    load_finder,
)
from person_search.commands.ports import claim_port
from person_search.commands.registry import install_line
from person_search.inference.models import BUILTIN
from person_search.progress import Progress

from .access import check_access, is_local, read_settings
from .memory import share_arenas

if TYPE_CHECKING:
    import gradio

    from person_search.inference.finder import PersonFinder

    from .service import Gallery

DRAWN = Path("output/app")
DRAWN_FILE = "drawn-city.db"
IF_STOPPED = "the galleries are complete; the same command opens the page again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search serve``."""
    parser.add_argument(
        "--gallery",
        action="append",
        metavar="G",
        help="a file gallery.db or http://host:port, with all galleries in it; may be repeated. "
        f"Default: a drawn one, made in {DRAWN} at the first start",
    )
    parser.add_argument(
        "--create", action="store_true", help="make a --gallery file that is not there, empty"
    )
    parser.add_argument(
        "--footage",
        type=Path,
        help="folder that keeps what is added on the page; default: beside each gallery file",
    )
    add_model_arguments(parser)
    server = parser.add_argument_group("server")
    server.add_argument("--host", default="127.0.0.1", help="default: %(default)s, this computer")
    server.add_argument(
        "--port", type=int, default=7860, help="0 takes a free one (default: %(default)s)"
    )
    server.add_argument(
        "--users", type=Path, metavar="FILE",
        help="let in the users of this file, made by person-search user add",
    )  # fmt: skip
    server.add_argument("--user", default=None, help="let in this one user, who has a password")
    server.add_argument("--password-env", metavar="NAME", help="environment variable with it")
    server.add_argument("--password-file", type=Path, metavar="FILE", help="file with it")
    server.add_argument(
        "--blur",
        action="store_true",
        help="pictures and clips show nobody but the person asked for, whoever looks; without it "
        "the page has a switch",
    )
    server.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="a name, with its port if that is not the usual one, under which browsers reach the "
        "page, besides this computer's own; may be repeated",
    )  # fmt: skip
    server.add_argument(
        "--behind-proxy", nargs="?", const="127.0.0.1", default=None, metavar="ADDRESS",
        help="believe the X-Forwarded headers of the proxy with this address "
        "(default: %(const)s)",
    )  # fmt: skip
    server.add_argument(
        "--max-upload", default="20mb",
        help="largest file that may be uploaded, up to 64 of them with eight times as much at once "
        "(default: %(default)s)",
    )  # fmt: skip
    server.add_argument(
        "--public-without-password",
        action="store_true",
        help="let everybody who reaches --host see the galleries and add to them",
    )


def run(args: argparse.Namespace) -> int:
    """Open the galleries, load the model and serve; return the exit status 0 after SIGTERM.

    Raises:
        ValueError: an argument is wrong, a gallery was made with another model, or others can
            reach the host and nobody has to log in.
        OSError: a file is missing, a folder cannot be written to, or the port is taken.
        KeyboardInterrupt: Ctrl-C.
    """
    settings = read_settings(args)
    users = check_access(args)
    check_model_arguments(args)
    port = claim_port(args.host, args.port)
    check_places(args.gallery, args.footage, may_create=args.create)
    _require_gradio()
    from .activity import retaining, switch_on_for_users
    from .app import build_app, launch_app
    from .service import Service

    share_arenas()
    print("loading the model", file=sys.stderr)
    if args.gallery is None and not is_model_chosen(args):
        args.model = BUILTIN  # for drawn people the one that knows them
    finder = load_finder(args)
    uris, examples = args.gallery, []
    if uris is None:
        uris, examples = [str(DRAWN / DRAWN_FILE)], prepare_drawn_gallery(DRAWN, finder)
    galleries = open_galleries(uris, finder, args.footage)
    served = {gallery.label: gallery for gallery in galleries}
    try:
        if switch_on_for_users(galleries, has_users=users is not None):
            print(
                "uses are logged from now on, as people log in: person-search log", file=sys.stderr
            )
        service = Service(finder, served, examples, args.blur)
        app = build_app(service)
        url = launch_app(app, port=port, users=users, settings=settings)
        print(f"person search is ready: {url}  (Ctrl-C ends it)", flush=True)
        if not is_local(args.host) and args.behind_proxy is None:
            print(
                "the connection is not encrypted: put a proxy with TLS before it", file=sys.stderr
            )
        with retaining(service):
            _wait(app)
    finally:
        for gallery in served.values():  # some may have been opened anew
            gallery.index.close()
    return 0


def _wait(app: "gradio.Blocks") -> None:
    """Wait until a signal ends the page; gradio's own waiting hides a Ctrl-C.

    Raises:
        OSError: the server has ended.
        SystemExit: SIGTERM, with status 0. The uploads' folder goes and the galleries are closed.
        KeyboardInterrupt: Ctrl-C.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while app.server.is_alive():
            time.sleep(0.1)
        raise OSError("the page's server has ended by itself; its log says why: start it again")
    finally:
        app.close(verbose=False)


def check_places(uris: Sequence[str] | None, footage: Path | None, *, may_create: bool) -> None:
    """Refuse, before anything slow starts, galleries and folders that cannot be used.

    Args:
        uris: of the galleries; None for the drawn one.
        footage: folder that keeps what is added on the page; None for one beside each file.
        may_create: whether a file that is not there is made.

    Raises:
        GalleryError: a file cannot be used as a gallery.
        OSError: a file is not there, or a folder cannot be written to; says what to do.
    """
    # Import numpy, which the program's help goes without.
    from person_search.gallery.database import check_file
    from person_search.gallery.store import is_address

    if footage is not None:
        _check_writable(footage, "give another --footage")
    if uris is None:
        _check_writable(DRAWN, "go to a folder of yours, or give a --gallery in one")
    for uri in uris or ():
        if is_address(uri):
            if footage is None:
                _check_writable(_beside(uri, ""), "give --footage")
            continue
        path = Path(uri).expanduser().resolve()
        if not path.exists() and not may_create:
            raise FileNotFoundError(
                f"there is no gallery {path}; make one with: person-search index FOLDER --gallery "
                f"{uri}, or say --create to begin with an empty one"
            )
        check_file(path, must_exist=False)


def _check_writable(folder: Path, advice: str) -> None:
    """Refuse a folder that cannot be made or written to.

    Raises:
        OSError: the message names the nearest folder that is there.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{there} is a file, where {folder} would be a folder; {advice}")
    if not os.access(there, os.W_OK):
        raise PermissionError(f"{there} is read-only, and {folder} is written to; {advice}")


def _require_gradio() -> None:
    try:
        # The variable first: the import asks its makers' server otherwise.
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        import gradio  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"the page needs gradio ({error}); run: {install_line('gradio')}"
        ) from error


def prepare_drawn_gallery(root: Path, finder: "PersonFinder") -> list[Path]:
    """Draw the world and index it, as far as that is not done; return the example pictures.

    A gallery of an earlier version, which cannot be read, is put aside.

    Args:
        root: folder of the drawn frames and of `DRAWN_FILE`.
        finder: the model.

    Raises:
        GalleryError: another model made the gallery.
        OSError: ``root`` holds something else or cannot be written.
    """
    from person_search.footage.files import FootageOptions
    from person_search.gallery.add_footage import index_footage
    from person_search.gallery.file_faults import is_of_earlier_engine
    from person_search.gallery.index import GalleryIndex

    from .start_gallery import draw_footage

    path = root / DRAWN_FILE
    if path.is_file() and is_of_earlier_engine(path):
        kept = path.replace(path.with_stem(f"{path.stem}-earlier"))
        print(f"{path} was made by an earlier version; it is kept as {kept}", file=sys.stderr)

    print(f"preparing the drawn gallery in {root} (once)", file=sys.stderr)
    with Progress("drawing") as shown:

        def show(done: int, total: int) -> None:
            shown.total = total
            shown.update(done)

        footage, examples = draw_footage(root / "drawn", on_progress=show)
    with GalleryIndex.open_or_create(
        path,
        fingerprint=finder.fingerprint,
        embedding_dim=finder.embedding_dim,
        card=finder.card,
    ) as index:
        options = FootageOptions(camera_from="folder", time_from="exif")
        index_footage(index, finder, [footage], options)
    return examples


def open_galleries(
    uris: Sequence[str], finder: "PersonFinder", footage: Path | None = None
) -> list["Gallery"]:
    """Open every gallery of some stores; a store without one gets an empty "gallery".

    Args:
        uris: files ending in .db, or addresses of servers.
        finder: the model that new galleries belong to.
        footage: folder that keeps what is added on the page; None for one beside each file.

    Raises:
        ValueError: another model made a gallery, or a server is given without ``footage``.
        OSError: a file cannot be opened.
    """
    from person_search.gallery.index import GalleryIndex, list_galleries

    from .service import Gallery

    opened: list[Gallery] = []
    try:
        for uri in uris:
            exists = "://" in uri or Path(uri).exists()
            for name in (list_galleries(uri) if exists else []) or ["gallery"]:
                index = GalleryIndex.open_or_create(
                    uri,
                    name,
                    fingerprint=finder.fingerprint,
                    embedding_dim=finder.embedding_dim,
                    card=finder.card,
                )
                place = footage / name if footage is not None else _beside(uri, name)
                opened.append(Gallery(_label(uri, name, opened), index, place))
    except BaseException:
        for gallery in opened:
            gallery.index.close()
        raise
    return opened


def _beside(uri: str, name: str) -> Path:
    if "://" in uri:
        return Path.cwd() / "footage" / name
    return Path(uri).resolve().with_suffix("") / name


def _label(uri: str, name: str, others: Sequence["Gallery"]) -> str:
    place = uri if "://" in uri else Path(uri).stem
    label = place if name == "gallery" else f"{place}: {name}"
    taken = {gallery.label for gallery in others}
    # A number, and not where it lies: visitors read it.
    names = itertools.chain([label], (f"{label} ({n})" for n in itertools.count(2)))
    return next(name for name in names if name not in taken)

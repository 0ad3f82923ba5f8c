"""``person-search merge``: copy the frames of a gallery into another one of the same model.

Files may become part of a server's gallery this way, or the other way round. Frames that are there
already are skipped.
"""

import argparse
import contextlib

from person_search.commands import recorded
from person_search.commands.model_arguments import GALLERY_HELP

IF_STOPPED = "what was copied stays; the same command again copies the rest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search merge``."""
    parser.add_argument("source", metavar="SOURCE", help=f"gallery to copy from: {GALLERY_HELP}")
    parser.add_argument(
        "--into", required=True, metavar="G", help="gallery to copy into; made where missing"
    )
    parser.add_argument(
        "--source-name", default="gallery", help="name of the gallery there (default: %(default)s)"
    )
    parser.add_argument("--name", help="name of the gallery here; default: as there")


def run(args: argparse.Namespace) -> int:
    """Copy what is missing; return the exit status 0.

    Raises:
        GalleryError: A gallery cannot be opened, both are the same, or of different models.
    """
    from person_search.gallery.add_footage import link_people
    from person_search.gallery.index import GalleryError, GalleryIndex

    with contextlib.ExitStack() as stack:
        source = stack.enter_context(GalleryIndex.open(args.source, args.source_name))
        target = stack.enter_context(
            GalleryIndex.open_or_create(
                args.into,
                args.name or args.source_name,
                fingerprint=source.fingerprint,
                embedding_dim=source.embedding_dim,
                card=source.card,
            )
        )
        if (source.uri, source.name) == (target.uri, target.name):
            raise GalleryError(f"{args.source} and {args.into} are the same gallery")
        recorded.use(source, "export gallery").said(format="merge").end()
        with recorded.use(target, "import") as use:
            count = target.merge(source)
            link_people(target)
            use.said(frames=count)
    print(f"copied {count} frames from {args.source} into {args.into}")
    return 0

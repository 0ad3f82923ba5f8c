"""``person-search draw``: write a drawn set, or pictures to judge it by."""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

from person_search.synthetic.contact_sheet import write_preview
from person_search.synthetic.cuhk_writer import write_cuhk_sysu
from person_search.synthetic.face_writer import write_faces
from person_search.synthetic.faces.sheet import write_face_preview
from person_search.synthetic.faces.spec import FACE_PRESETS
from person_search.synthetic.market_writer import write_market1501
from person_search.synthetic.output_folder import usable_cores
from person_search.synthetic.presets import ALL_PRESETS as PRESETS
from person_search.synthetic.prw_writer import write_prw
from person_search.synthetic.regdb_writer import write_regdb
from person_search.synthetic.sysu_writer import write_sysu_mm01
from person_search.synthetic.town.sheet import write_town_preview
from person_search.synthetic.town.spec import TOWN_PRESETS
from person_search.synthetic.town_writer import write_town

WRITERS: dict[str, Callable[..., Path]] = {
    "drawn-cuhk": write_cuhk_sysu,
    "drawn-dusk": write_market1501,
    "drawn-faces": write_faces,
    "drawn-mall": write_market1501,
    "drawn-market": write_market1501,
    "drawn-noon": write_market1501,
    "drawn-prw": write_prw,
    "drawn-regdb": write_regdb,
    "drawn-sysu": write_sysu_mm01,
    "drawn-town": write_town,
    "drawn-vhs": write_market1501,
    "tiny-town": write_town,
}

IF_STOPPED = "nothing half-drawn stays; the same command again draws it from the start"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search draw``."""
    parser.add_argument(
        "--set",
        choices=sorted(WRITERS),
        default="drawn-cuhk",
        help="which drawn world: drawn-cuhk is written in the layout of CUHK-SYSU, drawn-prw in "
        "that of PRW, drawn-market as crops with attributes in that of Market-1501; drawn-noon, "
        "drawn-dusk, drawn-mall and drawn-vhs likewise, each with a look of its own; drawn-sysu "
        "has colour and near-infrared crops in the layout of SYSU-MM01, drawn-regdb colour and "
        "thermal ones in that of RegDB; drawn-faces has aligned faces, a folder a person, with a "
        "pair list as LFW's; drawn-town has videos of six cameras on one clock, with true tracks "
        "as MOT Challenge's, and tiny-town a minute of two cameras (default: %(default)s)",
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=Path("datasets"),
        help="folder of the data sets; the set becomes a folder of its name in it "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        help="draw another world of the same kind; published numbers are for the default seed",
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="share of frames and identities to draw, e.g. 0.1 for a tenth; of a town, "
        "of its people (default: %(default)s)",
    )
    parser.add_argument(
        "--processes",
        type=int,
        help="how many processes draw; the result does not depend on it (default: one for each "
        "core)",
    )
    parser.add_argument(
        "--preview",
        type=int,
        metavar="N",
        help="write no data set but pictures into ROOT: N frames, N people from 8 sides, and of "
        "sets of crops the crops of N people; of faces N people; of a town N frames",
    )


def run(args: argparse.Namespace) -> int:
    """Draw what the arguments ask for and return the exit status 0.

    Raises:
        ValueError: An argument is out of range.
        OSError: The folder holds something else or cannot be written.
    """
    if args.set in FACE_PRESETS:
        return _draw_faces(args)
    if args.set in TOWN_PRESETS:
        return _draw_town(args)
    spec = PRESETS[args.set].scaled(args.scale)
    if args.seed is not None:
        spec = dataclasses.replace(spec, seed=args.seed)
    if args.preview is not None:
        for path in write_preview(spec, args.root, args.preview):
            print(f"wrote {path}")
        return 0
    root = WRITERS[args.set](spec, args.root / args.set, processes=_processes(args))
    print(f"{args.set} is in {root}")
    return 0


def _processes(args: argparse.Namespace) -> int:
    return usable_cores() if args.processes is None else int(args.processes)


def _draw_faces(args: argparse.Namespace) -> int:
    spec = FACE_PRESETS[args.set].scaled(args.scale)
    if args.seed is not None:
        spec = dataclasses.replace(spec, seed=args.seed)
    if args.preview is not None:
        print(f"wrote {write_face_preview(spec, args.root, args.preview)}")
        return 0
    root = write_faces(spec, args.root / args.set, processes=_processes(args))
    print(f"{args.set} is in {root}")
    return 0


def _draw_town(args: argparse.Namespace) -> int:
    spec = TOWN_PRESETS[args.set].scaled(args.scale)
    if args.seed is not None:
        spec = dataclasses.replace(spec, seed=args.seed)
    if args.preview is not None:
        print(f"wrote {write_town_preview(spec, args.root, args.preview)}")
        return 0
    root = write_town(spec, args.root / args.set, processes=_processes(args))
    print(f"{args.set} is in {root}")
    return 0

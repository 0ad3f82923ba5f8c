"""``person-search calibrate``: find the similarity below which a best match is probably wrong.

Searches a labelled test set with the model, once in galleries with the person and once without, and
writes the threshold beside the weights, where ``search`` and ``serve`` find it.
"""

import argparse
from pathlib import Path

from person_search.commands.model_arguments import add_device_argument, check_model_arguments
from person_search.inference.finder import PersonFinder
from person_search.inference.models import find_model
from reid_heads.trust import add_trust_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search calibrate``."""
    parser.add_argument("--config-file", metavar="C", help="config of a trained model")
    parser.add_argument("--weights", metavar="W", help="its weights")
    parser.add_argument(
        "--model", metavar="NAME|FILE", help="instead: an installed model, or an exported one"
    )
    parser.add_argument(
        "--dataset", required=True, help="a labelled test set, such as cuhk_sysu_test or prw_test"
    )
    parser.add_argument(
        "--root",
        type=Path,
        help="folder of the data sets' folders; default: $DETECTRON2_DATASETS or ./datasets",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="default: the model's file with .threshold.json"
    )
    add_device_argument(parser)
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Calibrate and say what the threshold costs; return the exit status 0.

    Raises:
        FileNotFoundError: The data set, config or weights are missing.
        ValueError: The data set is unknown or cannot be calibrated on.
    """
    check_model_arguments(args)
    if args.model is None and args.config_file is None:
        raise ValueError("name the model: --model, or --config-file and --weights")
    from person_search.inference.calibration import (
        calibrate_finder,
        calibrate_on_dataset,
        threshold_path,
    )

    if args.model is not None:
        file = find_model(args.model)
        path = args.output or threshold_path(file)
        finder = PersonFinder.load(file, device=args.device)
        found = calibrate_finder(finder, args.dataset, path, args.root)
    else:
        path = args.output or threshold_path(args.weights)
        found = calibrate_on_dataset(
            args.config_file, args.weights, args.dataset, args.root, path, device=args.device
        )
    print(
        f"threshold {found.threshold:.3f}: on {found.dataset}, with {found.num_queries} queries "
        f"in galleries of {found.gallery_size} frames,\n"
        f"{found.miss_rate:.1%} of the people who are there fall below it, and "
        f"{found.false_alarm_rate:.1%} of those who are not reach it.\nwrote {path}"
    )
    return 0

"""``person-search export``: write the model as one ONNX or TorchScript file."""

import argparse
from pathlib import Path

from reid_heads.torch_parts import hush_remarks
from reid_heads.trust import add_trust_argument

SUFFIXES = {"onnx": (".onnx",), "torchscript": (".ts", ".pt")}
"""Names that tell what is in a file; weights end in .pth."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search export``."""
    parser.add_argument(
        "--config-file", required=True, metavar="C", help="config of the model (YAML)"
    )
    parser.add_argument("--weights", required=True, metavar="W", help="its weights")
    parser.add_argument("--format", choices=tuple(SUFFIXES), default="onnx", help="default: onnx")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="file to write, ending in .onnx, or in .ts or .pt for torchscript",
    )
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="IMG",
        help="a picture with people, on which the file is compared with the model beside drawn "
        "ones; may be repeated",
    )
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Export, and print the largest differences between the file and the model.

    Args:
        args: as `add_arguments` gives them.

    Returns:
        The exit status, 0.

    Raises:
        OSError: if a file is missing or cannot be written.
        ValueError: if arguments or files do not fit, or the model cannot be exported.
    """
    if args.output.suffix not in SUFFIXES[args.format]:
        raise ValueError(
            f"--output is {args.output}; expected a name ending in "
            f"{' or '.join(SUFFIXES[args.format])} for --format {args.format}"
        )
    # Slow to import.
    from person_search.export.exporter import export_finder
    from person_search.footage.images import read_image
    from person_search.inference.finder import PersonFinder
    from person_search.synthetic.sample_pictures import draw_sample_pictures

    hush_remarks()
    pictures = [*draw_sample_pictures(), *(read_image(name) for name in args.image)]
    finder = PersonFinder.from_config(args.config_file, args.weights, device="cpu")
    export = export_finder(finder, args.output, args.format, pictures=pictures)
    threshold = "none" if export.info.threshold is None else f"{export.info.threshold:.3f}"
    print(f"wrote {export.path}: {export.size / 2**20:.1f} MiB")
    print(
        f"model {export.info.fingerprint[:12]}, {export.info.embedding_dim} values an embedding, "
        f"similarity threshold: {threshold}"
    )
    print(f"compared with the model: {export.differences}")
    if export.differences.people == 0:
        print("nobody was found in these pictures; --image with a picture of people says more")
    return 0

"""Make images from a trained crop net alone: ``python -m reid_heads.invert --help``.

Closed set, images of identities that it was trained on; open set, images towards the embeddings of
given crops. Writes a grid beside real crops and a report of what the images are worth.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reid_heads.atomic_file import atomic_file, save_json
from reid_heads.config import load_config
from reid_heads.data.own_data import register_own_data
from reid_heads.inversion.images import InversionSettings, Objective, classify_as, invert, resemble
from reid_heads.inversion.report import Pixels, draw_grid, format_report, measure_similarity
from reid_heads.inversion.targets import Network, Targets, embedding_targets, identity_targets
from reid_heads.trust import add_trust_argument, trusted_files

GRID_CROPS = 3
WITH_PRIOR, WITHOUT_PRIOR = "inverted", "inverted without BatchNorm statistics"


def make_images(
    network: Network, targets: Targets, settings: InversionSettings, batch_size: int
) -> list[Tensor]:
    """Invert all targets, batch by batch, in batches of about the same size."""
    model, total = network.model, len(targets.identities)
    images: list[Tensor] = []
    for number, rows in enumerate(split_batches(total, batch_size)):
        objective: Objective
        if targets.is_open:
            reals = [network.read(targets.crops[row]) for row in rows]
            objective = resemble(torch.from_numpy(network.embed(reals)))
        else:
            objective = classify_as(model, torch.tensor([targets.identities[row] for row in rows]))
        seeded = dataclasses.replace(settings, seed=settings.seed + number)
        images += list(invert(model, objective, len(rows), network.size, seeded).images.cpu())
    return images


def split_batches(total: int, batch_size: int) -> list[list[int]]:
    """Split 0..total-1 into the fewest batches of at most that size, all about equally large.

    Raises:
        ValueError: for a size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"--batch-size is {batch_size}; expected at least 1")
    return [part.tolist() for part in np.array_split(np.arange(total), -(-total // batch_size))]


def measure(
    images: Sequence[Tensor],
    networks: dict[str, Network],
    real: dict[str, np.ndarray],
    targets: Targets,
    batch_size: int,
) -> dict[str, Any]:
    """Return a row of the report: images made by the first network, in all networks' eyes.

    ``real`` has the embeddings of ``targets.crops`` by each network.
    """
    first = next(iter(networks.values()))
    row: dict[str, Any] = {"statistics": mean_statistics(first, images, batch_size)}
    if targets.crops:
        pictures = [first.picture(image) for image in images]
        people = [crop["person_id"] for crop in targets.crops]
        for name, network in networks.items():
            rows = network.embed([network.image(picture) for picture in pictures])
            row[name] = measure_similarity(rows, targets.identities, real[name], people)
    return row


def measure_real(
    network: Network, real: dict[str, np.ndarray], targets: Targets, batch_size: int
) -> dict[str, Any]:
    """Return the row of the targets' real crops, of which there must be some.

    The similarities are between different crops of an identity; in the open set, where each target
    is one crop, they are not measured. The statistics are of one crop of each.
    """
    people = [crop["person_id"] for crop in targets.crops]
    ones = [network.read(targets.crops[people.index(pid)]) for pid in targets.identities]
    row: dict[str, Any] = {"statistics": mean_statistics(network, ones, batch_size)}
    if not targets.is_open:
        wanted = set(targets.identities)
        rows = [k for k, pid in enumerate(people) if pid in wanted]
        own = [people[k] for k in rows]
        for name, embeddings in real.items():
            row[name] = measure_similarity(embeddings[rows], own, embeddings, people, rows)
    return row


def mean_statistics(network: Network, images: Sequence[Tensor], batch_size: int) -> float:
    """Return the mean distance of BatchNorm statistics over the batches of the images."""
    batches = split_batches(len(images), batch_size)
    return float(np.mean([network.statistics([images[k] for k in rows]) for rows in batches]))


def grid_of(network: Network, images: dict[str, list[Tensor]], targets: Targets) -> Pixels:
    """Lay images out beside crops of the same identity, drawn ones of drawn sets."""
    short = {WITH_PRIOR: "inverted", WITHOUT_PRIOR: "no BN"}
    columns: dict[str, list[Pixels | None]] = {
        short[name]: [network.picture(image) for image in made] for name, made in images.items()
    }
    real: dict[int, list[dict[str, Any]]] = {}
    for crop in targets.crops:
        real.setdefault(crop["person_id"], []).append(crop)
    most = 1 if targets.is_open else GRID_CROPS
    for k in range(most if real else 0):
        crops = [real[pid][k] if len(real.get(pid, ())) > k else None for pid in targets.identities]
        columns["crop" + " " * k] = [
            None if crop is None else network.picture(network.read(crop)) for crop in crops
        ]
    return draw_grid(columns)


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m reid_heads.invert",
        description="Make images of people from a trained crop net alone: by its gradient and the "
        "means and standard deviations that its BatchNorms remember. Writes grid.png, report.json, "
        "report.md and every image into a folder.",
    )
    add_trust_argument(parser)
    add = parser.add_argument
    add("--config-file", required=True, metavar="C", help="that the network was trained with")
    add("--weights", required=True, metavar="W", help="its checkpoint")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--identities",
        nargs="+",
        type=int,
        metavar="ID",
        help="closed set: identities of its training, counted from 0",
    )
    target.add_argument(
        "--embedding",
        nargs="+",
        metavar="CROP",
        help="open set: crops of anyone; the images are to have the crops' embeddings",
    )
    add("--output", required=True, type=Path, metavar="DIR", help="folder to write into")
    add("--second-config", metavar="C2", help="config of a second network, to embed the images too")
    add("--second-weights", metavar="W2", help="its checkpoint")
    add(
        "--no-ablation",
        action="store_true",
        help="do not make the images without the BatchNorm statistics as well",
    )
    add(
        "--batch-size",
        type=int,
        default=64,
        metavar="B",
        help="images that are made together and share their statistics (default 64)",
    )
    _add_settings(add)
    return parser


def _add_settings(add: Any) -> None:
    defaults = InversionSettings()
    texts = {
        "iterations": "steps",
        "learning_rate": "of Adam",
        "objective_weight": "of the classification or of the distance to the embedding",
        "statistics_weight": "of the BatchNorm statistics",
        "variation_weight": "of total variation",
        "norm_weight": "of the l2 norm",
        "flip_probability": "of mirroring the batch in a step",
        "jitter": "pixels that the batch is shifted by in a step, at most",
        "seed": "of the noise that images start as",
    }
    for name, text in texts.items():
        value = getattr(defaults, name)
        flag = f"--{name.replace('_', '-')}"
        add(flag, type=type(value), default=value, metavar="X", help=f"{text} (default {value:g})")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        0, or 2 after an error, which is printed to the standard error.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    if (args.second_config is None) != (args.second_weights is None):
        parser.error("--second-config and --second-weights belong together")
    try:
        with trusted_files(args.trust_this_file):
            report = run(args)
    except (ValueError, OSError, KeyError, FloatingPointError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"error: {message}", file=sys.stderr)
        return 2
    print(format_report(report))
    print(f"written to {args.output}")
    return 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Make the images, measure them, write everything; return the report."""
    names = [f.name for f in dataclasses.fields(InversionSettings) if hasattr(args, f.name)]
    settings = InversionSettings(**{name: getattr(args, name) for name in names})
    cfg = load_config(args.config_file)
    register_own_data(cfg)
    networks = {"same network": Network(cfg, args.weights)}
    if args.second_config is not None:
        second = load_config(args.second_config)
        networks["second network"] = Network(second, args.second_weights)
    first = networks["same network"]
    targets = (
        embedding_targets(args.embedding)
        if args.embedding
        else identity_targets(cfg, args.identities)
    )
    # Before the long part, so that unreadable crops are told at once.
    real = {
        name: network.embed([network.read(crop) for crop in targets.crops])
        for name, network in networks.items()
        if targets.crops
    }
    variants = {WITH_PRIOR: settings}
    if not args.no_ablation:
        variants[WITHOUT_PRIOR] = dataclasses.replace(settings, statistics_weight=0.0)
    images, seconds = {}, {}
    for name, chosen in variants.items():
        started = time.perf_counter()
        images[name] = make_images(first, targets, chosen, args.batch_size)
        seconds[name] = time.perf_counter() - started
    rows = {
        name: {"seconds": seconds[name], **measure(made, networks, real, targets, args.batch_size)}
        for name, made in images.items()
    }
    noise = start_noise(first, len(targets.identities), settings.seed)
    rows["noise, as at the start"] = measure(noise, networks, real, targets, args.batch_size)
    if targets.crops:
        rows["real crops"] = measure_real(first, real, targets, args.batch_size)
    kind = "towards embeddings of crops" if targets.is_open else "of training identities"
    report = {
        "title": f"Inversion: {len(targets.names)} images {kind}",
        "config_file": args.config_file,
        "weights": args.weights,
        "second_weights": args.second_weights,
        "targets": targets.names,
        "settings": {**dataclasses.asdict(settings), "batch_size": args.batch_size},
        "rows": rows,
    }
    write(args.output, report, first, images, targets)
    return report


def start_noise(network: Network, count: int, seed: int) -> list[Tensor]:
    """Return images of the noise that inversion starts from, of N(0, 1) before the pixel range."""
    model = network.model
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((count, 3, *network.size), generator=generator)
    pixels = noise * model.pixel_std.cpu() + model.pixel_mean.cpu()
    return list(pixels.round().clamp(0, 255).to(torch.uint8))


def write(
    folder: Path,
    report: dict[str, Any],
    network: Network,
    images: dict[str, list[Tensor]],
    targets: Targets,
) -> None:
    """Write report.json, report.md, grid.png, and the images by variant and target."""
    save_json(folder / "report.json", report)
    with atomic_file(folder / "report.md") as file:
        file.write(format_report(report).encode())
    _save_png(folder / "grid.png", grid_of(network, images, targets))
    for name, made in images.items():
        variant = {WITH_PRIOR: "inverted", WITHOUT_PRIOR: "without_statistics"}[name]
        for k, image in enumerate(made):
            _save_png(folder / variant / f"{k:04d}.png", network.picture(image))


def _save_png(path: Path, picture: Pixels) -> None:
    with atomic_file(path) as file:
        Image.fromarray(picture).save(file, "PNG")


if __name__ == "__main__":
    sys.exit(main())

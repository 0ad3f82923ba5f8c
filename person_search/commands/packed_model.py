"""A training's run as a folder that others can use: ``person-search models pack``."""

import argparse
import dataclasses
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from person_search.evaluation.results_file import ResultsFile
from person_search.inference.json_object import parse_object
from person_search.inference.model_card import DRAWN_PEOPLE, ModelCard, card_path
from person_search.inference.models import CONFIG_NAME
from person_search.inference.threshold_file import Calibration, threshold_path
from reid_heads.trust import add_trust_argument

if TYPE_CHECKING:
    from person_search.inference.finder import PersonFinder

_SAID = ("name", "licence", "domain", "trained_on", "source", "limits")
"""Of a card, that options can say."""

_ASKED = {
    "licence": "the licence of the weights is not known; give it by --licence, an SPDX identifier "
    "such as Apache-2.0, or a sentence: without one nobody may use them",
    "domain": "it is not known whom the model knows; give it by --domain, such as 'people in a "
    "railway station, by day'",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search models pack``."""
    add = parser.add_argument
    add("run_dir", type=Path, metavar="RUN_DIR", help="OUTPUT_DIR of a training")
    add(
        "--checkpoint",
        type=Path,
        metavar="F",
        help="default: the last one, or model_best.pth and so on, by its name",
    )
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--output", type=Path, metavar="FOLDER", help="new folder to write")
    place.add_argument("--as", dest="installed", metavar="NAME", help="install it by this name")
    add("--onnx", action="store_true", help="also as an export, which runs without PyTorch")
    add(
        "--threshold",
        type=Path,
        metavar="F",
        help="a calibration of this model; default: the one beside the checkpoint",
    )
    add(
        "--results",
        type=Path,
        action="append",
        metavar="F",
        help="a results file of this model, from which the card's numbers are; repeatable; "
        "default: RUN_DIR/inference/results.json, or of several test sets each one's",
    )
    add_trust_argument(parser)
    card = parser.add_argument_group(
        "card", "default: what CHECKPOINT.card.json says, where there is one"
    )
    card.add_argument("--name", help="default: that of the folder")
    card.add_argument("--licence", help="of the weights: an SPDX identifier, or a sentence")
    card.add_argument("--domain", help="whom it knows, as 'this model knows … only' can say")
    card.add_argument("--trained-on", help="default: data sets and iterations of the run")
    card.add_argument("--source", help="who made it, or where more is to be read")
    card.add_argument("--limits", help="what it is not made for")


def pack(args: argparse.Namespace, folder: Path) -> "PersonFinder":
    """Write a model's folder, and say on the standard error what it was made of.

    Args:
        args: as `add_arguments` gives them.
        folder: to write.

    Returns:
        The model, which does the same to the last bit as what was written.

    Raises:
        FileExistsError: if there is something in the folder.
        FileNotFoundError: if there is no such run, checkpoint, calibration or results file.
        ModuleNotFoundError: without PyTorch, detectron2 or safetensors.
        ValueError: if something is not known that others must know, a file is of another model, or
            the model cannot be packed.
    """
    from person_search.inference.finder import PersonFinder
    from person_search.inference.packed_model import write_packed_model
    from reid_heads.torch_parts import hush_remarks

    hush_remarks()
    config, checkpoint = args.run_dir / CONFIG_NAME, find_checkpoint(args.run_dir, args.checkpoint)
    # What is missing is said before the model is loaded.
    card = make_card(args, config, checkpoint, folder.name)
    finder = PersonFinder.from_config(config, checkpoint, device="cpu")
    calibration = find_calibration(args.threshold, checkpoint, finder)
    results = find_results(args.results, args.run_dir, finder)
    card = dataclasses.replace(card, numbers=collect_numbers(results))
    threshold = None if calibration is None else calibration.threshold
    finder = PersonFinder(finder.network, card=card, threshold=threshold)

    def export(new: Path) -> None:
        from person_search.export.exporter import export_finder
        from person_search.synthetic.sample_pictures import draw_sample_pictures

        export_finder(finder, new / "model.onnx", pictures=draw_sample_pictures())

    add_files = export if args.onnx else None
    write_packed_model(
        finder, folder, card, calibration=calibration, results=results, add_files=add_files
    )
    used = [checkpoint, config, *(file.path for file in results)]
    print(f"packed {', '.join(map(str, used))}; read back to the last bit", file=sys.stderr)
    return finder


def find_checkpoint(run: Path, named: Path | None) -> Path:
    """Return the checkpoint of a run that is meant.

    Args:
        run: folder of the run.
        named: a file, or the name of one in that folder; None: the last one.

    Raises:
        FileNotFoundError: if there is no such run or file.
    """
    if not (run / CONFIG_NAME).is_file():
        raise FileNotFoundError(
            f"{run} has no {CONFIG_NAME}; expected OUTPUT_DIR of person_search.train_net"
        )
    if named is not None:
        file = named if named.is_file() else run / named
    else:
        tag, final = run / "last_checkpoint", run / "model_final.pth"
        last = tag.read_text().strip() if tag.is_file() else final.name
        # The best weights are tagged as the last, too, when an evaluation finds them.
        file = final if last == "model_best.pth" and final.is_file() else run / last
    if not file.is_file():
        there = ", ".join(sorted(x.name for x in run.glob("*.pth"))) or "none"
        raise FileNotFoundError(
            f"there is no checkpoint {file}; name one by --checkpoint. In {run}: {there}"
        )
    return file


def make_card(args: argparse.Namespace, config: Path, checkpoint: Path, name: str) -> ModelCard:
    """Return the card of a new model, without numbers: of what options, card and config say.

    Args:
        args: the options.
        config: of the run.
        checkpoint: that is packed; a card may lie beside it.
        name: of the model, where nobody says it.

    Raises:
        FileNotFoundError: if there is no config.
        ValueError: if the licence or the domain is said nowhere, or the card is none.
    """
    path = card_path(checkpoint)
    beside = parse_object(path.read_bytes(), str(path)) if path.is_file() else {}
    said = {key: getattr(args, key) for key in _SAID if getattr(args, key)}
    content: dict[str, Any] = {"name": name, **_say_training(config, checkpoint), **beside, **said}
    for key, problem in _ASKED.items():
        if not str(content.get(key) or "").strip():
            raise ValueError(f"{checkpoint}: {problem}")
    return ModelCard.from_dict(content | {"numbers": {}}, str(path))


def _say_training(config: Path, checkpoint: Path) -> dict[str, str]:
    """Say what a config tells of a training."""
    from person_search.config import load_config

    cfg = load_config(str(config))
    text = ", ".join(cfg.DATASETS.TRAIN)
    if (iterations := _count_iterations(checkpoint, cfg.SOLVER.MAX_ITER)) is not None:
        text += f"; {iterations:,} iterations of {cfg.SOLVER.IMS_PER_BATCH} pictures"
    start = Path(cfg.MODEL.WEIGHTS)
    # Scoring a run writes its config anew, with what was scored.
    if cfg.MODEL.WEIGHTS and start.resolve().parent != config.resolve().parent:
        text += f", from {start.name}"
    if cfg.MODEL.PERSON_SEARCH.STL.CONFIG_FILE or cfg.MODEL.PERSON_SEARCH.STL.WEIGHTS:
        text += ", after a first stage on crops"
    told = {"trained_on": text}
    if all(name.startswith("drawn_") for name in cfg.DATASETS.TRAIN):
        told["domain"] = DRAWN_PEOPLE
    return told


def _count_iterations(checkpoint: Path, whole: int) -> int | None:
    """Return after how many iterations a checkpoint was written; None where nothing tells."""
    if checkpoint.stem == "model_final":
        return whole
    if match := re.search(r"_(\d{7})$", checkpoint.stem):
        return int(match[1]) + 1
    beside = checkpoint.with_suffix(".json")
    if checkpoint.stem == "model_best" and beside.is_file():
        # Counted from 0, but after the last one from 1.
        return min(int(parse_object(beside.read_bytes(), str(beside))["iteration"]) + 1, whole)
    return None


def find_calibration(
    named: Path | None, checkpoint: Path, finder: "PersonFinder"
) -> Calibration | None:
    """Return the calibration of a model; None where there is none.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a file that was named is of another model.
    """
    path = threshold_path(checkpoint) if named is None else named
    if named is None and not path.is_file():
        return None
    calibration = Calibration.load(path)
    if calibration.fingerprint == finder.fingerprint:
        return calibration
    if named is None:
        print(f"{path} is of another model, so it is left out", file=sys.stderr)
        return None
    raise ValueError(
        f"{path} was made with another model ({calibration.fingerprint[:12]}) than {checkpoint} "
        f"({finder.fingerprint[:12]}); make it anew with `person-search calibrate`"
    )


def find_results(
    named: Sequence[Path] | None, run: Path, finder: "PersonFinder"
) -> list[ResultsFile]:
    """Return the results files of a model.

    Args:
        named: by the user; None: what the training left, of each test set, if it is of this model.
        run: folder of the training.
        finder: with the model.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a file that was named is of another model, or does not say of which.
    """
    if named is None:
        usual = run / "inference" / "results.json"
        named_or_left = [usual] if usual.is_file() else sorted(usual.parent.glob("*/results.json"))
    else:
        named_or_left = list(named)
    files = [ResultsFile.load(path) for path in named_or_left]
    for file in files:
        if file.model == finder.fingerprint:
            continue
        what = f"is of another model ({file.model[:12]})" if file.model else "does not say of which"
        what += (
            f" than that which is packed ({finder.fingerprint[:12]})" if file.model else " model"
        )
        if named is None:
            print(f"{file.path} {what}, so its numbers are left out", file=sys.stderr)
            return []
        raise ValueError(
            f"{file.path} {what}: score this one by `python -m person_search.train_net --eval-only`"
        )
    return files


def collect_numbers(files: Sequence[ResultsFile]) -> dict[str, float]:
    """Return the numbers of results files by names that say on what.

    Raises:
        ValueError: if two files have different numbers of one name.
    """
    numbers: dict[str, float] = {}
    for file in files:
        for what, value in file.numbers.items():
            name = f"{Path(file.dataset).name}: {what}"
            if numbers.setdefault(name, value) != value:
                raise ValueError(
                    f"{file.path} has {value} for {name!r}, another file {numbers[name]}; leave one"
                )
    return numbers

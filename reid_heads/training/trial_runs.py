"""Protocols of several trials: a model for each of them, or one model tested on each.

``{trial}`` in a name of ``DATASETS.TRAIN`` or ``DATASETS.TEST`` stands for each number of
``DATASETS.TRIALS``. In TRAIN it asks for a training a trial (RegDB: the test people of one split
are training people of another); in TEST alone for one training, tested on every trial (the small
sets of domain generalization). Either way the results are averaged.
"""

import argparse
import contextlib
import copy
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from reid_heads.atomic_file import save_json
from reid_heads.evaluation.averaging import average_results

PLACEHOLDER = "{trial}"

logger = logging.getLogger(__name__)


def check_trials(cfg: CfgNode) -> None:
    """Compare the placeholders with ``DATASETS.TRIALS``.

    Raises:
        ValueError: if there are trials without a placeholder or the other way round, or a training
            a trial whose test is the same for all.
    """
    train, test = (_has_placeholder(cfg.DATASETS[key]) for key in ("TRAIN", "TEST"))
    trials = list(cfg.DATASETS.TRIALS)
    if bool(trials) != (train or test):
        raise ValueError(
            f"DATASETS.TRIALS is {trials}, DATASETS.TRAIN {list(cfg.DATASETS.TRAIN)} and "
            f"DATASETS.TEST {list(cfg.DATASETS.TEST)}; expected trials together with names that "
            f"have {PLACEHOLDER} in them, or neither"
        )
    if train and not test:
        raise ValueError(
            f"DATASETS.TRAIN has {PLACEHOLDER}, but DATASETS.TEST is {list(cfg.DATASETS.TEST)}: "
            "the models of several trials are tested on their own trial"
        )
    if len(set(trials)) < len(trials):
        raise ValueError(f"DATASETS.TRIALS is {trials}; expected each number once")


def trains_each_trial(cfg: CfgNode) -> bool:
    """Return whether each trial has a training of its own."""
    return _has_placeholder(cfg.DATASETS.TRAIN)


def fill_in(names: Sequence[str], trials: Sequence[int]) -> list[str]:
    """Return the names, those with a placeholder once for each trial."""
    return [
        name.replace(PLACEHOLDER, str(trial))
        for name in names
        for trial in (trials if PLACEHOLDER in name else trials[:1] or [0])
    ]


def run_each_trial(
    cfg: CfgNode, args: argparse.Namespace, run: Callable[[argparse.Namespace], Any]
) -> OrderedDict | None:
    """Train and test each trial in ``OUTPUT_DIR/trial_<n>``, one after the other, and average.

    ``--resume`` continues with the trial that was interrupted. ``--eval-only`` takes the weights
    from ``MODEL.WEIGHTS`` with ``{trial}`` filled in or, where that is not given, from the trial's
    own folder.

    Args:
        cfg: with the placeholders; not changed.
        args: detectron2's command line.
        run: what a trial is run with: the command line with the trial filled in.

    Returns:
        The averaged results on the main process, also in ``OUTPUT_DIR/inference/results.json``
        with those of each trial.
    """
    results = []
    for trial in cfg.DATASETS.TRIALS:
        output = f"{cfg.OUTPUT_DIR}/trial_{trial}"
        settings = {
            "OUTPUT_DIR": output,
            "DATASETS.TRIALS": "()",
            "DATASETS.TRAIN": str(tuple(fill_in(cfg.DATASETS.TRAIN, [trial]))),
            "DATASETS.TEST": str(tuple(fill_in(cfg.DATASETS.TEST, [trial]))),
            "MODEL.WEIGHTS": cfg.MODEL.WEIGHTS.replace(PLACEHOLDER, str(trial)),
        }
        if args.eval_only and PLACEHOLDER not in cfg.MODEL.WEIGHTS:
            settings["MODEL.WEIGHTS"] = f"{output}/model_final.pth"
        own = copy.copy(args)
        own.opts = [*args.opts, *(part for pair in settings.items() for part in pair)]
        with log_of_its_own():
            results.append(run(own))
    if not comm.is_main_process():
        return None
    averaged = average_results(results)
    by_trial = {str(t): r for t, r in zip(cfg.DATASETS.TRIALS, results, strict=True)}
    save_averages(Path(cfg.OUTPUT_DIR), averaged, by_trial)
    return averaged


@contextlib.contextmanager
def log_of_its_own() -> Iterator[None]:
    """Take back the log files and outputs that are set up inside the context.

    detectron2 adds them for each output folder and never takes one away: every further training of
    a process would write each line once more, and into the files of those before it.
    """
    before = {name: list(_logger(name).handlers) for name in _logger_names()}
    try:
        yield
    finally:
        for name in _logger_names():
            for handler in set(_logger(name).handlers) - set(before.get(name, [])):
                _logger(name).removeHandler(handler)
                handler.close()
        # It remembers for which folders it did so.
        setup_logger.cache_clear()


def _logger_names() -> list[str]:
    return list(logging.root.manager.loggerDict)


def _logger(name: str) -> logging.Logger:
    return logging.getLogger(name)


def average_trials(
    cfg: CfgNode, test: Callable[[CfgNode], OrderedDict[str, Any]]
) -> OrderedDict[str, Any]:
    """Test a model on every trial of ``DATASETS.TEST``; average those of one name.

    Args:
        cfg: with the placeholders; not changed.
        test: tests the model on a config's test sets and returns results as detectron2 does: by
            name where there are several, else the only one's.

    Returns:
        As ``test`` does, for the names of ``DATASETS.TEST`` as they stand; on the main process. The
        averages are in ``OUTPUT_DIR/inference/results.json`` too, with the trials.
    """
    names = fill_in(cfg.DATASETS.TEST, cfg.DATASETS.TRIALS)
    filled = cfg.clone()
    filled.defrost()
    filled.DATASETS.TEST = tuple(names)
    filled.freeze()
    found = test(filled)
    if not comm.is_main_process():
        return found
    by_name = found if len(names) > 1 else OrderedDict({names[0]: found})
    averaged: OrderedDict[str, Any] = OrderedDict()
    for template in cfg.DATASETS.TEST:
        own = [by_name[name] for name in fill_in([template], cfg.DATASETS.TRIALS)]
        averaged[template] = average_results(own) if PLACEHOLDER in template else own[0]
        numbers = ", ".join(f"{k} {v:.2f}" for k, v in averaged[template]["reid"].items())
        logger.info("%s, mean of %d: %s", template, len(own), numbers)
    if len(averaged) == 1:
        averaged = next(iter(averaged.values()))
    save_averages(Path(cfg.OUTPUT_DIR), averaged, by_name)
    return averaged


def save_averages(output_dir: Path, averaged: dict[str, Any], parts: dict[str, Any]) -> None:
    """Write the averages, and what they are of, to ``inference/results.json``."""
    save_json(output_dir / "inference/results.json", {**averaged, "parts": parts})


def _has_placeholder(names: Sequence[str]) -> bool:
    return any(PLACEHOLDER in name for name in names)

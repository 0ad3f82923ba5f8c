import argparse
import contextlib
import os
import threading
from functools import partial

import numpy as np
import pytest

import person_search.evaluate
import reid_heads.crop_export
import reid_heads.data.label_noise
import reid_heads.faces.parser
import reid_heads.invert
import reid_heads.purify
from person_search.cli import main
from person_search.commands.registry import find_commands
from person_search.evaluation.predictions import load_predictions, read_predictions_model
from reid_heads.evaluation.embeddings import load_embeddings
from reid_heads.evaluation.features import load_features
from reid_heads.faces.people_file import load_people
from reid_heads.trust import SWITCH, files_are_trusted, trusted_files

PROGRAMS = {
    module.__name__: module.build_parser
    for module in (
        person_search.evaluate,
        reid_heads.crop_export,
        reid_heads.data.label_noise,
        reid_heads.faces.parser,
        reid_heads.invert,
        reid_heads.purify,
    )
}
# By which a command is given a file that could hold more than data.
GIVEN = {"--config-file", "--weights", "--model", "--faces", "--checkpoint", "--dataset"}
# Of these commands it names something else, or a model that is only looked for.
OTHER = {"doctor": {"--model"}}


def parsers(parser):
    """Yield a parser and those of its subcommands."""
    inner = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not inner:
        yield parser
    for action in inner:
        for one in action.choices.values():
            yield from parsers(one)


def all_parsers():
    for name, command in find_commands().items():
        parser = argparse.ArgumentParser(name)
        command.load()[0](parser)
        yield from ((name, one) for one in parsers(parser))
    for name, build in PROGRAMS.items():
        yield from ((name, one) for one in parsers(build()))


def test_every_command_that_reads_such_a_file_has_the_switch():
    checked, without = 0, []
    for name, parser in all_parsers():
        options = {text for action in parser._actions for text in action.option_strings}
        if GIVEN & options - OTHER.get(name, set()):
            checked += 1
            without += [] if SWITCH in options else [parser.prog]
    assert checked > 10 and not without


def test_trust_ends_with_its_context_and_is_of_one_thread():
    seen = []
    with trusted_files():
        with trusted_files(False):
            assert files_are_trusted()
        thread = threading.Thread(target=lambda: seen.append(files_are_trusted()))
        thread.start()
        thread.join()
    assert seen == [False] and not files_are_trusted()


@pytest.mark.parametrize("switch", [[], [SWITCH]])
def test_a_command_runs_a_config_when_it_is_trusted_only(tmp_path, capsys, switch):
    marker, config = tmp_path / "was_run", tmp_path / "foreign.yaml"
    config.write_text(
        f'OUTPUT_DIR: !!python/object/apply:subprocess.getoutput ["touch {marker}"]\n'
    )
    arguments = ["--config-file", str(config), "--weights", "x.pth", "--output", "x.onnx"]
    assert main(["export", *arguments, *switch]) == 2
    assert marker.exists() == bool(switch)
    message = capsys.readouterr().err
    assert ("foreign.yaml, line 1" in message and f"add {SWITCH}" in message) != bool(switch)


class Runs:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize(
    "load",
    [
        load_predictions,
        read_predictions_model,
        load_features,
        load_embeddings,
        partial(load_people, model_digest="", embedding_dim=4),
    ],
)
def test_arrays_that_would_run_code_are_refused(tmp_path, load):
    marker, file = tmp_path / "was_run", tmp_path / "foreign.npz"
    runs = np.array([Runs(marker)], dtype=object)
    names = ("image_names", "query_features", "features", "people", "names", "model")
    np.savez(file, **dict.fromkeys(names, runs))
    with pytest.raises(ValueError, match=r"foreign\.npz|Object arrays"):
        load(file)
    assert not marker.exists()
    with np.load(file, allow_pickle=True) as archive, contextlib.suppress(TypeError):
        archive["model"]
    assert marker.exists(), "the file could do no harm, so refusing it shows nothing"

"""Which models there are, and where: those that were installed, and the one that comes along.

An installed model is a folder of ``$PERSON_SEARCH_HOME/models``, by its name. It holds one of

- ``model.onnx``: an export, which may have its card inside;
- ``model.safetensors`` with ``config.yaml``: one that was packed, which runs in PyTorch. Where its
  export is there, too, that is taken, as it runs everywhere: both have one fingerprint;
- ``model.pth`` with ``config.yaml``: a trained model, which runs in PyTorch;
- ``model.json``: two steps, a detector and a crop network, as
  `person_search.inference.two_step_file` describes them;

and ``model.card.json``, which says what the model is.
"""

import os
import re
import tempfile
from importlib.resources import files
from pathlib import Path

from person_search.inference.model_card import ModelCard

BUILTIN = "drawn-people"
"""Name of the model that comes with the code."""
MAIN_FILES = ("model.onnx", "model.safetensors", "model.pth", "model.json")
"""Of which a model's folder has one; of two the first is taken."""
CONFIG_NAME = "config.yaml"


def models_folder() -> Path:
    """Return where models are installed, which need not exist.

    It is ``$PERSON_SEARCH_HOME/models``, below ``~/.cache/person_search`` where that is not set.
    """
    home = os.environ.get("PERSON_SEARCH_HOME")
    return (Path(home) if home else Path.home() / ".cache" / "person_search") / "models"


def installed_models() -> dict[str, Path]:
    """Return the main file of each installed model by its name, the newest first.

    Raises:
        OSError: if the folder of models is there and cannot be read.
    """
    found = []
    try:
        folders = list(models_folder().iterdir())
    except (FileNotFoundError, NotADirectoryError):
        folders = []
    except OSError as error:
        raise _no_place(error) from error
    for folder in folders:
        # One that begins with a dot is being written, or was when its process was killed.
        file = None if folder.name.startswith(".") else _main_file(folder)
        if file is not None:
            found.append((file.stat().st_mtime, folder.name, file))
    return {name: file for _, name, file in sorted(found, reverse=True)}


def make_models_folder() -> None:
    """Make the folder of installed models, and try whether one can be written there.

    Raises:
        OSError: if not.
    """
    root = models_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Only trying tells: root may write where a file system does not take anything.
        tempfile.TemporaryDirectory(dir=root, prefix=".").cleanup()
    except OSError as error:
        raise _no_place(error) from error


def _no_place(error: OSError) -> OSError:
    """Say of an error with the folder of models what is to be changed."""
    home = os.environ.get("PERSON_SEARCH_HOME")
    said = f"PERSON_SEARCH_HOME is {home}" if home else "PERSON_SEARCH_HOME is not set"
    return OSError(
        f"{said}: there can be no models in {models_folder()} ({error.strerror}); set "
        "PERSON_SEARCH_HOME to a folder that you may read and write"
    )


def folder_of(name: str) -> Path:
    """Return the folder of an installed model, which need not exist.

    Raises:
        ValueError: if no installed model can have that name.
    """
    if name == BUILTIN or not re.fullmatch(r"\w[\w.-]{0,99}", name):
        raise ValueError(
            f"a model cannot be named {name!r}; expected letters, digits, '.', '_' and '-', at "
            f"most 100, the first a letter or digit, and not {BUILTIN}, such as street"
        )
    return models_folder() / name


def builtin_model() -> Path:
    """Return the export that comes with the code. It knows drawn people only."""
    return Path(str(files("person_search") / "models" / "drawn_people.onnx"))


def find_model(model: str | Path) -> Path:
    """Return the main file of a model.

    Args:
        model: an ONNX file, a folder as this module describes, or the name of an installed model;
            ``drawn-people`` is the one that comes along.

    Raises:
        FileNotFoundError: if there is no such model; names those that there are.
        OSError: if the folder of installed models cannot be read.
        ValueError: if it is a file of another kind, or a folder without a model.
    """
    path = Path(model)
    if path.is_dir() and (file := _main_file(path)) is not None:
        return file
    if path.is_file() and (path.suffix == ".onnx" or path.name in MAIN_FILES):
        return path
    # Something else of that name may lie in the working directory.
    if str(model) == BUILTIN:
        return builtin_model()
    named = {**installed_models(), BUILTIN: builtin_model()}
    if str(model) in named:
        return named[str(model)]
    if path.is_dir():
        raise ValueError(f"{path} holds no model: expected one of {', '.join(MAIN_FILES)}")
    if path.is_file():
        raise ValueError(
            f"{path} is no model as it is; expected an ONNX file or a folder. Give trained "
            "weights by --config-file and --weights, and make a public checkpoint a model with "
            "`person-search models import`"
        )
    raise FileNotFoundError(
        f"there is no model {model}: no file, no folder, and none of the models by name: "
        f"{', '.join(named)}"
    )


def default_model() -> Path:
    """Return the model that is used where none is named.

    It is ``$PERSON_SEARCH_MODEL``, else the newest installed one that knows more than drawn people,
    else the one that comes with the code.

    Raises:
        FileNotFoundError, ValueError: if ``$PERSON_SEARCH_MODEL`` is none; see `find_model`. A
            ValueError also if an installed model's card is broken.
        ModuleNotFoundError: if an installed export has no card beside it, and the package ``onnx``,
            which reads the one inside, is missing.
    """
    named = os.environ.get("PERSON_SEARCH_MODEL")
    if named:
        try:
            return find_model(named)
        except (FileNotFoundError, ValueError) as error:
            raise type(error)(
                f"PERSON_SEARCH_MODEL is {named}: {error}; unset it, or name another"
            ) from error
    for name, file in installed_models().items():
        try:
            card = _card_of(file)
        except ValueError as error:
            raise ValueError(
                f"{error}; mend it, remove the folder of {name}, or name another model by --model"
            ) from error
        if card is not None and not card.is_drawn:
            return file
    return builtin_model()


def _card_of(file: Path) -> ModelCard | None:
    """Return the card beside a model's main file, else the one inside it."""
    card = ModelCard.find(file)
    if card is None and file.suffix == ".onnx":
        # Slow to import, and seldom needed.
        from person_search.inference.onnx_network import read_export_card

        card = read_export_card(file)
    return card


def _main_file(folder: Path) -> Path | None:
    return next((folder / name for name in MAIN_FILES if (folder / name).is_file()), None)

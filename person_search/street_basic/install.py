"""Install the model ``street-basic``: real people with nothing but the package index.

It is a model of two steps, so that it runs where ONNX files run.
"""

import logging
import tempfile
from pathlib import Path

from person_search.inference.model_card import ModelCard
from person_search.inference.models import models_folder
from person_search.inference.recorded_files import record_files
from person_search.inference.two_step_file import save_two_step_file
from person_search.street_basic.crop_net import build_crop_net
from person_search.street_basic.detector import build_detector
from person_search.street_basic.tf_graph import read_constants
from person_search.street_basic.torch_file import read_tensors
from person_search.street_basic.wheels import CROP_NET, DETECTOR, fetch, open_wheel
from reid_heads.atomic_file import new_folder, save_json

_log = logging.getLogger(__name__)
NAME = "street-basic"
DETECTOR_FILE, CROP_NET_FILE = "detector.onnx", "crop_net.onnx"
CARD = ModelCard(
    name=NAME,
    domain="people on streets",
    licence=f"MIT: the detector, of {DETECTOR}, and the crop net, of {CROP_NET}",
    trained_on="pedestrians, which their package does not name (the detector); ImageNet, that is, "
    "things of every kind (the crop net)",
    source="; ".join(f"{x} from PyPI, SHA-256 {x.sha256}" for x in (DETECTOR, CROP_NET)),
    limits="The crop net knows generic looks and colours. It was not trained to tell people apart: "
    "whoever wears the same looks the same. OSNet is better, and one download away.",
    numbers={
        "39 street frames of MOT17, in parts: people found": 44.2,
        "39 street frames of MOT17, in parts: people visible by half found": 57.5,
    },
)


def install(folder: str | Path | None = None, wheels: str | Path | None = None) -> Path:
    """Make the model of the two wheels.

    Args:
        folder: to make, whole or not at all; None: where models are installed, by its name.
        wheels: folder that the wheels are in already; None: they are fetched, about 20 MB, and not
            kept.

    Returns:
        The folder.

    Raises:
        ConnectionError: if a wheel cannot be fetched.
        FileExistsError: if the folder is there already.
        FileNotFoundError: if a wheel is not in ``wheels``.
        ValueError: if a wheel is not the one that is expected.
    """
    target = models_folder() / NAME if folder is None else Path(folder)
    with new_folder(target) as made:
        if wheels is None:
            with tempfile.TemporaryDirectory() as fetched:
                for wheel in (DETECTOR, CROP_NET):
                    fetch(wheel, Path(fetched))
                _write(made, Path(fetched))
        else:
            _write(made, Path(wheels))
    _log.info("installed %s in %s", NAME, target)
    return target


def _write(folder: Path, wheels: Path) -> None:
    constants = read_constants(open_wheel(DETECTOR, wheels), DETECTOR.member)
    (folder / DETECTOR_FILE).write_bytes(build_detector(constants))
    tensors = read_tensors(open_wheel(CROP_NET, wheels), CROP_NET.member)
    (folder / CROP_NET_FILE).write_bytes(build_crop_net(tensors))
    save_two_step_file(folder / "model.json", DETECTOR_FILE, CROP_NET_FILE)
    save_json(folder / "model.card.json", CARD.to_dict())
    record_files(folder)

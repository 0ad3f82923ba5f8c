"""RegDB (Nguyen et al., Sensors 2017) in the layout of its ten splits: visible and thermal crops.

The layout::

    Visible/ and Thermal/    {person}/*.bmp
    idx/                     {train,test}_{visible,thermal}_{1..10}.txt, a line an image:
                             "Visible/285/male_back_v_05528_285.bmp 0", path and person

Each split halves the 412 persons anew. Papers train a model on each split's training half, test it
on the same split's other half, and average over the ten: a model must not be tested on another
split, whose test persons it has partly been trained on. Drawn sets come in the same layout.
"""

from pathlib import Path
from typing import Any

from reid_heads.data.datasets.crop_files import CropFile, build_dataset_dicts, check_split
from reid_heads.data.datasets.modalities import add_modality, check_modalities
from reid_heads.text_files import read_text

NUM_TRIALS = 10

VISIBLE_CAMERA, THERMAL_CAMERA = 1, 2

_FOLDERS = {VISIBLE_CAMERA: "Visible", THERMAL_CAMERA: "Thermal"}
_CAMERAS = {
    "train": (VISIBLE_CAMERA, THERMAL_CAMERA),
    "query": (VISIBLE_CAMERA,),
    "gallery": (THERMAL_CAMERA,),
}


def load_regdb(root: str | Path, split: str, trial: int = 1) -> list[dict[str, Any]]:
    """Load a part of one of the ten splits of RegDB as dataset dicts.

    The protocol "regdb" searches both ways, whichever side is called query here.

    Args:
        root: the folder with ``Visible/``, ``Thermal/`` and ``idx/``.
        split: ``train``, ``query`` (visible, camera 1) or ``gallery`` (thermal, camera 2).
        trial: 1..10, the split of the persons.

    Returns:
        One dict a crop with its ``modality``, in the order of the lists, visible ones first. Test
        persons keep the numbers of the lists, which count from 0 in each trial.

    Raises:
        FileNotFoundError: a folder, a list or a listed image is missing.
        ValueError: there is no such trial, a line does not parse or names an image of the other
            modality, an image is listed twice, or a training person is seen in one modality only.
    """
    check_split(split)
    if not 1 <= trial <= NUM_TRIALS:
        raise ValueError(f"trial: got {trial}, expected 1 to {NUM_TRIALS}")
    root = Path(root)
    part = "train" if split == "train" else "test"
    lists = {
        camera: root / "idx" / f"{part}_{_FOLDERS[camera].lower()}_{trial}.txt"
        for camera in _CAMERAS[split]
    }
    crops = [crop for camera, path in lists.items() for crop in _read_list(root, path, camera)]
    source = root / "idx" / " and ".join(path.name for path in lists.values())
    dicts = add_modality(build_dataset_dicts(root, crops, split, source), (THERMAL_CAMERA,))
    if split == "train":
        check_modalities(dicts)
    return dicts


def _read_list(root: Path, path: Path, camera: int) -> list[CropFile]:
    folder = _FOLDERS[camera]
    if not (root / folder).is_dir():
        raise FileNotFoundError(
            f"there is no folder {root / folder}, which holds the {folder.lower()} images: is the "
            f"root right, and RegDB unpacked completely?"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: is the root right?")
    crops = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        name, _, person = line.rstrip().rpartition(" ")
        if not name.startswith(f"{folder}/") or not (person.isascii() and person.isdigit()):
            raise ValueError(
                f"{path}, line {number}: expected an image below {folder}/ and a person, as "
                f"'{folder}/285/name.bmp 0', got {line!r}"
            )
        if not (root / name).is_file():
            raise FileNotFoundError(f"{path}, line {number} lists {root / name}: it is missing")
        crops.append(CropFile(name, int(person), camera))
    return crops

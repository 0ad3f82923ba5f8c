"""Write a drawn world in the layout of RegDB: small crops in colour and in heat.

Layout (research notes, section 6): ``Visible/{id}/*.bmp`` and ``Thermal/{id}/*.bmp``, ten of each
person; ``idx/{train,test}_{visible,thermal}_{1..10}.txt`` with one picture a line, path and label
apart by one space. Each of the ten trials halves the people anew; labels count from 0 in each half,
and the same label is the same person in both modalities. File names give build, side, modality,
number and person; build is ``market_attributes``' drawn property of that name.
"""

import logging
from functools import partial
from pathlib import Path

from person_search.synthetic.market_attributes import market_attributes
from person_search.synthetic.modality_shots import Named, write_shots
from person_search.synthetic.modality_spec import RegdbSpec
from person_search.synthetic.modality_world import VISIBLE, RegdbWorld
from person_search.synthetic.output_folder import is_already_drawn, staged_folder
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.world_spec import WorldSpec

logger = logging.getLogger(__name__)

LAYOUT = "RegDB"
CROP_SIZE = (64, 128)
"""Width and height of the pictures."""
MODALITIES = {True: "Visible", False: "Thermal"}


def write_regdb(spec: WorldSpec, root: str | Path, processes: int = 1) -> Path:
    """Draw a world into ``root``; do nothing when it is there already.

    Args:
        spec: The world, a ``RegdbSpec``.
        root: Folder to make; the one that then contains ``Visible/``, ``Thermal/`` and ``idx/``.
        processes: How many to draw with.

    Returns:
        ``root``.

    Raises:
        TypeError: ``spec`` is no ``RegdbSpec``.
        FileExistsError: ``root`` holds something else.
        OSError: It cannot be written; nothing half-written stays.
    """
    if not isinstance(spec, RegdbSpec):
        raise TypeError(
            f"RegDB's layout needs a RegdbSpec, got the {type(spec).__name__} {spec.name}"
        )
    root = Path(root)
    if is_already_drawn(spec, LAYOUT, root):
        logger.info("%s is already drawn in %s", spec.name, root)
        return root
    with staged_folder(root) as staging:
        files = name_files(RegdbWorld(spec))
        make_world = partial(RegdbWorld, spec)
        write_shots(spec, make_world, files, staging, LAYOUT, CROP_SIZE, processes)
        _write_trials(spec, files, staging / "idx")
    return root


def name_files(world: RegdbWorld) -> list[Named]:
    """Return the path of every picture, such as ``Visible/1/male_back_v_00001_1.bmp``."""
    files: list[Named] = []
    for shot in world.shots:
        identity = shot.identity
        gender = market_attributes(world.identity(identity))["gender"]
        side = "back" if world.is_seen_from_behind(identity) else "front"
        folder = MODALITIES[shot.camera == VISIBLE]
        stem = f"{'female' if gender == 2 else 'male'}_{side}_{folder[0].lower()}"
        name = f"{stem}_{shot.number:05d}_{identity + 1}.bmp"
        files.append((f"{folder}/{identity + 1}/{name}", shot))
    return files


def halves(spec: RegdbSpec, trial: int) -> dict[str, list[int]]:
    """Return the sorted identities of ``train`` and ``test`` in a trial, from 1; half each.

    Of an odd number the test half has one more.
    """
    total = spec.train_identities + spec.test_identities
    order = make_rng(spec.seed, Stream.PROTOCOL, trial).permutation(total).tolist()
    return {"train": sorted(order[: total // 2]), "test": sorted(order[total // 2 :])}


def _write_trials(spec: RegdbSpec, files: list[Named], folder: Path) -> None:
    folder.mkdir()
    for trial in range(1, spec.trials + 1):
        for split, members in halves(spec, trial).items():
            labels = {identity: label for label, identity in enumerate(members)}
            for is_visible, modality in MODALITIES.items():
                lines = [
                    f"{name} {labels[shot.identity]}\n"
                    for name, shot in files
                    if shot.identity in labels and (shot.camera == VISIBLE) == is_visible
                ]
                path = folder / f"{split}_{modality.lower()}_{trial}.txt"
                path.write_text("".join(lines), encoding="utf-8", newline="")

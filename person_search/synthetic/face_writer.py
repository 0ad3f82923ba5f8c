"""Write a drawn set of aligned faces, a folder a person, with a pair list in LFW's format.

::

    train/person_00000/person_00000_0001.jpg    112x112
    test/person_00300/person_00300_0001.jpg     nobody of them is in train/
    pairs.txt                                   folds of test pairs, of one person and of two
    drawn.json                                  spec, counts, digest
"""

import hashlib
import itertools
import logging
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from person_search.synthetic.faces.spec import FaceSpec
from person_search.synthetic.faces.world import FacePlan, FaceWorld, person_name
from person_search.synthetic.output_folder import (
    is_already_drawn,
    run_on_frames,
    save_record,
    spec_record,
    staged_folder,
)
from person_search.synthetic.palette import Stream, make_rng

logger = logging.getLogger(__name__)

LAYOUT = "aligned faces"
PAIRS_FILE = "pairs.txt"

Face = tuple[int, int]
"""Identity and number of a picture."""


def write_faces(spec: FaceSpec, root: str | Path, processes: int = 1) -> Path:
    """Draw a set of faces into ``root``; do nothing when it is there already.

    Args:
        spec: The set.
        root: Folder to make; the one that then contains ``train/``, ``test/`` and ``pairs.txt``.
        processes: How many to draw with; the files do not depend on it.

    Returns:
        ``root``.

    Raises:
        ValueError: The people of a fold have fewer different pairs than the spec asks for.
        FileExistsError: ``root`` holds something else.
        OSError: It cannot be written; nothing half-written stays.
    """
    root = Path(root)
    if is_already_drawn(spec, LAYOUT, root):
        logger.info("%s is already drawn in %s", spec.name, root)
        return root
    with staged_folder(root) as staging:
        world = FaceWorld(spec)
        pairs = pair_lines(spec, world.plans)
        digest = _write_pictures(world, staging, processes)
        (staging / PAIRS_FILE).write_text("".join(pairs), encoding="utf-8", newline="")
        digest.update("".join(pairs).encode())
        counts = {
            "identities": spec.train_identities + spec.test_identities,
            "train_faces": sum(plan.split == "train" for plan in world.plans),
            "test_faces": sum(plan.split == "test" for plan in world.plans),
            "pairs": len(pairs) - 1,
        }
        save_record(spec_record(spec, LAYOUT), counts, digest.hexdigest(), staging)
    return root


def _write_pictures(world: FaceWorld, staging: Path, processes: int) -> "hashlib._Hash":
    """Write every picture and return the digest of all pixels."""
    for folder in sorted({str(Path(plan.name).parent) for plan in world.plans}):
        (staging / folder).mkdir(parents=True)
    indices = [plan.index for plan in world.plans]
    make_world = partial(FaceWorld, world.spec)
    drawn = run_on_frames(make_world, _draw_and_encode, indices, indices, processes)
    digest = hashlib.sha256()
    for plan, (data, pixels_sha256) in zip(world.plans, drawn, strict=True):
        (staging / f"{plan.name}.jpg").write_bytes(data)
        digest.update(f"{plan.name} {pixels_sha256}\n".encode())
    return digest


def _draw_and_encode(world: FaceWorld, index: int, _: int) -> tuple[bytes, str]:
    image = world.draw(index)
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, world.quality(index)])
    if not ok:
        raise RuntimeError(f"could not encode face {index} as JPEG")
    return data.tobytes(), hashlib.sha256(image.tobytes()).hexdigest()


def pair_lines(spec: FaceSpec, plans: list[FacePlan]) -> list[str]:
    """Return the lines of the pair list, the first with the numbers of folds and pairs.

    The test people are dealt out to the folds at random; pairs are drawn without repetition.

    Raises:
        ValueError: The people of a fold have fewer different pairs than the spec asks for.
    """
    lines = [f"{spec.folds}\t{spec.pairs_per_fold}\n"]
    order = make_rng(spec.seed, Stream.FACE_PAIRS).permutation(spec.test_identities)
    for fold, members in enumerate(np.array_split(order, spec.folds)):
        rng = make_rng(spec.seed, Stream.FACE_PAIRS, fold)
        people = {int(m) + spec.train_identities for m in members}
        faces: list[Face] = [(p.identity, p.number) for p in plans if p.identity in people]
        couples = list(itertools.combinations(faces, 2))
        for is_genuine in (True, False):
            choice = [c for c in couples if (c[0][0] == c[1][0]) == is_genuine]
            if len(choice) < spec.pairs_per_fold:
                kind = "one person" if is_genuine else "two persons"
                raise ValueError(
                    f"fold {fold + 1} of {spec.name} has {len(choice)} pairs of {kind}, fewer than "
                    f"pairs_per_fold ({spec.pairs_per_fold}); raise test_identities or "
                    "test_images, or lower pairs_per_fold"
                )
            some = rng.permutation(len(choice))[: spec.pairs_per_fold].tolist()
            lines += [_pair_line(*choice[k]) for k in sorted(some)]
    return lines


def _pair_line(first: Face, second: Face) -> str:
    if first[0] == second[0]:
        return f"{person_name(first[0])}\t{first[1]}\t{second[1]}\n"
    one, other = (f"{person_name(identity)}\t{number}" for identity, number in (first, second))
    return f"{one}\t{other}\n"

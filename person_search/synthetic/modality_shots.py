"""Draw and encode the pictures of a world in two modalities."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2

from person_search.synthetic.modality_spec import ModalitySpec
from person_search.synthetic.modality_world import ModalityWorld, Shot, fit_crop
from person_search.synthetic.output_folder import run_on_frames, save_record, spec_record
from person_search.synthetic.world import World

Named = tuple[str, Shot]
"""Path below the set's folder, and the picture that goes there."""


@dataclass(frozen=True)
class _Encoded:
    data: bytes
    pixels_sha256: str
    """Of the pixels before compression."""


def write_shots(
    spec: ModalitySpec,
    make_world: Callable[[], ModalityWorld],
    files: list[Named],
    root: Path,
    layout: str,
    size: tuple[int, int] | None,
    processes: int,
) -> None:
    """Draw pictures, write them below ``root`` and record them in ``drawn.json``.

    Args:
        spec: The world.
        make_world: Makes it, once in each process.
        files: Where to write which picture; BMP or JPEG by the suffix.
        root: Existing folder.
        layout: Name of the layout, for the record.
        size: (width, height) of the pictures, or None for as large as the person was seen.
        processes: How many to draw with; the files do not depend on it.

    Raises:
        ValueError: ``processes`` is below 1.
    """
    for folder in sorted({str(Path(name).parent) for name, _ in files}):
        (root / folder).mkdir(parents=True, exist_ok=True)
    indices = [shot.index for _, shot in files]
    arguments = [(Path(name).suffix, size) for name, _ in files]
    cameras = [shot.camera for _, shot in files]
    drawn = run_on_frames(
        make_world, _draw_and_encode, indices, arguments, processes, cameras=cameras
    )
    digest = hashlib.sha256()
    for (name, _), picture in zip(files, drawn, strict=True):
        (root / name).write_bytes(picture.data)
        digest.update(f"{name} {picture.pixels_sha256}\n".encode())
    world = make_world()
    infrared = sum(world.is_infrared(shot.camera) for _, shot in files)
    counts = {
        "identities": len({shot.identity for _, shot in files}),
        "visible": len(files) - infrared,
        "infrared": infrared,
    }
    save_record(spec_record(spec, layout), counts, digest.hexdigest(), root)


def _draw_and_encode(
    world: World, index: int, form: tuple[str, tuple[int, int] | None]
) -> _Encoded:
    if not isinstance(world, ModalityWorld):
        raise TypeError(f"pictures in two modalities need a ModalityWorld, got {type(world)}")
    suffix, size = form
    image = world.crop(index)
    if size is not None:
        image = fit_crop(image, *size)
    quality = world.scene(world.shots[index].camera).camera.jpeg_quality
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else []
    ok, data = cv2.imencode(suffix, image, options)
    if not ok:
        raise RuntimeError(f"could not encode picture {index} as {suffix}")
    return _Encoded(data.tobytes(), hashlib.sha256(image.tobytes()).hexdigest())

"""Write a drawn world to disk so that either all of it is there or nothing."""

import dataclasses
import hashlib
import json
import logging
import multiprocessing
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import cv2

from person_search.progress import show_progress
from person_search.synthetic.faces.spec import FaceSpec
from person_search.synthetic.town.spec import TownSpec
from person_search.synthetic.world import DrawnPerson, FramePlan, World
from person_search.synthetic.world_spec import WorldSpec
from reid_heads.unfinished import unfinished

logger = logging.getLogger(__name__)

RECORD_NAME = "drawn.json"
ALL_SPLITS = ("train", "test")
FORMAT_VERSION = 2
"""Raise it whenever the same spec would draw something else."""


@dataclass(frozen=True)
class WrittenFrame:
    """A frame on disk and who is in it."""

    name: str
    plan: FramePlan
    people: tuple[DrawnPerson, ...]
    pixels_sha256: str
    """Of the pixels before JPEG compression."""


def spec_record(
    spec: WorldSpec | FaceSpec | TownSpec, layout: str, splits: Sequence[str] = ALL_SPLITS
) -> dict[str, Any]:
    """Return what identifies a drawn set, as plain JSON values."""
    record = {
        "layout": layout,
        "format_version": FORMAT_VERSION,
        "splits": list(splits),
        "spec": dataclasses.asdict(spec),
    }
    plain: dict[str, Any] = json.loads(json.dumps(record))
    return plain


def is_already_drawn(
    spec: WorldSpec | FaceSpec | TownSpec,
    layout: str,
    root: Path,
    splits: Sequence[str] = ALL_SPLITS,
) -> bool:
    """Say whether ``root`` holds exactly this set.

    Raises:
        FileExistsError: ``root`` holds anything else.
        NotADirectoryError: ``root`` is a file.
    """
    if root.exists() and not root.is_dir():
        raise NotADirectoryError(f"cannot draw into {root}: it is a file; name a folder")
    if not root.exists() or not any(root.iterdir()):
        return False
    try:
        record = json.loads((root / RECORD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = {}
    expected = spec_record(spec, layout, splits)
    if isinstance(record, dict) and all(record.get(k) == v for k, v in expected.items()):
        return True
    raise FileExistsError(
        f"{root} is not empty and does not hold {spec.name} with seed {spec.seed} in this "
        f"version's form (see its {RECORD_NAME}, if any): remove the folder or choose another root"
    )


@contextmanager
def staged_folder(root: Path) -> Iterator[Path]:
    """Give a temporary sibling that becomes ``root`` on success and vanishes on failure.

    Raises:
        OSError: The place cannot be written to, or the disk is full; the message names the folder.
    """
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with unfinished(root, is_folder=True) as staging:
            staging.chmod(0o755)
            yield staging
            if root.exists():
                root.rmdir()
            staging.rename(root)
    except OSError as error:
        raise type(error)(
            error.errno, f"cannot write the drawn set to {root} ({error.strerror or error}): "
            "check free space and permissions, or choose another --root"
        ) from error  # fmt: skip


Argument = TypeVar("Argument")
Result = TypeVar("Result")
AnyWorld = TypeVar("AnyWorld")
"""What pictures are drawn from: a ``World``, a ``FaceWorld`` or a ``Town``."""

_world: Any = None


def _start_worker(make_world: Callable[[], object]) -> None:
    global _world
    cv2.setNumThreads(1)
    _world = make_world()


def _run_in_worker(
    task: Callable[[Any, int, Argument], Result], index: int, argument: Argument
) -> Result:
    if _world is None:
        raise RuntimeError("a drawing process was used before it was started")
    return task(_world, index, argument)


def _draw_one(world: World, index: int, path: str) -> tuple[tuple[DrawnPerson, ...], str]:
    frame = world.draw(index)
    quality = world.scene(frame.plan.camera).camera.jpeg_quality
    ok, data = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise RuntimeError(f"could not encode {path} as JPEG")
    Path(path).write_bytes(data.tobytes())
    return frame.people, hashlib.sha256(frame.image.tobytes()).hexdigest()


@contextmanager
def _empty_main_module() -> Iterator[None]:
    """Hide the running program from processes that start meanwhile.

    A spawned process first imports the main module of its parent. Drawing does not need it, and
    where it brings torch along, each process would take seconds to start and 800 MB.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def run_on_frames(
    make_world: Callable[[], AnyWorld],
    task: Callable[[AnyWorld, int, Argument], Result],
    indices: Sequence[int],
    arguments: Sequence[Argument],
    processes: int,
    unit: str = "frames",
) -> list[Result]:
    """Do something with each of some frames of a world, in one or several processes.

    Args:
        make_world: Makes the world, once in each process; must be picklable.
        task: Gets the world, the index of a frame and its argument; a function of a module.
        indices: Which frames.
        arguments: One per frame.
        processes: How many to work with; the results do not depend on it.
        unit: What ``indices`` count, as the progress shows it.

    Returns:
        What ``task`` returned, in the order of ``indices``.

    Raises:
        ValueError: ``processes`` is below 1.
    """
    if processes < 1:
        raise ValueError(f"processes must be at least 1, got {processes}")
    bar = partial(show_progress, what="drawing", total=len(indices), unit=unit)
    if processes == 1:
        world = make_world()
        return [task(world, i, a) for i, a in bar(zip(indices, arguments, strict=True))]
    # Spawned, not forked: a forked OpenCV or torch may hang on the locks of its parent's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _start_worker, (make_world,)) as pool:
        with _empty_main_module():
            run = partial(_run_in_worker, task)
            # Of few frames, which are shown as done together.
            results = pool.map(run, indices, arguments, chunksize=2)
        return list(bar(results))


def write_frames(
    spec: WorldSpec,
    folder: Path,
    name_of: Callable[[FramePlan], str],
    processes: int,
    splits: Sequence[str] = ALL_SPLITS,
) -> list[WrittenFrame]:
    """Draw the frames of a world into a folder.

    Args:
        spec: The world.
        folder: Existing folder for the JPEG files.
        name_of: File name of a frame.
        processes: How many to draw with; the files do not depend on it.
        splits: Whose frames to draw; a frame looks the same whichever others are drawn.

    Returns:
        One entry per frame drawn, in the world's order.

    Raises:
        ValueError: ``processes`` is below 1.
    """
    plans = [plan for plan in World(spec).plans if plan.split in splits]
    names = [name_of(plan) for plan in plans]
    paths = [str(folder / name) for name in names]
    indices = [plan.index for plan in plans]
    results = run_on_frames(partial(World, spec), _draw_one, indices, paths, processes)
    return [
        WrittenFrame(name, plan, people, digest)
        for name, plan, (people, digest) in zip(names, plans, results, strict=True)
    ]


def write_record(
    spec: WorldSpec,
    layout: str,
    folder: Path,
    frames: list[WrittenFrame],
    splits: Sequence[str] = ALL_SPLITS,
) -> None:
    """Write ``drawn.json``: the spec, counts, and a digest of all pixels and annotations."""
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(f"{frame.name} {frame.pixels_sha256} {frame.people}\n".encode())
    counts = {"frames": len(frames), "people": sum(len(frame.people) for frame in frames)}
    save_record(spec_record(spec, layout, splits), counts, digest.hexdigest(), folder)


def save_record(
    record: dict[str, Any], counts: dict[str, int], content_sha256: str, folder: Path
) -> None:
    """Write ``drawn.json``: what ``spec_record`` returned, counts, a digest of the content."""
    record = record | counts | {"content_sha256": content_sha256}
    (folder / RECORD_NAME).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    listed = ", ".join(f"{count} {what}" for what, count in counts.items())
    logger.info("%s: %s", record["spec"]["name"], listed)

"""Write a drawn town as videos, a folder a camera, with the true tracks beside them.

Layout: ``footage/CAMERA/2026-05-04_08-12-30.mp4``, named by the time of the first frame;
``tracks/CAMERA-2026-05-04_08-12-30/gt/gt.txt`` with ``seqinfo.ini``, as in MOT Challenge;
``people.csv``, ``stays.csv`` and ``cameras.csv``. Identity numbers start at 1 and are those of
all cameras.
"""

import csv
import hashlib
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np

from person_search.synthetic.output_folder import (
    is_already_drawn,
    run_on_frames,
    save_record,
    spec_record,
    staged_folder,
)
from person_search.synthetic.town.cast import look_in_words
from person_search.synthetic.town.plan import Clip
from person_search.synthetic.town.spec import TownSpec
from person_search.synthetic.town.town import Town, TownFrame
from person_search.synthetic.town.video_file import write_video
from person_search.synthetic.world import DrawnPerson

logger = logging.getLogger(__name__)

LAYOUT = "MOT Challenge, videos"
SEEN = 0.1
"""Share of a person that must be visible for a stay to begin, or to go on."""
_NAME_FORMAT = "%Y-%m-%d_%H-%M-%S"


@dataclass(frozen=True)
class WrittenClip:
    """A clip on disk and who is in it."""

    clip: Clip
    stem: str
    """Name of the video without ``.mp4``."""
    people: tuple[tuple[DrawnPerson, ...], ...]
    """By frame."""
    frames_sha256: str
    """Of the CRC-32 of each frame before it is compressed."""


def write_town(spec: TownSpec, root: str | Path, processes: int = 1) -> Path:
    """Draw a town into ``root``; do nothing when it is there already.

    Args:
        spec: the town.
        root: folder to make; the one that then contains ``footage/`` and ``tracks/``.
        processes: how many to draw with; the files do not depend on it.

    Returns:
        ``root``.

    Raises:
        FileExistsError: ``root`` holds something else.
        OSError: it cannot be written; nothing half-written stays.
    """
    root = Path(root)
    if is_already_drawn(spec, LAYOUT, root):
        logger.info("%s is already drawn in %s", spec.name, root)
        return root
    town = Town(spec)
    with staged_folder(root) as staging:
        clips = _write_clips(town, staging, processes)
        _write_tracks(town, clips, staging)
        _write_people(town, staging)
        _write_stays(town, clips, staging)
        _write_cameras(town, staging)
        _write_record(town, clips, staging)
    return root


def time_of(spec: TownSpec, frame: int) -> datetime:
    """Return when a frame, counted from the town's start, was taken; without a zone: local."""
    return datetime.fromisoformat(spec.start) + timedelta(seconds=frame / spec.rate)


def _stem(spec: TownSpec, clip: Clip) -> str:
    return time_of(spec, clip.first).strftime(_NAME_FORMAT)


def _write_clips(town: Town, root: Path, processes: int) -> list[WrittenClip]:
    spec = town.spec
    for camera in spec.cameras:
        (root / "footage" / camera.name).mkdir(parents=True)
    stems = [_stem(spec, clip) for clip in town.clips]
    paths = [
        str(root / "footage" / spec.cameras[clip.camera].name / f"{stem}.mp4")
        for clip, stem in zip(town.clips, stems, strict=True)
    ]
    # The longest first, so that no process is left alone with one at the end.
    order = sorted(range(len(town.clips)), key=lambda k: -town.clips[k].frames)
    results = run_on_frames(
        partial(Town, spec), _draw_one, order, [paths[k] for k in order], processes, unit="clips"
    )
    drawn = dict(zip(order, results, strict=True))
    return [WrittenClip(clip, stems[k], *drawn[k]) for k, clip in enumerate(town.clips)]


def _draw_one(town: Town, index: int, path: str) -> tuple[tuple[tuple[DrawnPerson, ...], ...], str]:
    people: list[tuple[DrawnPerson, ...]] = []
    digest = hashlib.sha256()

    def note(image: np.ndarray) -> None:
        # A checksum of a frame takes a tenth of the time of its SHA-256, which would show.
        digest.update(zlib.crc32(image.data).to_bytes(4, "big"))

    images = _note(town.draw_clip(index), people, note)
    write_video(Path(path), images, town.spec.rate)
    return tuple(people), digest.hexdigest()


def _note(
    frames: Iterable[TownFrame],
    people: list[tuple[DrawnPerson, ...]],
    note: Callable[[np.ndarray], None],
) -> Iterator[np.ndarray]:
    """Yield the pictures of frames; note who is in them, and the pictures."""
    for frame in frames:
        people.append(frame.people)
        note(frame.image)
        yield frame.image


def _write_tracks(town: Town, clips: list[WrittenClip], root: Path) -> None:
    """Write MOT Challenge's text: frame, id, left, top, width, height, 1, class 1, visibility."""
    spec = town.spec
    for written in clips:
        camera = spec.cameras[written.clip.camera].name
        name = f"{camera}-{written.stem}"
        folder = root / "tracks" / name
        (folder / "gt").mkdir(parents=True)
        rows = sorted(
            (person.identity, number, person)
            for number, people in enumerate(written.people, 1)
            for person in people
        )  # fmt: skip
        lines = [
            f"{number},{identity + 1},{','.join(map(str, person.box))},1,1,{person.visible:.2f}\n"
            for identity, number, person in rows
        ]
        (folder / "gt" / "gt.txt").write_text("".join(lines), encoding="utf-8")
        (folder / "seqinfo.ini").write_text(
            f"[Sequence]\nname={name}\nimDir=../../footage/{camera}/{written.stem}.mp4\n"
            f"frameRate={spec.rate}\nseqLength={written.clip.frames}\nimWidth={spec.width}\n"
            f"imHeight={spec.height}\nimExt=.mp4\n",
            encoding="utf-8",
        )


def _write_table(path: Path, head: list[str], rows: Iterable[list[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


def _write_people(town: Town, root: Path) -> None:
    head = ["identity", "look", "age_group", "upper", "upper_colour", "lower", "lower_colour",
            "hair", "hat", "bag", "friends"]  # fmt: skip
    friends = {who: circle for circle in town.circles for who in circle}
    rows: list[list[object]] = [
        [k + 1, look_in_words(p), p.age_group, p.upper_type, p.upper_name, p.lower_type,
         p.lower_name, p.hair_style, p.hat, p.bag, _numbers(w for w in friends[k] if w != k)]
        for k, p in enumerate(town.cast)
    ]  # fmt: skip
    _write_table(root / "people.csv", head, rows)


def _numbers(identities: Iterable[int]) -> str:
    return " ".join(str(identity + 1) for identity in sorted(identities))


def _write_stays(town: Town, clips: list[WrittenClip], root: Path) -> None:
    """Write when somebody could first and last be seen, frame by frame, and in which company."""
    spec, rows = town.spec, []
    for written in clips:
        clip = written.clip
        seen: dict[int, list[int]] = {}
        for number, people in enumerate(written.people):
            for person in people:
                if person.visible >= SEEN:
                    seen.setdefault(person.identity, []).append(clip.first + number)
        for stay in clip.stays:
            frames = [
                frame
                for frame in seen.get(stay.identity, [])
                if stay.walk.first <= frame < stay.walk.end
            ]
            if frames:
                rows.append((frames[0], stay.identity, frames[-1], stay, written))
    rows.sort(key=lambda row: row[:2])
    head = ["identity", "camera", "start", "end", "with", "clip", "first_frame", "last_frame"]
    _write_table(
        root / "stays.csv",
        head,
        (
            [identity + 1, spec.cameras[stay.camera].name,
             *(time_of(spec, f).isoformat(timespec="milliseconds") for f in (first, last)),
             _numbers(stay.company), f"{written.stem}.mp4",
             first - written.clip.first, last - written.clip.first]
            for first, identity, last, stay, written in rows
        ),
    )  # fmt: skip


def _write_cameras(town: Town, root: Path) -> None:
    rows: list[list[object]] = [
        [camera.name, camera.scene, *camera.place] for camera in town.spec.cameras
    ]
    _write_table(root / "cameras.csv", ["camera", "scene", "east_m", "north_m"], rows)


def _write_record(town: Town, clips: list[WrittenClip], root: Path) -> None:
    digest = hashlib.sha256()
    for written in clips:
        name = f"{written.clip.camera} {written.stem}"
        digest.update(f"{name} {written.frames_sha256} {written.people}\n".encode())
    counts = {
        "clips": len(clips),
        "frames": sum(written.clip.frames for written in clips),
        "people": sum(len(people) for written in clips for people in written.people),
    }
    save_record(spec_record(town.spec, LAYOUT), counts, digest.hexdigest(), root)

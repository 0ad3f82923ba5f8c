"""Measure how fast the drawn world is drawn on one core, and where the time goes.

Run:  python benchmarks/drawing_speed.py [--set drawn-cuhk] [--frames 200] [--repeats 3]

Everything a written frame costs is counted: choosing who stands where, painting people, objects and
shadows, the camera's faults, and JPEG encoding; the first painting of each camera's background too.
Disk writes are not. The goal is 10 frames/s at 960x540 on one core.
"""

import argparse
import statistics
import time

import cv2

from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.people.figure import paint_person
from person_search.synthetic.people.pose import sample_pose
from person_search.synthetic.places.camera import spoil
from person_search.synthetic.world import World
from person_search.synthetic.world_spec import PRESETS, WorldSpec

GOAL_FRAMES_PER_SECOND = 10.0


def measure_frames(spec: WorldSpec, count: int) -> tuple[float, float]:
    """Draw and encode ``count`` frames in a fresh world; return frames/s and people per frame."""
    world = World(spec)
    step = max(1, len(world.plans) // count)
    indices = range(0, len(world.plans), step)[:count]
    people = 0
    start = time.perf_counter()
    for index in indices:
        frame = world.draw(index)
        quality = world.scene(frame.plan.camera).camera.jpeg_quality
        cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        people += len(frame.people)
    return len(indices) / (time.perf_counter() - start), people / len(indices)


def measure_parts(spec: WorldSpec, count: int = 60) -> dict[str, float]:
    """Return milliseconds of each part: scene, person by size, camera faults, JPEG."""
    world = World(spec)
    parts = {"scene (once per camera)": _milliseconds(lambda k: world.scene(k), spec.test_cameras)}
    light = world.scene(0).camera.light
    for size in (30, 100, 250):
        parts[f"person, {size} px tall"] = _milliseconds(
            lambda k, size=size: paint_person(
                world.identity(k % 20), sample_pose(make_rng(1, Stream.PREVIEW, k)), size, light
            ),
            count,
        )
    clean, camera = world.scene(0).background, world.scene(0).camera
    parts["camera faults"] = _milliseconds(
        lambda k: spoil(clean, camera, spec, make_rng(1, Stream.FRAME, k)), count
    )
    parts["JPEG"] = _milliseconds(lambda k: cv2.imencode(".jpg", clean), count)
    return parts


def _milliseconds(action, count: int) -> float:
    start = time.perf_counter()
    for k in range(count):
        action(k)
    return (time.perf_counter() - start) / count * 1000


def main() -> None:
    """Print frames/s per repeat, their median, and its ratio to the goal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=sorted(PRESETS), default="drawn-cuhk")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    spec = PRESETS[args.set]
    print(f"{spec.name}, {spec.width}x{spec.height}, one core, {args.frames} frames a repeat")
    speeds = []
    for _ in range(args.repeats):
        speed, people = measure_frames(spec, args.frames)
        speeds.append(speed)
        print(f"  {speed:.1f} frames/s with {people:.1f} people per frame")
    median = statistics.median(speeds)
    ratio = median / GOAL_FRAMES_PER_SECOND
    print(f"median {median:.1f} frames/s: {ratio:.1f} times the goal of {GOAL_FRAMES_PER_SECOND:g}")
    for name, milliseconds in measure_parts(spec).items():
        print(f"  {name:26s} {milliseconds:7.2f} ms")


if __name__ == "__main__":
    main()

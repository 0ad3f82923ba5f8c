"""Who passes which camera in a world that is handed on as crops, as in Market-1501."""

import math

import numpy as np

from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.style_spec import StyleSpec
from person_search.synthetic.style_world import StyledWorld
from person_search.synthetic.world import UNLABELLED, FramePlan, World
from person_search.synthetic.world_spec import MarketSpec


def market_world(spec: MarketSpec) -> World:
    """Return the world of a spec, planned by visits; a styled one where the spec says how."""
    if isinstance(spec, StyleSpec):
        return StyledWorld(spec, plan_visits(spec))
    return World(spec, plan_visits(spec))


def plan_visits(spec: MarketSpec) -> list[FramePlan]:
    """Decide for every frame which camera sees whom; the training frames come first.

    Unlike ``world.plan_frames``, every identity passes only some of the cameras, so that a camera
    tells something of who may be seen, and in each of those it is planned for at least two frames.
    How often it is seen follows a Zipf-like law that does not depend on how many cameras it passes.
    """
    plans: list[FramePlan] = []
    for split in ("train", "test"):
        plans += _plan_split(spec, split, len(plans))
    return plans


def _plan_split(spec: MarketSpec, split: str, first_index: int) -> list[FramePlan]:
    is_test = split == "test"
    rng = make_rng(spec.seed, Stream.PLAN, int(is_test))
    identities = spec.test_identities if is_test else spec.train_identities
    first_identity = spec.train_identities if is_test else 0
    passes = _choose_cameras(spec, identities, rng)
    ranks = rng.permutation(identities) + 1
    weights = np.array([math.pow(int(k), -spec.zipf_exponent) for k in ranks]) / passes.sum(axis=1)
    cameras = [int(c) for c in rng.integers(0, spec.train_cameras, _frame_count(spec, split))]
    people: list[list[int]] = []
    low, high = spec.people_per_frame
    for camera in cameras:
        count = int(rng.integers(low, high + 1))
        if not is_test and rng.random() < spec.empty_share:
            count = 0
        here = np.flatnonzero(passes[:, camera])
        labelled = min(len(here), sum(rng.random() >= spec.unlabelled_share for _ in range(count)))
        chosen: list[int] = []
        if labelled:
            share = weights[here] / weights[here].sum()
            chosen = rng.choice(here, size=labelled, replace=False, p=share).tolist()
        people.append(chosen + [UNLABELLED] * (count - labelled))
    _ensure_visits(people, cameras, passes, rng)
    return [
        FramePlan(
            first_index + k, split, camera, tuple(first_identity + i if i >= 0 else i for i in who)
        )
        for k, (camera, who) in enumerate(zip(cameras, people, strict=True))
    ]


def _frame_count(spec: MarketSpec, split: str) -> int:
    return spec.test_frames if split == "test" else spec.train_frames


def _choose_cameras(spec: MarketSpec, identities: int, rng: np.random.Generator) -> np.ndarray:
    """Return (identities, cameras) bool: which identity passes which camera."""
    passes = np.zeros((identities, spec.train_cameras), bool)
    low, high = spec.cameras_per_identity
    for row in passes:
        row[rng.permutation(spec.train_cameras)[: int(rng.integers(low, high + 1))]] = True
    return passes


def _ensure_visits(
    people: list[list[int]], cameras: list[int], passes: np.ndarray, rng: np.random.Generator
) -> None:
    """Plan every identity for two frames, where there are two, of every camera that it passes."""
    for identity, camera in zip(*(axis.tolist() for axis in np.nonzero(passes)), strict=True):
        frames = [k for k, c in enumerate(cameras) if c == camera and people[k]]
        free = [k for k in frames if identity not in people[k]]
        missing = max(0, 2 - (len(frames) - len(free)))
        for k in rng.permutation(len(free))[:missing]:
            people[free[int(k)]].insert(0, identity)

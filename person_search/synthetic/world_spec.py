"""What a drawn world is made of: every knob of its size and difficulty."""

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class WorldSpec:
    """Size and difficulty of one drawn world; the same spec draws the same bytes anywhere."""

    name: str
    seed: int
    width: int = 960
    """Frame width, pixels."""
    height: int = 540
    """Frame height, pixels."""

    train_identities: int = 180
    test_identities: int = 100
    """None of them is among the training identities."""
    train_frames: int = 1000
    test_frames: int = 400
    train_cameras: int = 10
    test_cameras: int = 6
    shares_cameras: bool = False
    """True: test frames come from the training cameras, as in PRW; False: from cameras never
    trained on."""
    max_queries: int = 100

    people_per_frame: tuple[int, int] = (3, 8)
    """Smallest and largest number of people placed in a frame, both included."""
    unlabelled_share: float = 0.35
    """Share of the people that are passers-by without identity, each seen once."""
    empty_share: float = 0.01
    """Share of the training frames without any person."""
    zipf_exponent: float = 0.6
    """How long-tailed the identities are: the k-th most frequent one appears proportionally to k
    ** -exponent."""
    near_duplicate_share: float = 0.25
    """Share of the identities that are copies of another one with one or two attributes changed."""

    median_height_px: float = 100.0
    """Median body height of the people, pixels."""
    height_spread: float = 0.48
    """Standard deviation of the logarithm of their heights."""
    height_range_px: tuple[float, float] = (26.0, 250.0)
    """Smallest and largest body height, pixels."""
    min_visible: float = 0.4
    """Share of a person's pixels that must be in the frame and unhidden; else the person is moved
    or left out."""
    occlusion: float = 0.35
    """Share of people placed deliberately near somebody else or behind an object; 0 spreads
    people out."""
    clutter: float = 1.0
    """Number of objects and person-like distractors, relative to the default."""

    colour_cast: float = 0.15
    """Largest relative change of a camera's red and blue gain; single frames by half of it."""
    exposure: float = 0.3
    """Largest relative change of brightness."""
    blur: float = 0.9
    """Largest standard deviation of the blur, pixels."""
    noise: float = 7.0
    """Largest standard deviation of the sensor noise, grey levels."""
    jpeg_quality: tuple[int, int] = (60, 95)

    def scaled(self, scale: float) -> "WorldSpec":
        """Return the same world with ``scale`` times the frames and identities.

        Raises:
            ValueError: ``scale`` leaves too little to search in, or is above 20.
        """
        if not 0.01 <= scale <= 20:
            raise ValueError(f"scale must be between 0.01 and 20, got {scale}")
        if scale == 1.0:
            return self
        counts = (
            "train_identities",
            "test_identities",
            "train_frames",
            "test_frames",
            "max_queries",
        )
        smaller = {n: max(4, round(getattr(self, n) * scale)) for n in counts}
        return dataclasses.replace(self, **smaller)

    def __post_init__(self) -> None:
        """Reject values that cannot be drawn."""
        for name in ("width", "height", "train_identities", "test_identities", "train_frames",
        "test_frames",
                     "train_cameras", "test_cameras", "max_queries"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"WorldSpec.{name} must be at least 1, got {getattr(self, name)}")
        for name in (
            "unlabelled_share",
            "empty_share",
            "near_duplicate_share",
            "min_visible",
            "occlusion",
        ):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"WorldSpec.{name} must be within 0..1, got {getattr(self, name)}")
        for name in ("people_per_frame", "height_range_px", "jpeg_quality"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(
                    f"WorldSpec.{name} must be two rising positive numbers, got {(low, high)}"
                )
        if self.seed < 0:
            raise ValueError(f"WorldSpec.seed must not be negative, got {self.seed}")


@dataclass(frozen=True)
class MarketSpec(WorldSpec):
    """A world whose people are handed on as crops, as in Market-1501.

    A class of its own, so that the records of worlds without crops stay as they are.
    """

    cameras_per_identity: tuple[int, int] = (2, 5)
    """Smallest and largest number of cameras that an identity passes, both included."""
    box_shift: float = 0.05
    """Standard deviation of a detected box's place, relative to its size."""
    box_scale: float = 0.09
    """Standard deviation of the logarithm of a detected box's size."""
    partial_share: float = 0.12
    """Share of the detections that hold only the upper or the lower body."""
    miss_share: float = 0.04
    """Share of the people that are not detected."""
    junk_share: float = 0.2
    """Share of the test identities' appearances with a badly placed box beside the good one."""
    background_crops: float = 0.6
    """Mean number of detections of objects or of nothing in a test frame."""

    def __post_init__(self) -> None:
        """Reject values that cannot be drawn."""
        super().__post_init__()
        for name in ("partial_share", "miss_share", "junk_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(
                    f"MarketSpec.{name} must be within 0..1, got {getattr(self, name)}"
                )
        for name in ("box_shift", "box_scale", "background_crops"):
            if getattr(self, name) < 0.0:
                raise ValueError(
                    f"MarketSpec.{name} must not be negative, got {getattr(self, name)}"
                )
        low, high = self.cameras_per_identity
        if not 1 <= low <= high <= self.train_cameras:
            raise ValueError(
                "MarketSpec.cameras_per_identity must be two rising numbers within "
                f"1..train_cameras ({self.train_cameras}), got {(low, high)}"
            )
        if not self.shares_cameras or self.test_cameras != self.train_cameras:
            raise ValueError(
                "MarketSpec: training and test people pass the same cameras, so shares_cameras "
                f"must be True and test_cameras equal train_cameras ({self.train_cameras}); got "
                f"{self.shares_cameras} and {self.test_cameras}"
            )


PRESETS: dict[str, WorldSpec] = {
    "drawn-cuhk": WorldSpec(
        name="drawn-cuhk", seed=20260101, train_identities=300, train_frames=2000, train_cameras=20,
    ),
    "drawn-prw": WorldSpec(
        name="drawn-prw", seed=20260202, train_identities=100, test_identities=80, train_frames=600,
        test_frames=300, train_cameras=6, test_cameras=6, shares_cameras=True, max_queries=150,
    ),
    "tiny-cuhk": WorldSpec(
        name="tiny-cuhk", seed=3, width=320, height=180, train_identities=6, test_identities=5,
        train_frames=8, test_frames=14, train_cameras=2, test_cameras=2, max_queries=5,
        people_per_frame=(2, 4),
        median_height_px=50.0, height_range_px=(24.0, 110.0),
    ),
    "tiny-prw": WorldSpec(
        name="tiny-prw", seed=4, width=320, height=180, train_identities=6, test_identities=5,
        train_frames=8, test_frames=14, train_cameras=6, test_cameras=6, shares_cameras=True,
        max_queries=8,
        people_per_frame=(2, 4), median_height_px=50.0, height_range_px=(24.0, 110.0),
    ),
    "drawn-market": MarketSpec(
        name="drawn-market", seed=20260303, train_identities=200, test_identities=150,
        train_frames=1150, test_frames=700, train_cameras=6, test_cameras=6, shares_cameras=True,
        max_queries=600, people_per_frame=(4, 8), unlabelled_share=0.25, zipf_exponent=0.3,
        near_duplicate_share=0.5, median_height_px=125.0, height_spread=0.35,
        height_range_px=(60.0, 220.0), min_visible=0.45, occlusion=0.4,
        colour_cast=0.12, exposure=0.25, blur=1.2, noise=9.0,
    ),
    "tiny-market": MarketSpec(
        name="tiny-market", seed=5, width=320, height=180, train_identities=6, test_identities=6,
        train_frames=20, test_frames=24, train_cameras=3, test_cameras=3, shares_cameras=True,
        max_queries=12, people_per_frame=(2, 4), median_height_px=60.0,
        height_range_px=(30.0, 110.0), cameras_per_identity=(2, 3),
    ),
}  # fmt: skip
"""Worlds with fixed names and seeds; the tiny ones are for tests."""

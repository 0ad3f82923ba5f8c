"""What a drawn town is made of: its cameras, its people, and how long it is filmed."""

import dataclasses
from dataclasses import dataclass

from person_search.synthetic.world_spec import WorldSpec


@dataclass(frozen=True)
class TownCamera:
    """A camera by its name, what it looks at and where it hangs."""

    name: str
    scene: str
    """A key of ``places.backgrounds.PAINTERS``."""
    place: tuple[float, float]
    """Metres east and north on the map of the town."""
    has_kiosk: bool = True
    """Whether a newsstand stands in it, behind which people vanish."""


@dataclass(frozen=True)
class TownSpec:
    """Size and difficulty of a drawn town; the same spec draws the same pixels anywhere."""

    name: str
    seed: int
    cameras: tuple[TownCamera, ...]
    width: int = 640
    """Frame width, pixels; even."""
    height: int = 360
    """Frame height, pixels; even."""
    rate: int = 10
    """Frames a second."""
    start: str = "2026-05-04T08:00:00"
    """When the cameras are switched on: date and time of day, without an offset."""
    seconds: int = 1800
    """How long they are on. They record only while somebody is there."""

    identities: int = 50
    near_duplicate_share: float = 0.12
    """Share of the identities that are copies of another one with one or two attributes changed."""
    circle_weights: tuple[float, ...] = (0.3, 0.4, 0.2, 0.1)
    """How common people of 1, 2, … friends are who are met together."""
    outings: tuple[int, int] = (1, 3)
    """Smallest and largest number of times that friends go out, both included."""
    visits: tuple[int, int] = (1, 3)
    """Smallest and largest number of cameras that they pass, one after the other, together."""
    wave_seconds: float = 240.0
    """Seconds between two trains: people come in waves, so that strangers meet."""

    views: int = 16
    """From how many directions people are painted."""
    phases: int = 8
    """In how many moments of the stride they are painted."""
    lane_height_px: tuple[float, float] = (50.0, 155.0)
    """Smallest and largest body height of an average person where people walk, pixels."""
    hiding: float = 0.3
    """Share of the visits that lead behind an object."""
    clutter: float = 1.0
    """Number of objects, relative to the default of drawn worlds."""
    colour_cast: float = 0.1
    """Largest relative change of a camera's red and blue gain."""
    exposure: float = 0.2
    """Largest relative change of brightness."""
    blur: float = 0.7
    """Largest standard deviation of the blur, pixels."""
    noise: float = 3.0
    """Largest standard deviation of the sensor noise, grey levels."""

    @property
    def frames(self) -> int:
        """Number of frames from the start to the end, whether recorded or not."""
        return self.seconds * self.rate

    def scaled(self, scale: float) -> "TownSpec":
        """Return the same town with ``scale`` times the people, for as long.

        Raises:
            ValueError: ``scale`` is out of its range.
        """
        if not 0.05 <= scale <= 5:
            raise ValueError(f"scale of a town must be between 0.05 and 5, got {scale}")
        if scale == 1.0:
            return self
        return dataclasses.replace(self, identities=max(2, round(scale * self.identities)))

    def look(self) -> WorldSpec:
        """Return the drawn world whose cameras and places are the town's."""
        low, high = self.lane_height_px
        return WorldSpec(
            name=self.name, seed=self.seed, width=self.width, height=self.height,
            train_cameras=len(self.cameras), height_range_px=(low, high), clutter=self.clutter,
            colour_cast=self.colour_cast, exposure=self.exposure, blur=self.blur, noise=self.noise,
        )  # fmt: skip

    def __post_init__(self) -> None:
        """Reject values that cannot be drawn."""
        for name in ("rate", "seconds", "wave_seconds", "views", "phases"):
            if getattr(self, name) <= 0:
                raise ValueError(f"TownSpec.{name} must be above 0, got {getattr(self, name)}")
        if self.identities < 2 or not self.cameras:
            raise ValueError(
                "TownSpec needs at least 2 identities and a camera, got "
                f"{self.identities} and {len(self.cameras)}"
            )
        if self.width % 2 or self.height % 2 or min(self.width, self.height) < 64:
            raise ValueError(
                "TownSpec.width and height must be even, for the video, and at least 64, got "
                f"{self.width} and {self.height}"
            )
        for name in ("near_duplicate_share", "hiding"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"TownSpec.{name} must be within 0..1, got {getattr(self, name)}")
        for name in ("outings", "visits", "lane_height_px"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(
                    f"TownSpec.{name} must be two rising positive numbers, got {(low, high)}"
                )
        if self.seed < 0:
            raise ValueError(f"TownSpec.seed must not be negative, got {self.seed}")


TOWN_PRESETS: dict[str, TownSpec] = {
    "drawn-town": TownSpec(
        name="drawn-town", seed=20260505,
        cameras=(
            TownCamera("station", "hall", (0, 0)),
            TownCamera("market", "plaza", (90, 20)),
            TownCamera("street", "street", (60, 90)),
            TownCamera("park", "park", (160, 80)),
            TownCamera("school", "campus", (110, 150), has_kiosk=False),
            TownCamera("car-park", "car park", (-20, 80), has_kiosk=False),
        ),
    ),
    "tiny-town": TownSpec(
        name="tiny-town", seed=11, width=320, height=180, seconds=50, identities=5,
        cameras=(
            TownCamera("station", "hall", (0, 0), has_kiosk=False),
            TownCamera("market", "plaza", (9, 3)),
        ),
        circle_weights=(0.5, 0.5), outings=(1, 1), visits=(2, 2), wave_seconds=10.0, views=8,
        phases=4,
        lane_height_px=(40.0, 70.0), noise=3.0,
    ),
}  # fmt: skip
"""Towns with fixed names and seeds; the tiny one is for tests."""

"""Four worlds that look unlike each other: light, clothes, camera, places and resolution differ.

They are for domain generalisation: trained on some of them, a network meets the others unprepared.
"""

from dataclasses import dataclass
from typing import Any

from person_search.synthetic.people.wardrobe import WARDROBES
from person_search.synthetic.places.backgrounds import PAINTERS
from person_search.synthetic.world_spec import MarketSpec, WorldSpec


@dataclass(frozen=True)
class StyleSpec(MarketSpec):
    """A world of crops with a look of its own."""

    scenes: tuple[str, ...] = ("street",)
    """Kinds of places, see ``backgrounds.PAINTERS``; the cameras take turns."""
    wardrobe: str = "any"
    """Which clothes are worn, see ``wardrobe.WARDROBES``."""
    clothes_saturation: float = 1.0
    """Factor on the colourfulness of clothes, bags and hats."""
    clothes_levels: tuple[int, int] = (0, 255)
    """What black and white become in clothes, grey levels."""
    light_contrast: tuple[float, float] = (0.2, 0.6)
    """Softest and hardest light, 0 overcast .. 1 hard sun."""
    brightness: float = 1.0
    """Mean exposure; ``exposure`` is how much cameras differ."""
    warmth: float = 0.0
    """Relative gain of red, and loss of blue, of all cameras: below 0 a cold cast."""
    saturation: float = 1.0
    """Factor on the colourfulness of the whole picture."""
    picture_levels: tuple[int, int] = (0, 255)
    """What black and white become in the picture, grey levels: (50, 210) is washed out."""
    chroma_bleed: int = 0
    """How far colour smears along a row, pixels, as on a video tape."""
    coarseness: int = 1
    """1, or 2 or 4: the camera has that many times fewer pixels along each side."""

    def __post_init__(self) -> None:
        """Reject values that cannot be drawn."""
        super().__post_init__()
        unknown = sorted(set(self.scenes) - PAINTERS.keys())
        if unknown or not self.scenes:
            raise ValueError(
                f"StyleSpec.scenes must name some of {', '.join(PAINTERS)}; got {self.scenes}"
            )
        if self.wardrobe not in WARDROBES:
            raise ValueError(
                f"StyleSpec.wardrobe must be one of {', '.join(WARDROBES)}, got {self.wardrobe!r}"
            )
        for name in ("clothes_levels", "picture_levels"):
            low, high = getattr(self, name)
            if not 0 <= low < high <= 255:
                raise ValueError(
                    f"StyleSpec.{name} must be two rising levels of 0..255, got {(low, high)}"
                )
        low_light, high_light = self.light_contrast
        if not 0.0 <= low_light <= high_light <= 1.0:
            raise ValueError(
                "StyleSpec.light_contrast must be two rising numbers of 0..1, "
                f"got {self.light_contrast}"
            )
        for name, low_end, high_end in (
            ("clothes_saturation", 0.0, 3.0), ("saturation", 0.0, 3.0), ("brightness", 0.1, 2.0),
            ("warmth", -0.6, 0.6), ("chroma_bleed", 0, 40),
        ):  # fmt: skip
            if not low_end <= getattr(self, name) <= high_end:
                raise ValueError(
                    f"StyleSpec.{name} must be within {low_end}..{high_end}, "
                    f"got {getattr(self, name)}"
                )
        if self.coarseness not in (1, 2, 4):
            raise ValueError(f"StyleSpec.coarseness must be 1, 2 or 4, got {self.coarseness}")


_SIZE: dict[str, Any] = {
    "train_identities": 100, "test_identities": 60, "train_frames": 380, "test_frames": 150,
    "shares_cameras": True, "max_queries": 300, "people_per_frame": (4, 8),
    "unlabelled_share": 0.25, "zipf_exponent": 0.3, "near_duplicate_share": 0.3,
    "min_visible": 0.45, "height_spread": 0.3, "cameras_per_identity": (3, 4),
}  # fmt: skip

STYLE_PRESETS: dict[str, WorldSpec] = {
    # Noon: hard sun, summer clothes of strong colours, a sharp camera.
    "drawn-noon": StyleSpec(
        name="drawn-noon", seed=20260601, **_SIZE, train_cameras=5, test_cameras=5,
        median_height_px=140.0, height_range_px=(80.0, 230.0), colour_cast=0.06, exposure=0.15,
        blur=0.2, noise=2.0, jpeg_quality=(88, 95), scenes=("plaza", "street", "plaza", "campus"),
        wardrobe="summer", clothes_saturation=1.4, light_contrast=(0.85, 1.0), brightness=1.12,
        warmth=0.05, saturation=1.2,
    ),
    # Dusk: little and warm light, winter clothes, noise and blur.
    "drawn-dusk": StyleSpec(
        name="drawn-dusk", seed=20260602, **_SIZE, train_cameras=6, test_cameras=6,
        median_height_px=115.0, height_range_px=(60.0, 200.0), colour_cast=0.12, exposure=0.25,
        blur=1.7, noise=15.0, jpeg_quality=(60, 80), scenes=("night street", "night park"),
        wardrobe="winter", clothes_saturation=0.85, clothes_levels=(8, 200),
        light_contrast=(0.3, 0.6), brightness=0.95, warmth=0.24, saturation=0.9,
    ),
    # Mall: cool even light, pastel clothes, plain bright walls and mirroring floors.
    "drawn-mall": StyleSpec(
        name="drawn-mall", seed=20260603, **_SIZE, train_cameras=5, test_cameras=5,
        median_height_px=120.0, height_range_px=(65.0, 210.0), colour_cast=0.06, exposure=0.15,
        blur=0.8, noise=3.0, jpeg_quality=(80, 92), scenes=("atrium", "atrium", "hall"),
        wardrobe="any", clothes_saturation=0.5, clothes_levels=(95, 250),
        light_contrast=(0.0, 0.15), brightness=1.08, warmth=-0.1, saturation=0.95,
    ),
    # VHS: few pixels, colours that bleed and fade, blacks that are grey, strong compression.
    "drawn-vhs": StyleSpec(
        name="drawn-vhs", seed=20260604, **_SIZE, train_cameras=4, test_cameras=4,
        median_height_px=120.0, height_range_px=(65.0, 210.0), colour_cast=0.16, exposure=0.25,
        blur=1.2, noise=10.0, jpeg_quality=(14, 30),
        scenes=("shop floor", "corridor", "shop floor", "car park"), wardrobe="any",
        clothes_saturation=1.0, light_contrast=(0.1, 0.4), warmth=0.06, saturation=0.75,
        picture_levels=(48, 206), chroma_bleed=7, coarseness=2,
    ),
    "tiny-noon": StyleSpec(
        name="tiny-noon", seed=6, width=320, height=180, train_identities=4, test_identities=4,
        train_frames=10, test_frames=16, train_cameras=3, test_cameras=3, shares_cameras=True,
        max_queries=8, people_per_frame=(2, 3), median_height_px=60.0,
        height_range_px=(30.0, 110.0), cameras_per_identity=(2, 3), scenes=("plaza", "street"),
        wardrobe="summer", clothes_saturation=1.4, light_contrast=(0.85, 1.0), brightness=1.12,
        warmth=0.05, saturation=1.2,
    ),
}  # fmt: skip
"""Domains with fixed names and seeds; the tiny one is for tests."""

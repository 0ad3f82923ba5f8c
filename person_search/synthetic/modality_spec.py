"""Worlds whose people are seen by two kinds of cameras, as in SYSU-MM01 and RegDB."""

from dataclasses import dataclass

from person_search.synthetic.world_spec import WorldSpec

SYSU_CAMERAS = 6


@dataclass(frozen=True)
class ModalitySpec(WorldSpec):
    """A world of crops in two modalities, one person asked for in each picture.

    Pictures are planned one by one: ``train_frames``, ``test_frames``, ``max_queries``,
    ``people_per_frame`` and ``zipf_exponent`` of ``WorldSpec`` play no part.
    """

    passer_by_share: float = 0.3
    """Share of the pictures that somebody else walks through."""
    box_shift: float = 0.035
    """Standard deviation of a box's place, relative to its size."""
    box_scale: float = 0.06
    """Standard deviation of the logarithm of a box's size."""
    partial_share: float = 0.04
    """Share of the boxes that hold only the upper or the lower body."""
    infrared_noise: float = 9.0
    """Largest standard deviation of the noise of infrared cameras, grey levels."""
    infrared_blur: float = 1.1
    """Largest standard deviation of their blur, pixels."""

    def __post_init__(self) -> None:
        """Reject values that cannot be drawn."""
        super().__post_init__()
        for name in ("passer_by_share", "partial_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(
                    f"ModalitySpec.{name} must be within 0..1, got {getattr(self, name)}"
                )
        for name in ("box_shift", "box_scale", "infrared_noise", "infrared_blur"):
            if getattr(self, name) < 0.0:
                raise ValueError(
                    f"ModalitySpec.{name} must not be negative, got {getattr(self, name)}"
                )


def _check_counts(spec: ModalitySpec, name: str, most: int) -> None:
    low, high = getattr(spec, name)
    if not 1 <= low <= high <= most:
        raise ValueError(
            f"{type(spec).__name__}.{name} must be two rising numbers within 1..{most}, "
            f"got {(low, high)}"
        )


@dataclass(frozen=True)
class SysuSpec(ModalitySpec):
    """Six cameras as in SYSU-MM01: 1, 2, 4 and 5 see colour, 3 and 6 near infrared.

    Training identities are those of ``train_id`` and ``val_id`` together.
    """

    val_share: float = 0.25
    """Share of the training identities that are listed in ``val_id`` instead of ``train_id``."""
    visible_cameras: tuple[int, int] = (2, 4)
    """Smallest and largest number of colour cameras that an identity passes: at least two, since
    camera 2 does not count for somebody asked for by camera 3."""
    infrared_cameras: tuple[int, int] = (1, 2)
    """Smallest and largest number of infrared cameras that it passes."""
    train_images: tuple[int, int] = (4, 6)
    """Fewest and most pictures of a training identity by a camera that it passes."""
    test_images: tuple[int, int] = (10, 12)
    """The same of a test identity; multi-shot search takes ten from each camera."""

    def __post_init__(self) -> None:
        """Reject values that cannot be drawn."""
        super().__post_init__()
        _check_counts(self, "visible_cameras", 4)
        _check_counts(self, "infrared_cameras", 2)
        # Permutations are stored in bytes, names have four digits.
        _check_counts(self, "train_images", 255)
        _check_counts(self, "test_images", 255)
        if self.visible_cameras[0] < 2:
            raise ValueError(
                "SysuSpec.visible_cameras must begin at 2: who passed camera 2 alone could not be "
                f"found from camera 3, which hangs in the same place; got {self.visible_cameras}"
            )
        if not 0.0 <= self.val_share < 1.0:
            raise ValueError(
                f"SysuSpec.val_share must be within 0..1 (not 1), got {self.val_share}"
            )
        if self.train_cameras != SYSU_CAMERAS or self.test_cameras != SYSU_CAMERAS:
            raise ValueError(
                f"SysuSpec: SYSU-MM01 has {SYSU_CAMERAS} cameras; train_cameras and test_cameras "
                f"must be {SYSU_CAMERAS}, got {self.train_cameras} and {self.test_cameras}"
            )


@dataclass(frozen=True)
class RegdbSpec(ModalitySpec):
    """A pair of cameras as in RegDB: one sees colour, one far infrared (heat).

    There is no fixed split: every trial halves the ``train_identities + test_identities`` anew.
    """

    images: int = 10
    """Pictures of each identity in each modality."""
    trials: int = 10
    """Number of random halvings."""

    def __post_init__(self) -> None:
        """Reject values that cannot be drawn."""
        super().__post_init__()
        for name in ("images", "trials"):
            if getattr(self, name) < 1:
                raise ValueError(f"RegdbSpec.{name} must be at least 1, got {getattr(self, name)}")
        if self.train_cameras != 2 or self.test_cameras != 2:
            raise ValueError(
                "RegdbSpec: RegDB has one pair of cameras; train_cameras and test_cameras must be "
                f"2, got {self.train_cameras} and {self.test_cameras}"
            )


MODALITY_PRESETS: dict[str, WorldSpec] = {
    "drawn-sysu": SysuSpec(
        name="drawn-sysu", seed=20260404, width=420, height=330, train_identities=400,
        test_identities=80, train_cameras=6, test_cameras=6, shares_cameras=True,
        near_duplicate_share=0.05, median_height_px=106.0, height_spread=0.16,
        height_range_px=(76.0, 138.0), min_visible=0.7, occlusion=0.25, passer_by_share=0.15,
        partial_share=0.02,
        val_share=0.2, train_images=(3, 4), infrared_noise=7.0, infrared_blur=0.9,
        colour_cast=0.1, exposure=0.2, blur=0.9, noise=6.0, jpeg_quality=(80, 95),
    ),
    "drawn-regdb": RegdbSpec(
        name="drawn-regdb", seed=20260505, width=420, height=330, train_identities=60,
        test_identities=60, train_cameras=2, test_cameras=2, shares_cameras=True,
        near_duplicate_share=0.1, median_height_px=106.0, height_spread=0.12,
        height_range_px=(80.0, 136.0), min_visible=0.75, occlusion=0.25, passer_by_share=0.15,
        box_shift=0.025, box_scale=0.05, partial_share=0.0, colour_cast=0.1, exposure=0.15,
        blur=0.9, noise=6.0, infrared_noise=4.0, infrared_blur=0.9,
    ),
    "tiny-sysu": SysuSpec(
        name="tiny-sysu", seed=7, width=200, height=160, train_identities=5, test_identities=4,
        train_cameras=6, test_cameras=6, shares_cameras=True, near_duplicate_share=0.1,
        median_height_px=54.0, height_spread=0.12, height_range_px=(44.0, 66.0),
        min_visible=0.6, train_images=(2, 3), test_images=(3, 4),
    ),
    "tiny-regdb": RegdbSpec(
        name="tiny-regdb", seed=8, width=200, height=160, train_identities=3, test_identities=4,
        train_cameras=2, test_cameras=2, shares_cameras=True, near_duplicate_share=0.1,
        median_height_px=54.0, height_spread=0.12, height_range_px=(44.0, 66.0),
        min_visible=0.6, images=4, trials=3, infrared_noise=4.0,
    ),
}  # fmt: skip
"""Sets in two modalities with fixed names and seeds; the tiny ones are for tests."""

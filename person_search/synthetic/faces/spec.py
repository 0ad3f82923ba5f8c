"""What a drawn set of aligned faces is made of: every knob of its size and difficulty."""

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class FaceSpec:
    """Size and difficulty of one set of faces; the same spec draws the same bytes anywhere."""

    name: str
    seed: int
    train_identities: int = 300
    test_identities: int = 100
    """None of them is among the training identities."""
    train_images: tuple[int, int] = (16, 20)
    """Smallest and largest number of faces of a training identity, both included."""
    tail_share: float = 0.2
    """Share of the training identities that have few faces: the long tail."""
    tail_images: tuple[int, int] = (2, 8)
    """Smallest and largest number of their faces."""
    test_images: tuple[int, int] = (10, 12)
    near_duplicate_share: float = 0.5
    """Share of the identities that resemble another one: skin, hair and age are its, and the
    features are half-way between both."""

    folds: int = 10
    pairs_per_fold: int = 300
    """Pairs of one person, and as many of two, in each fold. Folds share no person."""

    yaw: float = 17.0
    """Standard deviation of the turn to the side, degrees; at most 50."""
    pitch: float = 8.0
    """Of the nod; at most 25."""
    misalignment: float = 1.2
    """Standard deviation of the points that a face is aligned by, pixels of the aligned face."""
    light: float = 1.0
    """Strength of side light and shadow, relative to the default."""
    expression: float = 1.0
    """Strength of smiles, open mouths, raised brows, relative to the default."""
    occlusion: float = 0.15
    """Share of the faces with a hand, a scarf or sunglasses in front of them."""
    colour_cast: float = 0.12
    """Largest relative change of red and blue."""
    exposure: float = 0.25
    """Largest relative change of brightness."""
    blur: float = 1.1
    """Largest standard deviation of the blur, pixels."""
    noise: float = 6.0
    """Largest standard deviation of the noise, grey levels."""
    jpeg_quality: tuple[int, int] = (55, 95)

    def scaled(self, scale: float) -> "FaceSpec":
        """Return the same set with ``scale`` times the identities and pairs.

        Raises:
            ValueError: ``scale`` leaves too few people for the folds, or is above 20.
        """
        if not 0.01 <= scale <= 20:
            raise ValueError(f"scale must be between 0.01 and 20, got {scale}")
        if scale == 1.0:
            return self
        people = {
            name: max(4, round(getattr(self, name) * scale))
            for name in ("train_identities", "test_identities")
        }
        # Every fold keeps two people at least.
        folds = min(self.folds, people["test_identities"] // 2)
        return dataclasses.replace(
            self, **people, folds=folds, pairs_per_fold=max(1, round(self.pairs_per_fold * scale))
        )

    def __post_init__(self) -> None:
        """Reject values that cannot be drawn."""
        for name in ("train_identities", "pairs_per_fold"):
            if getattr(self, name) < 1:
                raise ValueError(f"FaceSpec.{name} must be at least 1, got {getattr(self, name)}")
        if self.folds < 2 or self.test_identities < 2 * self.folds:
            raise ValueError(
                "FaceSpec: there must be at least two folds, and two test identities for each; got "
                f"{self.folds} folds and {self.test_identities} test identities"
            )
        for name in ("tail_share", "near_duplicate_share", "occlusion"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"FaceSpec.{name} must be within 0..1, got {getattr(self, name)}")
        for name in ("yaw", "pitch", "misalignment", "light", "expression", "colour_cast",
                     "exposure", "blur", "noise"):  # fmt: skip
            if getattr(self, name) < 0.0:
                raise ValueError(f"FaceSpec.{name} must not be negative, got {getattr(self, name)}")
        for name in ("train_images", "tail_images", "test_images", "jpeg_quality"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise ValueError(
                    f"FaceSpec.{name} must be two rising positive numbers, got {(low, high)}"
                )
        if self.test_images[0] < 2:
            raise ValueError(
                f"FaceSpec.test_images must be 2 at least, got {self.test_images}: a pair of one "
                "person needs two faces"
            )
        if self.seed < 0:
            raise ValueError(f"FaceSpec.seed must not be negative, got {self.seed}")


FACE_PRESETS: dict[str, FaceSpec] = {
    "drawn-faces": FaceSpec(name="drawn-faces", seed=20260606),
    "tiny-faces": FaceSpec(
        name="tiny-faces", seed=9, train_identities=5, test_identities=6, train_images=(3, 4),
        tail_share=0.4, tail_images=(1, 2), test_images=(3, 3), folds=3, pairs_per_fold=4,
    ),
}  # fmt: skip
"""Sets of faces with fixed names and seeds; the tiny one is for tests."""

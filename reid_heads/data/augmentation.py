"""Augmentations of person crops, as detectron2 has them: random numbers from global numpy.

All work on uint8 images (H, W, C) in ``cfg.INPUT.FORMAT`` order.
"""

import math

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from PIL import Image

ERASING_ATTEMPTS = 100
"""Rectangles that random erasing draws until one fits into the image, as published."""

INTERPOLATIONS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
"""Ways to resize by their name in a config; Pillow's, which smooth where they shrink."""

# Fill values in normalised space, red, green, blue. "mean_norm" is the ImageNet mean itself, put
# after the normalisation: the published Bag of Tricks numbers come with it.
_FILLS = {"mean_norm": (0.485, 0.456, 0.406), "zero": (0.0, 0.0, 0.0)}


class ShiftTransform(T.Transform):
    """Move the image within its frame; what comes in from outside is black."""

    def __init__(self, down: int, right: int):
        """Set the shift in pixels, negative for up and left."""
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """Return a shifted copy of an image (H, W, C) or (H, W)."""
        shifted = np.zeros_like(img)
        to_rows, from_rows = _overlap(self.down, img.shape[0])
        to_columns, from_columns = _overlap(self.right, img.shape[1])
        shifted[to_rows, to_columns] = img[from_rows, from_columns]
        return shifted

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Return coordinates (M, 2) as x, y in the shifted image."""
        shifted: np.ndarray = coords + np.array([self.right, self.down], dtype=coords.dtype)
        return shifted

    def inverse(self) -> T.Transform:
        """Return the shift back; what left the frame is lost."""
        return ShiftTransform(-self.down, -self.right)


class EraseTransform(T.Transform):
    """Paint a rectangle over the image."""

    def __init__(self, top: int, left: int, height: int, width: int, fill: np.ndarray):
        """Set the rectangle in pixels, and its colour, (C,) in the image's type."""
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """Return a painted copy of an image (H, W, C)."""
        # A flip before it leaves a mirrored view, which would stay slow to read in its copies.
        painted = img.copy(order="C")
        rows = slice(self.top, self.top + self.height)
        painted[rows, self.left : self.left + self.width] = self.fill
        return painted

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Return the coordinates as they are."""
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """Return the segmentation as it is."""
        return segmentation

    def inverse(self) -> T.Transform:
        """Return a transform that does nothing, as for every photometric change."""
        return T.NoOpTransform()


class PadAndCrop(T.Augmentation):
    """Add black pixels on each side, and crop back to the old size at a random place."""

    def __init__(self, padding: int):
        """Set the pixels on each side.

        Raises:
            ValueError: if negative.
        """
        super().__init__()
        if padding < 0:
            raise ValueError(f"INPUT.REID.PADDING is {padding}; expected 0 or more pixels")
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Draw the place of the crop, each of (2 * padding + 1)² alike."""
        top, left = np.random.randint(0, 2 * self.padding + 1, 2)
        return ShiftTransform(int(self.padding - top), int(self.padding - left))


class RandomErasing(T.Augmentation):
    """Paint a random rectangle over some images.

    Zhong et al., "Random Erasing Data Augmentation" (AAAI 2020), algorithm 1, with the authors'
    bounds: the rectangle is rounded to pixels, lower and narrower than the image, and after 100
    that do not fit the image stays as it is.
    """

    def __init__(
        self,
        probability: float,
        area: tuple[float, float],
        aspect: float,
        fill: tuple[int, ...] | np.ndarray,
    ):
        """Set the distribution up.

        Args:
            probability: of erasing.
            area: smallest and largest share of the image's area.
            aspect: height over width is drawn between this and its inverse.
            fill: colour, (C,) uint8 in the image's channel order.

        Raises:
            ValueError: for a value out of range; the message names the config key.
        """
        super().__init__()
        _check_erasing(probability, area, aspect)
        fill = np.asarray(fill, dtype=np.uint8)
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Draw whether and where to erase."""
        if self._rand_range() >= self.probability:
            return T.NoOpTransform()
        image_height, image_width = image.shape[:2]
        for _ in range(ERASING_ATTEMPTS):
            area = self._rand_range(*self.area) * image_height * image_width
            aspect = self._rand_range(self.aspect, 1 / self.aspect)
            height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if height < image_height and width < image_width:
                top = np.random.randint(0, image_height - height + 1)
                left = np.random.randint(0, image_width - width + 1)
                return EraseTransform(top, left, height, width, self.fill)
        return T.NoOpTransform()


class ResizeTo(T.Resize):
    """Resize to (height, width) by Pillow; an image of that size already is left alone."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Return the resize for this image's size."""
        if image.shape[:2] == self.shape:
            return T.NoOpTransform()
        return super().get_transform(image)


def jitter_box(box: np.ndarray, share: float) -> np.ndarray:
    """Move each side of a box at random, as a detector's boxes differ from the labelled ones.

    Args:
        box: (4,) of (x1, y1, x2, y2) in any pixels.
        share: 0..0.5; a side moves uniformly by up to this share of the box's width or height,
            inwards or outwards.

    Returns:
        The moved box, (4,), not clipped to anything.
    """
    sizes = np.tile(box[2:] - box[:2], 2)
    moved: np.ndarray = box + np.random.uniform(-share, share, 4) * sizes
    return moved


def build_train_augmentations(cfg: CfgNode) -> list[T.Augmentation]:
    """Build resize, flip, pad and crop, erase from ``cfg.INPUT.REID``: the published order.

    What has probability or padding 0 is left out.

    Raises:
        ValueError: for a value out of range; the message names the config key.
    """
    reid = cfg.INPUT.REID
    augmentations = build_test_augmentations(cfg)
    if not 0 <= reid.FLIP_PROBABILITY <= 1:
        raise ValueError(f"INPUT.REID.FLIP_PROBABILITY is {reid.FLIP_PROBABILITY}; expected 0..1")
    if reid.FLIP_PROBABILITY > 0:
        augmentations.append(T.RandomFlip(reid.FLIP_PROBABILITY))
    if reid.PADDING != 0:
        augmentations.append(PadAndCrop(reid.PADDING))
    if reid.ERASING.PROBABILITY != 0:
        erasing = reid.ERASING
        fill = erasing_fill(cfg)
        augmentations.append(
            RandomErasing(erasing.PROBABILITY, tuple(erasing.AREA), erasing.ASPECT, fill)
        )
    return augmentations


def build_test_augmentations(cfg: CfgNode) -> list[T.Augmentation]:
    """Build the resize to ``cfg.INPUT.REID.SIZE``.

    Raises:
        ValueError: if that is no size, or the interpolation is unknown.
    """
    size = tuple(cfg.INPUT.REID.SIZE)
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"INPUT.REID.SIZE is {size}; expected (height, width) in pixels")
    name = cfg.INPUT.REID.INTERPOLATION
    if name not in INTERPOLATIONS:
        expected = " or ".join(map(repr, INTERPOLATIONS))
        raise ValueError(f"INPUT.REID.INTERPOLATION is {name!r}; expected {expected}")
    return [ResizeTo(size, interp=INTERPOLATIONS[name])]


def erasing_fill(cfg: CfgNode) -> np.ndarray:
    """Return the colour of erased regions, (3,) uint8 in ``cfg.INPUT.FORMAT`` order.

    The published code erases after the normalisation, here the model normalises: the fill is
    the pixel that it makes the wanted value of, up to the rounding to whole pixel values.

    Raises:
        ValueError: for an unknown ``INPUT.REID.ERASING.FILL``.
    """
    name = cfg.INPUT.REID.ERASING.FILL
    if name not in _FILLS:
        raise ValueError(f"INPUT.REID.ERASING.FILL is {name!r}; expected one of {sorted(_FILLS)}")
    normalised = np.array(_FILLS[name])
    if cfg.INPUT.FORMAT == "BGR":
        normalised = normalised[::-1]
    pixel = np.array(cfg.MODEL.PIXEL_MEAN) + np.array(cfg.MODEL.PIXEL_STD) * normalised
    fill: np.ndarray = pixel.round().clip(0, 255).astype(np.uint8)
    return fill


def _overlap(shift: int, size: int) -> tuple[slice, slice]:
    """Return where pixels of one axis go to, and where they come from."""
    kept = max(size - abs(shift), 0)
    to, source = max(shift, 0), max(-shift, 0)
    return slice(to, to + kept), slice(source, source + kept)


def _check_erasing(probability: float, area: tuple[float, float], aspect: float) -> None:
    if not 0 <= probability <= 1:
        raise ValueError(f"INPUT.REID.ERASING.PROBABILITY is {probability}; expected 0..1")
    if len(area) != 2 or not 0 < area[0] <= area[1] <= 1:
        raise ValueError(
            f"INPUT.REID.ERASING.AREA is {area}; expected the smallest and the largest share of "
            "the image, 0 < smallest <= largest <= 1"
        )
    if not 0 < aspect <= 1:
        raise ValueError(f"INPUT.REID.ERASING.ASPECT is {aspect}; expected 0 < aspect <= 1")

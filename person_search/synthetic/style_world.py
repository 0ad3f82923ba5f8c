"""Draw a world with a look of its own: its people, its cameras, its pictures."""

import dataclasses

import cv2
import numpy as np

from person_search.synthetic.canvas import Light, shrink
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.people.identity import Identity
from person_search.synthetic.people.wardrobe import make_dressed, sample_dressed, tone
from person_search.synthetic.places.camera import Camera, make_camera, spoil
from person_search.synthetic.places.scene import Scene, build_scene
from person_search.synthetic.style_spec import StyleSpec
from person_search.synthetic.world import FramePlan, World

INDOOR_SCENES = ("hall", "corridor", "atrium", "shop floor")


class StyledWorld(World):
    """A ``World`` whose spec also says how it looks."""

    def __init__(self, spec: StyleSpec, plans: list[FramePlan]):
        super().__init__(spec, plans)
        self.style = spec

    def identity(self, index: int) -> Identity:
        """Return identity ``index``: training identities come first, then those of the test."""
        if index not in self._identities:
            style = self.style
            start = 0 if index < style.train_identities else style.train_identities
            person = make_dressed(
                style.seed, index, style.near_duplicate_share, start, style.wardrobe
            )
            self._identities[index] = self._toned(person)
        return self._identities[index]

    def _toned(self, person: Identity) -> Identity:
        return tone(person, self.style.clothes_saturation, self.style.clothes_levels)

    def _person(self, identity: int, camera: int, rng: np.random.Generator) -> Identity:
        if identity >= 0:
            return self.identity(identity)
        return self._toned(sample_dressed(rng, self.style.wardrobe))

    def _build_scene(self, index: int) -> Scene:
        return build_scene(self.spec, index, styled_camera(self.style, index))

    def _deliver(self, image: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
        style = self.style
        if style.saturation != 1.0:
            image = saturate(image, style.saturation)
        image = spoil(image, camera, style, rng)
        if style.chroma_bleed:
            image = bleed_colours(image, style.chroma_bleed)
        if style.coarseness > 1:
            image = coarsen(image, style.coarseness)
        return np.asarray(cv2.LUT(image, _levels_table(*style.picture_levels)))


def styled_camera(style: StyleSpec, index: int) -> Camera:
    """Return camera ``index``: geometry as in any world, place and light as the style has it."""
    camera = make_camera(style, index)
    rng = make_rng(style.seed, Stream.CAMERA, index, 2)
    scene = style.scenes[index % len(style.scenes)]
    soft, hard = style.light_contrast
    blue, green, red = camera.gains
    return dataclasses.replace(
        camera,
        scene=scene,
        is_outdoors=scene not in INDOOR_SCENES,
        half_way=style.width * (0.9 if scene == "corridor" else 40.0),
        light=Light(camera.light.side, float(soft + (hard - soft) * rng.random())),
        gains=(blue * (1 - style.warmth), green, red * (1 + style.warmth)),
        brightness=camera.brightness * style.brightness,
    )


def saturate(image: np.ndarray, factor: float) -> np.ndarray:
    """Move every pixel of (H, W, 3) uint8 BGR away from its grey (factor > 1) or towards it."""
    strength = round(128 * factor)
    # ``grey + ((image - grey) * strength >> 7)`` in one pass of single precision, which holds all
    # its numbers exactly; the last term makes rounding down of rounding to nearest.
    return np.asarray(
        cv2.addWeighted(
            image, strength / 128, _three(grey_of(image)), (128 - strength) / 128, -63.5 / 128
        )
    )


def _three(grey: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.merge([grey, grey, grey]))


_LUMA = np.array([[29, 150, 77, -127.5]]) / 256
"""Weights of blue, green and red; the last term makes rounding down of rounding to nearest."""


def grey_of(image: np.ndarray) -> np.ndarray:
    """Return (H, W) uint8: the brightness of (H, W, 3) uint8 BGR, exact in single precision."""
    return np.asarray(cv2.transform(image, _LUMA))


def bleed_colours(image: np.ndarray, reach: int) -> np.ndarray:
    """Smear the colours of (H, W, 3) uint8 BGR along the rows, to the right; brightness stays."""
    grey = _three(grey_of(image))
    # Halved, rounding down, so that differences of -255..255 fit into bytes, whose blur is exact.
    chroma = cv2.addWeighted(image, 0.5, grey, -0.5, 128 - 0.25)
    chroma = np.roll(cv2.GaussianBlur(chroma, (2 * reach + 1, 1), 0), reach // 2, axis=1)
    return np.asarray(cv2.addWeighted(grey, 1.0, chroma, 2.0, -256.0))


def coarsen(image: np.ndarray, times: int) -> np.ndarray:
    """Give (H, W, 3) uint8 ``times`` fewer pixels along each side, enlarged to the old size."""
    height, width = image.shape[:2]
    low, right = -height % times, -width % times
    padded = cv2.copyMakeBorder(image, 0, low, 0, right, cv2.BORDER_REPLICATE)
    small = shrink(padded, times)
    full = (padded.shape[1], padded.shape[0])
    return np.asarray(cv2.resize(small, full, interpolation=cv2.INTER_LINEAR_EXACT))[
        :height, :width
    ]


def _levels_table(low: int, high: int) -> np.ndarray:
    return np.array([low + (high - low) * k // 255 for k in range(256)], np.uint8)

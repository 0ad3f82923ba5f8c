"""A camera of the drawn world: its horizon, how it sees colour, how it spoils a picture."""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from person_search.synthetic.canvas import Light
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.world_spec import WorldSpec

AVERAGE_HEIGHT_M = 1.7
SCENES = ("street", "park", "hall", "campus", "corridor", "car park")


@dataclass(frozen=True)
class Camera:
    """Geometry, light and image quality of one camera; rows and columns are frame pixels."""

    index: int
    scene: str
    width: int
    height: int
    horizon: float
    """Row at which the ground ends; a person whose feet are on row y is ``growth * (y -
    horizon)`` pixels tall."""
    growth: float
    """Pixels of height of an average person per row of the feet below the horizon."""
    vanishing_x: float
    half_way: float
    """Half the width of the walkable ground at the lower edge of the frame, pixels."""
    light: Light
    is_outdoors: bool
    gains: tuple[float, float, float]
    """Blue, green, red gain of the white balance."""
    brightness: float
    blur: float
    noise: float
    jpeg_quality: int

    def person_height(self, foot_row: float, height_m: float) -> float:
        """Return the body height in pixels of a person who stands on that row."""
        return self.growth * (foot_row - self.horizon) * height_m / AVERAGE_HEIGHT_M

    def walkable(self, foot_row: float) -> tuple[float, float]:
        """Return the first and last column on which somebody can stand on that row."""
        half = self.half_way * (foot_row - self.horizon) / (self.height - self.horizon)
        left, right = self.vanishing_x - half * 0.92, self.vanishing_x + half * 0.92
        return max(-4.0, left), min(self.width + 4.0, right)

    def foot_row(self, height_px: float) -> float:
        """Return the row on which an average person has that height."""
        return self.horizon + height_px / self.growth


def make_camera(spec: WorldSpec, index: int) -> Camera:
    """Return camera ``index`` of a world."""
    rng = make_rng(spec.seed, Stream.CAMERA, index)
    scene = SCENES[(index + spec.seed) % len(SCENES)]
    outdoors = scene in ("street", "park", "campus", "car park")
    unit = spec.height / 540
    horizon = (60 + 110 * rng.random()) * unit
    # The tallest people are to stand with their feet near the lower edge of the frame.
    growth = (0.52 + 0.16 * rng.random()) * 380 * unit / (spec.height - horizon)
    cast = spec.colour_cast
    warm = 2 * rng.random() - 1
    return Camera(
        index=index,
        scene=scene,
        width=spec.width,
        height=spec.height,
        horizon=float(horizon),
        growth=float(growth),
        vanishing_x=float(spec.width * (0.25 + 0.5 * rng.random())),
        half_way=spec.width * (0.9 if scene == "corridor" else 40.0),
        light=Light(
            side=float(2 * rng.random() - 1),
            contrast=float((0.2 + 0.8 * rng.random()) if outdoors else 0.1 + 0.4 * rng.random()),
        ),
        is_outdoors=outdoors,
        gains=(
            float(1 - cast * warm),
            float(1 + 0.3 * cast * (2 * rng.random() - 1)),
            float(1 + cast * warm),
        ),
        brightness=float(1 + spec.exposure * (rng.random() * 1.6 - 1.0)),
        blur=float(spec.blur * rng.random()),
        noise=float(spec.noise * rng.random()),
        jpeg_quality=int(rng.integers(spec.jpeg_quality[0], spec.jpeg_quality[1] + 1)),
    )


@lru_cache(maxsize=4)
def noise_tile(height: int, width: int) -> np.ndarray:
    """Return (h, w, 3) int16 noise of standard deviation 64, the same for every world."""
    rng = make_rng(0, Stream.CAMERA)
    total = np.zeros((height, width, 3), np.int16)
    for _ in range(4):
        total += rng.integers(-55, 56, total.shape, dtype=np.int16)
    return total


@lru_cache(maxsize=12)
def _noise_parts(
    height: int, width: int, channels: int, strength: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return what noise adds and what it takes away, (h, w, channels) uint8 each."""
    level = noise_tile(height, width)[:, :, :channels] * np.int16(strength) >> 6
    more, less = (np.clip(sign * level, 0, 255).astype(np.uint8) for sign in (1, -1))
    return more, less


def add_noise(image: np.ndarray, strength: int, row: int, column: int) -> np.ndarray:
    """Return a picture with sensor noise.

    Args:
        image: (H, W, 3) or (H, W) uint8; not changed.
        strength: Standard deviation of the noise, grey levels.
        row: Row, 0..63, of the noise tile that comes to the top.
        column: Column, 0..63, that comes to the left.
    """
    height, width = image.shape[:2]
    more, less = _noise_parts(height + 64, width + 64, image.size // (height * width), strength)
    window = slice(row, row + height), slice(column, column + width)
    # Bytes that stop at 0 and 255 take a sixth of the time of sums in 16 bits.
    noisy = cv2.add(image, more[window].reshape(image.shape))
    return np.asarray(cv2.subtract(noisy, less[window].reshape(image.shape), dst=noisy))


def spoil(
    image: np.ndarray, camera: Camera, spec: WorldSpec, rng: np.random.Generator
) -> np.ndarray:
    """Return what the camera delivers of a clean picture: colour cast, exposure, blur and noise.

    Args:
        image: (H, W, 3) uint8 BGR; not changed.
        camera: Whose faults to apply.
        spec: How much single frames vary.
        rng: The frame's generator.
    """
    image = cv2.LUT(image, tone_table(camera, spec, rng))
    sigma = max(0.0, camera.blur + 0.3 * spec.blur * (2 * rng.random() - 1))
    if sigma > 0.3:
        image = cv2.GaussianBlur(image, (5, 5), round(sigma, 2))
    strength = round(camera.noise * (0.7 + 0.6 * rng.random()))
    if strength > 0:
        dy, dx = int(rng.integers(0, 64)), int(rng.integers(0, 64))
        image = add_noise(image, strength, dy, dx)
    return image


def tone_table(camera: Camera, spec: WorldSpec, rng: np.random.Generator) -> np.ndarray:
    """Return a (256, 1, 3) uint8 table of gain and a soft shoulder at the bright end."""
    bright = camera.brightness * (1 + 0.45 * spec.exposure * (2 * rng.random() - 1))
    shift = spec.colour_cast / 2 * (2 * rng.random() - 1)
    gains = (camera.gains[0] * (1 - shift), camera.gains[1], camera.gains[2] * (1 + shift))
    table = np.zeros((256, 1, 3), np.uint8)
    for channel, gain in enumerate(gains):
        values = np.arange(256) / 255 * gain * bright
        is_high = values > 0.8
        # The exponential of ``math``: NumPy's differs in the last digit from machine to machine.
        falls = [math.exp(fall) for fall in (-(values[is_high] - 0.8) / 0.2).tolist()]
        values[is_high] = 0.8 + 0.2 * (1 - np.array(falls))
        table[:, 0, channel] = np.rint(255 * np.minimum(1.0, values))
    return table

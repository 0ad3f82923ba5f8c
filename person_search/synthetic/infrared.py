"""What near and far infrared cameras see: people, places, and the faults of the pictures.

Near infrared is light that the camera's own lamp throws: dyes hardly matter, so each garment of a
person has a brightness of its own, whatever its colour. Far infrared is heat: skin and thin clothes
are bright, thick clothes, bags and hats dark, prints cannot be seen. Build, cut of clothes, hair
and things carried are the same in all of them. Past the rounding of a few numbers all is integer
arithmetic, so that every machine draws the same bytes.
"""

import dataclasses

import cv2
import numpy as np

from person_search.synthetic.canvas import Light, Sprite, shrink
from person_search.synthetic.palette import Colour
from person_search.synthetic.people.identity import Identity
from person_search.synthetic.people.wardrobe import luma
from person_search.synthetic.places.camera import Camera, add_noise
from person_search.synthetic.places.scene import PlacedObject, Scene

_DYE_SHARE = 0.4
"""How much of a garment's visible brightness near infrared keeps: some dyes do absorb it."""
_FAR_LIGHT, _NEAR_LIGHT = 0.30, 1.0
"""How bright the lamp is at the horizon and at the lower edge of the frame."""
_TORSO = {"t-shirt": 178, "tank top": 190, "dress": 172, "shirt": 154, "hoodie": 122, "jacket": 108,
          "coat": 86}  # fmt: skip
_LEGS = {"trousers": 146, "wide trousers": 126, "leggings": 184, "shorts": 150, "skirt": 138,
         "dress": 172}  # fmt: skip
"""Mean brightness of clothes in far infrared, grey levels."""


def _grey(level: float) -> Colour:
    value = max(0, min(255, round(level)))
    return value, value, value


def near_infrared(person: Identity, rng: np.random.Generator) -> Identity:
    """Return what near infrared shows of a person.

    Args:
        person: As seen in colour.
        rng: Generator of the person's materials: the same for every picture of somebody.
    """

    def cloth(colour: Colour) -> float:
        is_bright = rng.random() < 0.62
        own = (140 + 85 * rng.random()) if is_bright else (48 + 70 * rng.random())
        return float((1 - _DYE_SHARE) * own + _DYE_SHARE * luma(colour))

    def print_on(level: float) -> float:
        # One print in four is in dyes that all reflect alike, and vanishes.
        step = 0.0 if rng.random() < 0.25 else 34 + 60 * rng.random()
        return float(level + step if level + step < 225 and rng.random() < 0.5 else level - step)

    upper, lower = cloth(person.upper_colour), cloth(person.lower_colour)
    skin = 196 + 26 * rng.random() + 0.06 * luma(person.skin_colour)
    # Melanin absorbs little here: dark hair is far lighter than it looks.
    hair = 74 + 40 * rng.random() + 0.42 * luma(person.hair_colour)
    return dataclasses.replace(
        person,
        skin_colour=_grey(skin),
        hair_colour=_grey(hair),
        hat_colour=_grey(cloth(person.hat_colour)),
        upper_colour=_grey(upper),
        upper_pattern_colour=_grey(print_on(upper)),
        inner_colour=_grey(cloth(person.inner_colour)),
        lower_colour=_grey(upper if person.lower_type == "dress" else lower),
        lower_pattern_colour=_grey(print_on(lower)),
        shoe_colour=_grey(cloth(person.shoe_colour)),
        bag_colour=_grey(cloth(person.bag_colour)),
    )


def far_infrared(person: Identity, rng: np.random.Generator) -> Identity:
    """Return what far infrared (heat) shows of a person.

    Args:
        person: As seen in colour.
        rng: Generator of the person's warmth: the same for every picture of somebody.
    """

    def warm(level: float) -> float:
        return float(level + 12 * (2 * rng.random() - 1))

    upper, lower = warm(_TORSO[person.upper_type]), warm(_LEGS[person.lower_type])
    return dataclasses.replace(
        person,
        upper_pattern="plain",
        lower_pattern="plain",
        skin_colour=_grey(warm(240)),
        hair_colour=_grey(warm(128)),
        hat_colour=_grey(warm(104)),
        upper_colour=_grey(upper),
        inner_colour=_grey(warm(160)),
        lower_colour=_grey(upper if person.lower_type == "dress" else lower),
        shoe_colour=_grey(warm(116)),
        bag_colour=_grey(warm(66)),
    )


def _reflectance(bgr: np.ndarray) -> np.ndarray:
    """Return (H, W) uint8: how a painted thing of (H, W, 3) uint8 BGR reflects near infrared.

    Leaves, known by their green, are bright.
    """
    b, g, r = (bgr[:, :, k].astype(np.int32) for k in range(3))
    leaf = np.maximum(g - np.maximum(b, r), 0)
    return np.asarray(np.minimum((3 * r + 3 * g + 2 * b >> 3) + 2 * leaf, 255), np.uint8)


def lamp_level(camera: Camera, row: float) -> int:
    """Return the light that the camera's lamp throws on what stands on a row; 128 is full."""
    share = (row - camera.horizon) / max(1.0, camera.height - camera.horizon)
    share = max(0.0, min(1.0, share))
    return round(128 * (_FAR_LIGHT + (_NEAR_LIGHT - _FAR_LIGHT) * share))


def _lamp_map(camera: Camera) -> np.ndarray:
    """Return (H, W) uint16: the lamp's light on ground and walls, falling off to the edges."""
    rows = np.array([lamp_level(camera, y) for y in range(camera.height)], np.int64)
    x = np.abs(2 * np.arange(camera.width, dtype=np.int64) - camera.width)
    y = np.abs(2 * np.arange(camera.height, dtype=np.int64) - camera.height)
    out = x[None] ** 2 * 96 // camera.width**2 + y[:, None] ** 2 * 64 // camera.height**2
    return np.asarray(rows[:, None] * (208 - out) >> 8, np.uint16)


def _recolour(sprite: Sprite, grey: np.ndarray) -> Sprite:
    """Return the sprite in greys (H, W), which stay below its alpha."""
    alpha = sprite.bgra[:, :, 3]
    grey = np.minimum(grey, alpha).astype(np.uint8)
    return dataclasses.replace(sprite, bgra=cv2.merge([grey, grey, grey, alpha]))


def light_sprite(sprite: Sprite, level: int) -> Sprite:
    """Return a sprite lit by ``level`` of 128."""
    lit = sprite.bgra[:, :, 0].astype(np.int32) * level >> 7
    return _recolour(sprite, lit)


def near_scene(scene: Scene, index: int) -> Scene:
    """Return a place by night, in the light of an infrared camera, which is camera ``index``."""
    camera = _lamp_camera(scene.camera, index)
    light = _lamp_map(camera)
    ground = (_reflectance(scene.background) * light >> 7).astype(np.uint8)
    things = tuple(
        PlacedObject(_near_thing(o.sprite, lamp_level(camera, o.y)), o.x, o.y, o.footprint)
        for o in scene.objects
    )
    return Scene(camera, cv2.merge([ground] * 3), things)


def _near_thing(sprite: Sprite, level: int) -> Sprite:
    return _recolour(sprite, _reflectance(sprite.bgra[:, :, :3]).astype(np.int32) * level * 3 >> 9)


def far_scene(scene: Scene, index: int) -> Scene:
    """Return a place as camera ``index`` sees its heat: cold, soft, nearly without contrast."""
    camera = _lamp_camera(scene.camera, index)
    grey = _reflectance(scene.background).astype(np.int32)
    cold = (34 + (grey * 30 >> 8)).astype(np.uint8)
    above = max(0, round(camera.horizon))
    cold[:above] = cold[:above] * 3 // 4
    cold = cv2.GaussianBlur(cold, (21, 21), 0)
    things = tuple(PlacedObject(_far_thing(o.sprite), o.x, o.y, o.footprint) for o in scene.objects)
    return Scene(camera, cv2.merge([cold] * 3), things)


def _far_thing(sprite: Sprite) -> Sprite:
    grey = _reflectance(sprite.bgra[:, :, :3]).astype(np.int32)
    return _recolour(sprite, (46 + (grey * 36 >> 8)) * sprite.bgra[:, :, 3] // 255)


def _lamp_camera(camera: Camera, index: int) -> Camera:
    # The lamp is beside the lens: nearly no shade and no long shadows.
    light = Light(0.0, 0.06)
    return dataclasses.replace(camera, index=index, light=light, is_outdoors=False)


def deliver_near(
    image: np.ndarray, noise: float, blur: float, exposure: float, rng: np.random.Generator
) -> np.ndarray:
    """Return what a near-infrared camera delivers: bright things bloom, all is soft and grainy.

    Args:
        image: (H, W, 3) uint8, clean and grey.
        noise: Largest standard deviation of the noise, grey levels.
        blur: Largest standard deviation of the blur, pixels.
        exposure: Largest relative change of brightness of one picture.
        rng: The frame's generator.

    Returns:
        (H, W, 3) uint8 with three equal channels.
    """
    gain = round(128 * 1.08 * (1 + exposure * (2 * rng.random() - 1)))
    grey = np.minimum(image[:, :, 0].astype(np.int32) * gain >> 7, 255)
    # The sensor saturates softly: faces and bright cloth lose their detail.
    grey = np.where(grey > 190, 190 + (grey - 190) * 5 // 8, grey).astype(np.uint8)
    glare = cv2.GaussianBlur(np.where(grey > 176, grey - 150, 0).astype(np.uint8), (15, 15), 0)
    grey = cv2.add(grey, glare >> 1)
    sigma = max(0.35, blur * (0.4 + 0.6 * rng.random()))
    grey = cv2.GaussianBlur(grey, (5, 5), round(sigma, 2))
    return np.asarray(cv2.merge([_grain(grey, noise * (0.4 + 0.6 * rng.random()), rng)] * 3))


def deliver_far(
    image: np.ndarray, noise: float, blur: float, exposure: float, rng: np.random.Generator
) -> np.ndarray:
    """Return what a far-infrared camera delivers: few pixels, soft edges, faint columns.

    Args and return value are those of ``deliver_near``.
    """
    height, width = image.shape[:2]
    grey = cv2.copyMakeBorder(image[:, :, 0], 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    size = (grey.shape[1], grey.shape[0])
    sigma = max(0.4, blur * (0.5 + 0.5 * rng.random()))
    small = cv2.GaussianBlur(shrink(grey, 2), (5, 5), round(sigma, 2))
    grey = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR_EXACT)[:height, :width]
    # The gain control of each picture: warmest and coldest do not mean the same in two of them.
    gain = round(128 * (0.84 + 0.5 * exposure * (2 * rng.random() - 1)))
    offset = round(18 + 60 * exposure * (2 * rng.random() - 1))
    columns: np.ndarray = rng.integers(-2, 3, (1, width))
    level = (grey.astype(np.int32) * gain >> 7) + offset + columns
    grey = np.clip(level, 0, 255).astype(np.uint8)
    return np.asarray(cv2.merge([_grain(grey, noise * (0.4 + 0.6 * rng.random()), rng)] * 3))


def _grain(grey: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    dy, dx = int(rng.integers(0, 64)), int(rng.integers(0, 64))
    return add_noise(grey, round(sigma), dy, dx)

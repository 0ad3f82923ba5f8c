"""Backgrounds of the scenes: sky or walls, buildings, and a ground that runs to the vanishing point."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from .camera import Camera
from .palette import Colour, mix, scale, vary

_BITS = 4


class Backdrop:
    """A frame-sized picture to paint on; columns x and rows y are pixels."""

    def __init__(self, camera: Camera):
        self.camera = camera
        self.image = np.zeros((camera.height, camera.width, 3), np.uint8)
        self.unit = camera.height / 540
        self.horizon = camera.horizon

    def polygon(self, points: Sequence[tuple[float, float]], colour: Colour) -> None:
        """Fill a polygon of (x, y) points."""
        fixed = np.array([(round(x * 16), round(y * 16)) for x, y in points], np.int32)
        cv2.fillPoly(self.image, [fixed], colour[::-1], cv2.LINE_AA, _BITS)

    def box(self, x1: float, y1: float, x2: float, y2: float, colour: Colour) -> None:
        """Fill an upright rectangle."""
        self.polygon([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], colour)

    def line(
        self, x1: float, y1: float, x2: float, y2: float, colour: Colour, width: int = 1
    ) -> None:
        """Draw a line."""
        ends = [(round(x1 * 16), round(y1 * 16)), (round(x2 * 16), round(y2 * 16))]
        cv2.line(self.image, *ends, colour[::-1], width, cv2.LINE_AA, _BITS)

    def gradient(self, y1: float, y2: float, top: Colour, bottom: Colour) -> None:
        """Fill rows y1..y2 from one colour to another."""
        first, last = max(0, round(y1)), min(self.camera.height, round(y2))
        for row in range(first, last):
            self.image[row] = mix(top, bottom, (row - first) / max(1, last - first - 1))[::-1]

    def ground_point(self, across: float, away: float) -> tuple[float, float]:
        """Return (x, y) of a ground point; ``across`` is in pixels at the lower edge, ``away`` 1 there and large far off."""
        drop = (self.camera.height - self.horizon) / away
        x = self.camera.vanishing_x + across / away
        return x, self.horizon + drop

    def speckle(self, rng: np.random.Generator, y1: float, strength: int) -> None:
        """Roughen everything below a row, finer far away."""
        first = max(0, round(y1))
        shape = (self.camera.height - first, self.camera.width, 1)
        grain = rng.integers(-strength, strength + 1, shape, dtype=np.int16)
        region = self.image[first:]
        region[:] = np.clip(region + grain, 0, 255).astype(np.uint8)


def _tiles(back: Backdrop, colour: Colour, size: float, joint: Colour, slant: bool = True) -> None:
    """Lay a grid of square tiles on the ground."""
    width = back.camera.width
    reach = int(4 * width / size)
    for k in range(-reach, reach + 1):
        x0, y0 = back.ground_point(k * size, 12.0)
        x1, y1 = back.ground_point(k * size, 0.98)
        back.line(x0, y0, x1, y1, joint)
    away = 0.98
    while away < 12:
        y = back.ground_point(0, away)[1]
        back.line(0, y, width, y, joint)
        away += 0.16 * size / (90 * back.unit)


def _facade(
    back: Backdrop, rng: np.random.Generator, x1: float, x2: float, top: float, bottom: float
) -> None:
    """Paint a house front with rows of windows and a shop at street level."""
    wall = vary(
        rng,
        [(176, 120, 96), (206, 190, 160), (150, 150, 156), (120, 132, 146), (190, 160, 130)][
            int(rng.integers(0, 5))
        ],
        14,
    )
    back.box(x1, top, x2, bottom, wall)
    back.box(x1, top, x2, top + 5 * back.unit, scale(wall, 0.75))
    pane = vary(rng, (86, 110, 132), 16)
    step_x, step_y = (
        (26 + 16 * float(rng.random())) * back.unit,
        (34 + 10 * float(rng.random())) * back.unit,
    )
    shop = bottom - 58 * back.unit
    y = top + 12 * back.unit
    while y + step_y * 0.6 < shop:
        x = x1 + step_x * 0.35
        while x + step_x * 0.55 < x2:
            shade = scale(pane, 0.8 + 0.5 * float(rng.random()))
            back.box(
                x - 1.5, y - 1.5, x + step_x * 0.5 + 1.5, y + step_y * 0.55 + 1.5, scale(wall, 1.14)
            )
            back.box(x, y, x + step_x * 0.5, y + step_y * 0.55, shade)
            x += step_x
        y += step_y
    sign = vary(
        rng,
        [(40, 90, 120), (150, 50, 50), (60, 110, 70), (200, 150, 60), (60, 60, 70)][
            int(rng.integers(0, 5))
        ],
        14,
    )
    back.box(x1 + 3, shop, x2 - 3, bottom, scale(wall, 0.7))
    back.box(x1 + 6, shop + 14 * back.unit, x2 - 6, bottom, vary(rng, (110, 124, 132), 12))
    back.box(x1 + 3, shop, x2 - 3, shop + 12 * back.unit, sign)
    door = x1 + (x2 - x1) * (0.2 + 0.5 * float(rng.random()))
    back.box(door, shop + 16 * back.unit, door + 18 * back.unit, bottom, scale(sign, 0.7))


def _houses(back: Backdrop, rng: np.random.Generator, bottom: float) -> None:
    x = -30.0 * back.unit
    while x < back.camera.width:
        wide = (90 + 130 * float(rng.random())) * back.unit
        _facade(
            back, rng, x, x + wide, bottom - (110 + 150 * float(rng.random())) * back.unit, bottom
        )
        x += wide


def _trees(back: Backdrop, rng: np.random.Generator, bottom: float, count: int) -> None:
    for _ in range(count):
        x = float(rng.random()) * back.camera.width
        size = (30 + 60 * float(rng.random())) * back.unit
        green = vary(rng, (84, 126, 70), 20)
        back.box(x - size * 0.05, bottom - size * 0.5, x + size * 0.05, bottom, (92, 72, 54))
        for k in range(9):
            u, v = size * (float(rng.random()) - 0.5), size * (0.5 + 0.8 * float(rng.random()))
            r = round(size * 0.24)
            cv2.circle(
                back.image,
                (round(x + u), round(bottom - v)),
                r,
                scale(green, 0.8 + 0.03 * k)[::-1],
                -1,
                cv2.LINE_AA,
            )


def _sky(back: Backdrop, rng: np.random.Generator) -> None:
    top, low = [
        ((110, 160, 214), (206, 224, 236)),
        ((160, 176, 190), (214, 218, 222)),
        ((120, 130, 170), (240, 206, 170)),
    ][int(rng.integers(0, 3))]
    back.gradient(0, back.horizon + 40 * back.unit, top, low)


def paint_street(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Paint a pavement before a row of houses."""
    back = Backdrop(camera)
    _sky(back, rng)
    kerb = back.horizon + 26 * back.unit
    _houses(back, rng, kerb)
    stone = vary(rng, (168, 164, 156), 14)
    back.gradient(kerb, camera.height, scale(stone, 0.92), stone)
    _tiles(back, stone, (90 + 60 * float(rng.random())) * back.unit, scale(stone, 0.86))
    back.speckle(rng, kerb, 5)
    return back.image


def paint_park(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Paint lawns, a path and a belt of trees."""
    back = Backdrop(camera)
    _sky(back, rng)
    edge = back.horizon + 22 * back.unit
    _trees(back, rng, edge, 26)
    grass = vary(rng, (112, 146, 82), 14)
    back.gradient(edge, camera.height, scale(grass, 0.85), grass)
    path = vary(rng, (196, 178, 146), 12)
    wide = camera.width * (0.45 + 0.4 * float(rng.random()))
    curve = [back.ground_point(-wide, a) for a in (0.95, 1.4, 2.2, 4, 9)]
    other = [back.ground_point(wide * 0.7, a) for a in (9, 4, 2.2, 1.4, 0.95)]
    back.polygon(curve + other, path)
    for _ in range(900):
        x, y = (
            float(rng.random()) * camera.width,
            edge + (camera.height - edge) * float(rng.random()),
        )
        tall = 1 + 5 * (y - edge) / (camera.height - edge)
        if tuple(back.image[int(y), int(x)]) != path[::-1]:
            back.line(x, y, x + 1, y - tall, scale(grass, 0.84 + 0.3 * float(rng.random())))
    back.speckle(rng, edge, 6)
    return back.image


def paint_hall(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Paint a station hall or a mall: shop fronts, ceiling lights, polished tiles."""
    back = Backdrop(camera)
    wall = vary(rng, (206, 204, 198), 14)
    foot = back.horizon + 30 * back.unit
    back.gradient(0, foot, scale(wall, 0.8), wall)
    x = -20.0 * back.unit
    while x < camera.width:
        wide = (110 + 90 * float(rng.random())) * back.unit
        sign = vary(
            rng,
            [(40, 90, 140), (170, 60, 60), (70, 120, 80), (210, 160, 70), (80, 60, 110)][
                int(rng.integers(0, 5))
            ],
            20,
        )
        top = foot - 92 * back.unit
        back.box(x + 5, top, x + wide - 5, foot, vary(rng, (150, 160, 164), 18))
        back.box(x + 5, top - 18 * back.unit, x + wide - 5, top, sign)
        back.box(
            x + wide * 0.25,
            top - 12 * back.unit,
            x + wide * 0.75,
            top - 6 * back.unit,
            (240, 238, 228),
        )
        for k in range(5):
            u = x + 12 * back.unit + k * (wide - 24 * back.unit) / 5
            back.box(
                u,
                top + 30 * back.unit,
                u + wide / 9,
                foot - 8 * back.unit,
                vary(rng, (170, 150, 130), 40),
            )
        x += wide
    floor = vary(rng, (198, 190, 178), 12)
    back.gradient(foot, camera.height, scale(floor, 0.9), floor)
    _tiles(back, floor, (110 + 50 * float(rng.random())) * back.unit, scale(floor, 0.9))
    back.speckle(rng, foot, 3)
    return back.image


def paint_campus(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Paint a square before a long building, with lawn at its sides."""
    back = Backdrop(camera)
    _sky(back, rng)
    edge = back.horizon + 24 * back.unit
    _facade(
        back,
        rng,
        camera.width * 0.12,
        camera.width * 0.9,
        edge - (120 + 60 * float(rng.random())) * back.unit,
        edge,
    )
    _trees(back, rng, edge, 10)
    stone = vary(rng, (186, 160, 136), 14)
    back.gradient(edge, camera.height, scale(stone, 0.9), stone)
    _tiles(back, stone, (70 + 40 * float(rng.random())) * back.unit, scale(stone, 0.88))
    grass = vary(rng, (108, 140, 84), 12)
    reach = camera.width * 1.3
    for side in (-1, 1):
        near, far = back.ground_point(side * reach, 0.95), back.ground_point(side * reach, 9)
        back.polygon(
            [near, far, (far[0] + side * 4000, far[1]), (near[0] + side * 4000, near[1])], grass
        )
    back.speckle(rng, edge, 5)
    return back.image


def paint_corridor(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Paint an indoor corridor with doors on both sides."""
    back = Backdrop(camera)
    wall = vary(rng, (212, 206, 190), 12)
    back.gradient(0, camera.height, scale(wall, 0.94), wall)
    floor = vary(rng, (150, 146, 150), 16)
    vx, hz = camera.vanishing_x, back.horizon
    end = 9.0
    half = camera.width * 0.9
    far_l, far_r = back.ground_point(-half, end), back.ground_point(half, end)
    near_l, near_r = back.ground_point(-half, 0.95), back.ground_point(half, 0.95)
    tall = (far_r[0] - far_l[0]) * 0.4
    back.box(far_l[0], far_l[1] - tall, far_r[0], far_r[1], scale(wall, 0.85))
    ceiling = (far_l[0], far_l[1] - tall), (far_r[0], far_r[1] - tall)
    back.polygon(
        [*ceiling, (vx + 3000, hz - 3000 * 0.45), (vx - 3000, hz - 3000 * 0.45)], scale(wall, 1.08)
    )
    back.polygon([near_l, far_l, far_r, near_r], floor)
    for side in (-1, 1):
        for away in (1.3, 1.9, 2.9, 4.6):
            a, b = back.ground_point(side * half, away), back.ground_point(side * half, away * 1.22)
            height = camera.growth * 1.25
            back.polygon(
                [a, b, (b[0], b[1] - height * (b[1] - hz)), (a[0], a[1] - height * (a[1] - hz))],
                vary(rng, (140, 96, 66), 18),
            )
    _tiles_inside(back, near_l, far_l, far_r, near_r, scale(floor, 0.9))
    back.speckle(rng, far_l[1], 3)
    return back.image


def _tiles_inside(back: Backdrop, near_l, far_l, far_r, near_r, joint: Colour) -> None:
    for k in range(1, 12):
        t = k / 12
        back.line(
            near_l[0] + (near_r[0] - near_l[0]) * t,
            near_l[1],
            far_l[0] + (far_r[0] - far_l[0]) * t,
            far_l[1],
            joint,
        )
    away = 1.0
    while away < 9:
        half = back.camera.width * 0.9
        a, b = back.ground_point(-half, away), back.ground_point(half, away)
        back.line(*a, *b, joint)
        away *= 1.14


def paint_car_park(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Paint asphalt with parking bays before a wall and trees."""
    back = Backdrop(camera)
    _sky(back, rng)
    edge = back.horizon + 22 * back.unit
    _trees(back, rng, edge - 20 * back.unit, 14)
    wall = vary(rng, (160, 148, 138), 14)
    back.box(0, edge - 34 * back.unit, camera.width, edge, wall)
    asphalt = vary(rng, (118, 120, 124), 14)
    back.gradient(edge, camera.height, scale(asphalt, 0.92), asphalt)
    for away in (1.15, 2.6):
        for k in range(-12, 13):
            a, b = (
                back.ground_point(k * 170 * back.unit, away),
                back.ground_point(k * 170 * back.unit, away * 1.55),
            )
            back.line(*a, *b, (222, 222, 214), max(1, round(5 * back.unit / away)))
    back.speckle(rng, edge, 9)
    return back.image


PAINTERS: dict[str, Callable[[Camera, np.random.Generator], np.ndarray]] = {
    "street": paint_street, "park": paint_park, "hall": paint_hall, "campus": paint_campus,
    "corridor": paint_corridor, "car park": paint_car_park,
}  # fmt: skip

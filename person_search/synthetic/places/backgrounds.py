"""Backgrounds of the six kinds of scenes, without the things that stand among the people."""

from collections.abc import Callable

import numpy as np

from person_search.synthetic.palette import Colour, scale, vary
from person_search.synthetic.places.backdrop import (
    SIGNS,
    WALLS,
    Backdrop,
    between,
    choose,
    paint_facade,
    paint_houses,
    paint_sky,
    paint_stains,
    paint_tiles,
    paint_trees,
)
from person_search.synthetic.places.camera import Camera
from person_search.synthetic.places.style_backgrounds import (
    paint_atrium,
    paint_night_park,
    paint_night_street,
    paint_plaza,
    paint_shop_floor,
)


def paint_street(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Paint a wide pavement, a road behind it and a row of houses."""
    back = Backdrop(camera)
    unit = back.unit
    paint_sky(back, rng)
    kerb = back.horizon + 24 * unit
    paint_houses(back, rng, kerb)
    stone = vary(rng, (168, 164, 156), 14)
    back.gradient(kerb, back.height, scale(stone, 0.92), stone)
    paint_stains(back, rng, stone, kerb)
    paint_tiles(back, between(rng, 90, 150) * unit, scale(stone, 0.86))
    if rng.random() < 0.7:
        far, near = between(rng, 5.5, 7.0), between(rng, 3.4, 4.2)
        asphalt = vary(rng, (96, 98, 102), 10)
        top, bottom = back.ground_point(0, far)[1], back.ground_point(0, near)[1]
        back.box(0, top, back.width, bottom, asphalt)
        back.box(0, bottom, back.width, bottom + 4 * unit, scale(stone, 1.15))
        back.box(0, top - 2 * unit, back.width, top, scale(stone, 1.1))
        middle = back.ground_point(0, (far * near) ** 0.5)[1]
        for k in range(14):
            x = k * 80 * unit
            back.box(x, middle, x + 36 * unit, middle + 2 * unit, (216, 214, 204))
    back.speckle(rng, kerb, 5)
    return back.image


def paint_park(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Paint lawns with flowers, a path and a belt of trees."""
    back = Backdrop(camera)
    paint_sky(back, rng)
    edge = back.horizon + 22 * back.unit
    paint_trees(back, rng, edge, 26)
    grass = vary(rng, (112, 146, 82), 14)
    back.gradient(edge, back.height, scale(grass, 0.85), grass)
    for away in (5.0, 3.0, 1.9, 1.25):
        y = back.ground_point(0, away)[1]
        back.box(0, y, back.width, y + 26 * back.unit / away, scale(grass, 0.96))
    path = vary(rng, (196, 178, 146), 12)
    wide = back.width * between(rng, 0.45, 0.85)
    back.ground_patch((-wide * 1.06, wide * 0.76), (0.95, 9), scale(path, 0.82))
    back.ground_patch((-wide, wide * 0.7), (0.95, 9), path)
    paint_stains(back, rng, path, back.height * 2)
    _paint_grass(back, rng, grass, path, edge)
    back.speckle(rng, edge, 6)
    return back.image


def _paint_grass(
    back: Backdrop, rng: np.random.Generator, grass: Colour, path: Colour, edge: float
) -> None:
    bloom = choose(rng, ((236, 210, 80), (236, 236, 236), (214, 96, 120), (140, 100, 190)))
    for k in range(1400):
        x, y = between(rng, 0, back.width - 1), between(rng, edge, back.height - 1)
        if tuple(int(c) for c in back.image[int(y), int(x)]) == path[::-1]:
            continue
        share = (y - edge) / (back.height - edge)
        tall = (1 + 5 * share) * back.unit
        back.line(x, y, x + 1, y - tall, scale(grass, between(rng, 0.84, 1.14)))
        if k % 9 == 0:
            back.disc(x, y - tall, 0.6 + 1.6 * share * back.unit, 0.5 + 1.4 * share, bloom)


def paint_hall(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Paint a station hall or a mall: shop fronts, hanging signs, lamps, polished tiles."""
    back = Backdrop(camera)
    unit, wall = back.unit, vary(rng, (206, 204, 198), 14)
    foot = back.horizon + 30 * unit
    back.gradient(0, foot, scale(wall, 0.8), wall)
    floor = vary(rng, (198, 190, 178), 12)
    back.gradient(foot, back.height, scale(floor, 0.9), floor)
    x = -20.0 * unit
    while x < back.width:
        wide = between(rng, 110, 200) * unit
        _paint_store(back, rng, x, wide, foot, floor)
        x += wide
    paint_tiles(back, between(rng, 110, 160) * unit, scale(floor, 0.9))
    for k in range(int(rng.integers(3, 6))):
        x = back.width * (k + between(rng, 0.2, 0.8)) / 5
        back.line(x, 0, x, 14 * unit, scale(wall, 0.5))
        back.disc(x, 18 * unit, 22 * unit, 7 * unit, (250, 246, 226))
    x, sign = between(rng, 0.2, 0.7) * back.width, choose(rng, SIGNS)
    for hook in (12, 108):
        back.line(x + hook * unit, 0, x + hook * unit, 30 * unit, scale(wall, 0.5), 2)
    back.box(x, 26 * unit, x + 120 * unit, 54 * unit, sign)
    back.box(x + 12 * unit, 36 * unit, x + 70 * unit, 42 * unit, (238, 238, 230))
    back.disc(x + 98 * unit, 40 * unit, 8 * unit, 8 * unit, (238, 238, 230))
    back.speckle(rng, foot, 3)
    return back.image


def _paint_store(
    back: Backdrop, rng: np.random.Generator, x: float, wide: float, foot: float, floor: Colour
) -> None:
    unit, sign = back.unit, choose(rng, SIGNS, 20)
    top = foot - 92 * unit
    glass = vary(rng, (156, 166, 168), 18)
    back.box(x + 5, top, x + wide - 5, foot, glass)
    back.box(x + 5, top - 18 * unit, x + wide - 5, top, sign)
    label = x + wide * 0.25, x + wide * between(rng, 0.55, 0.8)
    back.box(label[0], top - 12 * unit, label[1], top - 6 * unit, (240, 238, 228))
    for k in range(5):
        left = x + 12 * unit + k * (wide - 24 * unit) / 5
        goods = choose(rng, WALLS, 40)
        high = top + between(rng, 24, 46) * unit
        back.box(left, high, left + wide / 9, foot - 8 * unit, goods)
        back.line(left, high + 14 * unit, left + wide / 9, high + 14 * unit, scale(goods, 0.7))
    shine = [(x + wide * 0.3, top), (x + wide * 0.42, top), (x + wide * 0.3, foot)]
    back.polygon([*shine, (x + wide * 0.18, foot)], scale(glass, 1.07))
    # Polished floors mirror the shop fronts faintly.
    back.box(x + 5, foot, x + wide - 5, foot + 30 * unit, scale(floor, 0.84))


def paint_campus(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Paint a paved square before a long building, with lawns at its sides."""
    back = Backdrop(camera)
    paint_sky(back, rng)
    edge = back.horizon + 24 * back.unit
    roof = edge - between(rng, 120, 180) * back.unit
    paint_facade(back, rng, back.width * 0.12, back.width * 0.9, roof, edge)
    paint_trees(back, rng, edge, 10)
    stone = vary(rng, (186, 160, 136), 14)
    back.gradient(edge, back.height, scale(stone, 0.9), stone)
    paint_stains(back, rng, stone, edge)
    paint_tiles(back, between(rng, 70, 110) * back.unit, scale(stone, 0.88))
    grass = vary(rng, (108, 140, 84), 12)
    reach = back.width * between(rng, 1.0, 1.5)
    for side in (-1, 1):
        span = sorted((side * reach, side * 14 * back.width))
        back.ground_patch((span[0], span[1]), (0.95, 9), grass)
        rim = sorted((side * reach * 0.96, side * reach))
        back.ground_patch((rim[0], rim[1]), (0.95, 9), scale(stone, 1.14))
    back.speckle(rng, edge, 5)
    return back.image


def paint_corridor(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Paint an indoor corridor: doors and boards on both sides, lamps along the ceiling."""
    back = Backdrop(camera)
    wall, floor = vary(rng, (212, 206, 190), 12), vary(rng, (150, 146, 150), 16)
    half, end = camera.half_way, 9.0
    tall = (back.ground_point(half, end)[0] - back.ground_point(-half, end)[0]) * 0.4

    def above(across: float, away: float, share: float) -> tuple[float, float]:
        """Return the point at a share of the room's height above a point of the ground."""
        x, y = back.ground_point(across, away)
        return x, y - share * tall * end / away

    back.gradient(0, back.height, scale(wall, 0.94), wall)
    back.polygon([above(-half, end, 0), above(half, end, 0), above(half, end, 1),
                  above(-half, end, 1)], scale(wall, 0.85))  # fmt: skip
    back.polygon([above(-half, end, 1), above(half, end, 1), above(half, 0.3, 1),
                  above(-half, 0.3, 1)], scale(wall, 1.08))  # fmt: skip
    for away in (7.0, 4.6, 3.0, 2.0, 1.3):
        lamp = [above(u * half, w, 1) for u, w in ((-0.16, away), (0.16, away),
                (0.16, away * 1.16), (-0.16, away * 1.16))]  # fmt: skip
        back.polygon(lamp, (255, 252, 236))
    back.ground_patch((-half, half), (0.95, end), floor)
    paint_stains(back, rng, floor, back.height * 2)
    paint_tiles(back, half / 6, scale(floor, 0.9), half)
    door = choose(rng, ((140, 96, 66), (96, 116, 130), (150, 70, 60), (120, 120, 110)))
    for side in (-half, half):
        back.polygon([above(side, 0.95, 0.05), above(side, end, 0.05), above(side, end, 0),
                      above(side, 0.95, 0)], scale(wall, 0.7))  # fmt: skip
        for away in (1.3, 1.9, 2.9, 4.6):
            near, far, high = away, away * 1.22, 0.72
            colour = vary(rng, door, 8)
            if rng.random() < 0.3:
                panel = [above(side, near, 0.35), above(side, far, 0.35), above(side, far, 0.7),
                         above(side, near, 0.7)]  # fmt: skip
                back.polygon(panel, choose(rng, SIGNS, 30))
                continue
            back.polygon([above(side, near * 0.98, 0), above(side, far * 1.02, 0),
                          above(side, far * 1.02, high + 0.03), above(side, near * 0.98, high +
                          0.03)],
                         scale(wall, 0.78))  # fmt: skip
            back.polygon([above(side, near, 0), above(side, far, 0), above(side, far, high),
                          above(side, near, high)], colour)  # fmt: skip
    back.speckle(rng, back.ground_point(0, end)[1], 3)
    return back.image


def paint_car_park(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Paint asphalt with parking bays before a wall and trees."""
    back = Backdrop(camera)
    unit = back.unit
    paint_sky(back, rng)
    edge = back.horizon + 22 * unit
    paint_trees(back, rng, edge - 20 * unit, 16)
    wall = vary(rng, (160, 148, 138), 14)
    back.box(0, edge - 34 * unit, back.width, edge, wall)
    for row in range(3):
        y = edge - (26 - 9 * row) * unit
        back.line(0, y, back.width, y, scale(wall, 0.88))
    asphalt = vary(rng, (118, 120, 124), 14)
    back.gradient(edge, back.height, scale(asphalt, 0.92), asphalt)
    paint_stains(back, rng, asphalt, edge)
    paint = choose(rng, ((222, 222, 214), (226, 196, 90)))
    bay = between(rng, 150, 210) * unit
    for away in (1.15, 2.6):
        for k in range(-14, 15):
            start, stop = back.ground_point(k * bay, away), back.ground_point(k * bay, away * 1.55)
            back.line(*start, *stop, paint, max(1, round(5 * unit / away)))
    x, y = back.ground_point(0, 2.05)
    back.polygon(
        [(x - 40 * unit, y), (x + 20 * unit, y - 8 * unit), (x + 20 * unit, y + 8 * unit)], paint
    )
    back.box(x + 18 * unit, y - 3 * unit, x + 60 * unit, y + 3 * unit, paint)
    back.speckle(rng, edge, 9)
    return back.image


PAINTERS: dict[str, Callable[[Camera, np.random.Generator], np.ndarray]] = {
    "street": paint_street, "park": paint_park, "hall": paint_hall, "campus": paint_campus,
    "corridor": paint_corridor, "car park": paint_car_park,
    "plaza": paint_plaza, "night street": paint_night_street, "night park": paint_night_park,
    "atrium": paint_atrium, "shop floor": paint_shop_floor,
}  # fmt: skip
"""Painter of each scene of ``camera.SCENES`` and of styled worlds; returns (H, W, 3) uint8 BGR."""

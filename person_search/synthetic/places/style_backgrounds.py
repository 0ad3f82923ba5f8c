"""Backgrounds of the places of styled worlds: a plaza, streets at night, an atrium, a shop."""

import numpy as np

from person_search.synthetic.palette import Colour, mix, scale, vary
from person_search.synthetic.places.backdrop import (
    SIGNS,
    WALLS,
    Backdrop,
    between,
    choose,
    paint_facade,
    paint_stains,
    paint_tiles,
)
from person_search.synthetic.places.camera import Camera


def paint_plaza(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Paint a sunlit square: deep blue sky, white and coloured houses, hard shadows on stone."""
    back = Backdrop(camera)
    unit = back.unit
    edge = back.horizon + 24 * unit
    back.gradient(0, edge, (38, 104, 206), (150, 200, 240))
    x = -20.0 * unit
    while x < back.width:
        wide, high = between(rng, 80, 170) * unit, between(rng, 60, 190) * unit
        paint_facade(back, rng, x, x + wide, edge - high, edge)
        x += wide + between(rng, 0, 30) * unit
    stone = choose(rng, ((238, 222, 186), (226, 206, 190), (232, 232, 220)), 8)
    back.gradient(edge, back.height, scale(stone, 0.92), stone)
    paint_tiles(back, between(rng, 70, 130) * unit, scale(stone, 0.84))
    paint_stains(back, rng, stone, edge)
    side = 1.0 if camera.light.side < 0 else -1.0
    shade = scale(mix(stone, (60, 80, 150), 0.35), 0.55)
    for _ in range(int(rng.integers(3, 6))):  # shadows of masts and awnings out of the picture
        away, across = between(rng, 1.1, 3.5), between(rng, -1.2, 1.2) * back.width
        wide, long = between(rng, 14, 90) * unit, between(rng, 300, 700) * unit
        near = [back.ground_point(across, away), back.ground_point(across + wide, away)]
        far = back.ground_point(across + side * long, away * 1.3)
        back.polygon([*near, far, (far[0] - wide / away, far[1])], shade)
    back.speckle(rng, edge, 4)
    return back.image


def _glow(back: Backdrop, x: float, y: float, size: float, colour: Colour, under: Colour) -> None:
    for share in (1.0, 0.7, 0.45, 0.25):
        halo = mix(under, colour, 0.16 + 0.8 * (1 - share))
        back.disc(x, y, size * share, size * share, halo)


def _night_ground(
    back: Backdrop, rng: np.random.Generator, edge: float, ground: Colour, lamp: Colour
) -> None:
    """Paint dark wet ground with pools of lamp light and, under them, their mirror image."""
    back.gradient(edge, back.height, scale(ground, 0.7), ground)
    paint_stains(back, rng, ground, edge)
    for _ in range(int(rng.integers(3, 7))):
        away = 1.0 / between(rng, 0.2, 0.95)
        x, y = back.ground_point(between(rng, -1.0, 1.0) * back.width, away)
        wide = between(rng, 120, 260) * back.unit / away
        for share in (1.0, 0.75, 0.5, 0.28):
            pool = mix(ground, lamp, 0.1 + 0.34 * (1 - share))
            back.disc(x, max(edge, y), wide * share, wide * 0.24 * share, pool)
    for _ in range(5):
        x = between(rng, 0, back.width)
        low = edge + between(rng, 40, 150) * back.unit
        back.box(x, edge, x + 7 * back.unit, low, mix(ground, lamp, 0.22))


def paint_night_street(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Paint a street after sunset: a red strip of sky, lit windows, lamps and their pools."""
    back = Backdrop(camera)
    unit, lamp = back.unit, choose(rng, ((255, 196, 110), (255, 226, 170), (255, 170, 90)), 8)
    edge = back.horizon + 26 * unit
    back.gradient(0, edge, (34, 36, 78), (216, 116, 74))
    x = -20.0 * unit
    while x < back.width:
        wide, top = between(rng, 80, 190) * unit, edge - between(rng, 60, 170) * unit
        wall = scale(choose(rng, WALLS), 0.36)
        back.box(x, top, x + wide, edge, wall)
        row = top + 10 * unit
        while row < edge - 26 * unit:
            column = x + 8 * unit
            while column < x + wide - 12 * unit:
                is_lit = rng.random() < 0.3
                pane = vary(rng, (255, 214, 130), 16) if is_lit else scale(wall, 0.6)
                back.box(column, row, column + 10 * unit, row + 14 * unit, pane)
                column += 20 * unit
            row += 26 * unit
        if rng.random() < 0.6:
            sign = choose(rng, ((250, 90, 80), (90, 230, 180), (250, 220, 90), (120, 150, 255)))
            back.box(x + 12 * unit, edge - 30 * unit, x + wide * 0.7, edge - 20 * unit, sign)
        back.box(x + 12 * unit, edge - 20 * unit, x + wide * 0.8, edge, mix(wall, lamp, 0.55))
        x += wide
    ground = vary(rng, (92, 88, 96), 12)
    _night_ground(back, rng, edge, ground, lamp)
    back.speckle(rng, edge, 5)
    return back.image


def paint_night_park(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Paint a path among dark trees with glowing lamps."""
    back = Backdrop(camera)
    unit, lamp = back.unit, vary(rng, (255, 206, 130), 10)
    edge = back.horizon + 24 * unit
    back.gradient(0, edge, (44, 46, 92), (196, 124, 92))
    for _ in range(26):
        x, size = between(rng, 0, back.width), between(rng, 40, 110) * unit
        leaf = scale(vary(rng, (44, 56, 48), 10), between(rng, 0.6, 1.0))
        back.disc(x, edge - size * 0.6, size * 0.6, size * 0.7, leaf)
    for _ in range(int(rng.integers(3, 6))):
        x, y = between(rng, 0, back.width), edge - between(rng, 30, 80) * unit
        back.line(x, y, x, edge, (30, 30, 34), max(1, round(2 * unit)))
        _glow(back, x, y, 26 * unit, lamp, (70, 66, 70))
    grass = vary(rng, (58, 74, 52), 8)
    _night_ground(back, rng, edge, grass, lamp)
    path, half = vary(rng, (118, 108, 96), 10), back.width * between(rng, 0.4, 0.8)
    back.ground_patch((-half, half * 0.8), (0.95, 9), path)
    for away in (1.2, 2.2, 4.0):
        x, y = back.ground_point(between(rng, -0.5, 0.5) * half, away)
        for share in (1.0, 0.6, 0.3):
            wide = 200 * unit * share / away
            back.disc(x, y, wide, wide * 0.2, mix(path, lamp, 0.1 + 0.3 * (1 - share)))
    back.speckle(rng, edge, 5)
    return back.image


def paint_atrium(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Paint a bright hall of plain walls and glass whose polished floor mirrors them."""
    back = Backdrop(camera)
    unit = back.unit
    foot = back.horizon + 34 * unit
    wall = choose(rng, ((226, 232, 236), (212, 222, 230), (234, 232, 226)), 6)
    floor = mix(wall, (196, 206, 214), 0.5)
    back.gradient(0, foot, scale(wall, 0.94), wall)
    back.gradient(foot, back.height, scale(floor, 0.95), floor)
    x = between(rng, -60, 0) * unit
    while x < back.width:
        wide = between(rng, 130, 320) * unit
        panel = choose(rng, ((196, 216, 226), (222, 226, 228), (204, 208, 220), (216, 206, 212)), 8)
        top = foot - between(rng, 70, 130) * unit
        back.box(x + 8 * unit, top, x + wide - 8 * unit, foot, panel)
        back.box(x + wide - 4 * unit, 0, x + wide + 4 * unit, foot, scale(wall, 0.86))
        mirrored = mix(floor, panel, 0.6)
        back.box(x + 8 * unit, foot, x + wide - 8 * unit, 2 * foot - top, scale(mirrored, 0.97))
        if rng.random() < 0.35:
            sign = mix(choose(rng, SIGNS, 30), (255, 255, 255), 0.45)
            back.box(x + wide * 0.3, top + 14 * unit, x + wide * 0.6, top + 34 * unit, sign)
        x += wide
    back.box(0, foot - 3 * unit, back.width, foot, scale(wall, 0.82))
    for k in range(6):  # lamps above, and below as they shine in the floor
        x = back.width * (k + between(rng, 0.2, 0.8)) / 6
        back.box(x - 30 * unit, 6 * unit, x + 30 * unit, 14 * unit, (252, 254, 255))
        low = foot + between(rng, 60, 260) * unit
        for share in (1.0, 0.6):
            glare = mix(floor, (255, 255, 255), 0.35 + 0.5 * (1 - share))
            back.disc(x, low, 16 * unit * share, 90 * unit * share, glare)
    back.speckle(rng, foot, 2)
    return back.image


def paint_shop_floor(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Paint a shop of long shelves full of small coloured goods on a dark carpet."""
    back = Backdrop(camera)
    unit = back.unit
    foot = back.horizon + 30 * unit
    wall = choose(rng, ((150, 138, 112), (120, 132, 120), (140, 126, 132)), 10)
    back.gradient(0, foot, scale(wall, 0.7), wall)
    carpet = choose(rng, ((84, 74, 92), (70, 88, 84), (104, 82, 70), (92, 92, 100)), 10)
    back.gradient(foot, back.height, scale(carpet, 0.85), carpet)
    paint_tiles(back, between(rng, 40, 70) * unit, scale(carpet, 1.12))
    for level in range(5):
        y = foot - (10 + 22 * level) * unit
        x = 0.0
        while x < back.width:
            wide = between(rng, 6, 22) * unit
            goods = choose(rng, SIGNS + WALLS, 40)
            back.box(x, y - between(rng, 10, 17) * unit, x + wide - 1, y, goods)
            x += wide
        back.box(0, y, back.width, y + 4 * unit, scale(wall, 0.55))
    for _ in range(int(rng.integers(2, 5))):  # bins of offers on the carpet
        away = between(rng, 2.2, 5.0)
        x, y = back.ground_point(between(rng, -1.5, 1.5) * back.width, away)
        wide = 150 * unit / away
        goods = choose(rng, SIGNS, 30)
        back.box(x - wide, y - wide * 0.9, x + wide, y, goods)
        back.box(x - wide, y - wide * 0.9, x + wide, y - wide * 0.7, scale(goods, 1.5))
    back.speckle(rng, foot, 6)
    return back.image

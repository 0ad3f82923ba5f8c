"""Alignment by five points, against a general least-squares solution and by what is seen."""

import cv2
import numpy as np
import pytest

from reid_heads.faces.alignment import TEMPLATE, align_face, estimate_similarity


def similarity(scale, degrees, shift):
    turn = np.radians(degrees)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.column_stack([linear, shift])


@pytest.mark.parametrize("degrees", [0, 17, 90, 180, -135])
@pytest.mark.parametrize("scale", [0.2, 1, 9.5])
def test_exact_points_give_their_transform(degrees, scale):
    expected = similarity(scale, degrees, [310.0, -12.5])
    found = estimate_similarity(TEMPLATE, TEMPLATE @ expected[:, :2].T + expected[:, 2])
    np.testing.assert_allclose(found.matrix, expected, atol=1e-9)
    assert found.scale == pytest.approx(scale)
    np.testing.assert_allclose(
        found.apply(TEMPLATE), TEMPLATE @ expected[:, :2].T + expected[:, 2], atol=1e-9
    )


@pytest.mark.parametrize("seed", range(5))
def test_least_squares_as_the_normal_equations_have_it(seed):
    """x' = a x - b y + c, y' = b x + a y + d: ten linear equations for four unknowns."""
    rng = np.random.default_rng(seed)
    points = TEMPLATE * 3 + rng.normal(0, 12, (5, 2)) + 40
    rows, right = [], []
    for (x, y), (u, v) in zip(points, TEMPLATE, strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        right += [u, v]
    a, b, c, d = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    found = estimate_similarity(points).matrix
    np.testing.assert_allclose(found, [[a, -b, c], [b, a, d]], atol=1e-9)


def test_a_drawn_face_lands_on_the_template():
    """Discs at the points of a turned face of any size are at the template's points afterwards."""
    for scale, degrees, size in ((0.6, 20, 112), (1.0, -30, 112), (6.3, 75, 112), (2.0, 10, 56)):
        inverse = similarity(scale, degrees, [0, 0])
        points = TEMPLATE @ inverse[:, :2].T
        points += 60 * scale - points.min(axis=0)
        side = int(points.max() + 60 * scale)
        image = np.zeros((side, side, 3), np.uint8)
        for x, y in points:
            centre = (round(x * 16), round(y * 16))
            cv2.circle(image, centre, round(4 * scale * 16), (255,) * 3, -1, cv2.LINE_AA, 4)
        aligned = align_face(image, points, size)
        assert aligned.shape == (size, size, 3)
        mask = (aligned[:, :, 0] > 128).astype(np.uint8)
        centres = cv2.connectedComponentsWithStats(mask)[3][1:]
        target = TEMPLATE * size / 112
        distances = np.linalg.norm(centres[:, None] - target, axis=2)
        assert len(centres) == 5
        assert distances.min(axis=0).max() < 0.5


def test_outside_of_the_image_is_black():
    image = np.full((40, 40, 3), 200, np.uint8)
    aligned = align_face(image, TEMPLATE - 60)
    # Its first pixel lands at (60, 60).
    assert not aligned[:59].any() and not aligned[:, :59].any()
    assert (aligned[61:99, 61:99] == 200).all() and not aligned[101:].any()


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.ones((5, 2)) * 7, "lie on one spot"),
        (np.zeros((5, 2)), "lie on one spot"),
        (np.arange(10).reshape(5, 2), "lie on one line"),
        (TEMPLATE * [1, 0], "lie on one line"),
        (TEMPLATE * np.nan, "expected finite coordinates"),
        (TEMPLATE[:4], r"got shape \(4, 2\), expected \(5, 2\)"),
        (TEMPLATE[[1, 0, 2, 4, 3]], "left and right exchanged"),
        (TEMPLATE * [-1, 1], "mirror image"),
    ],
)
def test_degenerate_points(points, message):
    with pytest.raises(ValueError, match=message):
        estimate_similarity(points)


def test_bad_images():
    for image in (np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3)), None):
        with pytest.raises(ValueError, match="expected an array"):
            align_face(image, TEMPLATE)
    with pytest.raises(ValueError, match="size: got 0"):
        align_face(np.zeros((5, 5, 3), np.uint8), TEMPLATE, 0)

import numpy as np
import pytest

from person_search.drawing.blurring import blur_others

PERSON = (10.0, 10.0, 50.0, 110.0)
OTHER = np.array([[70.0, 10.0, 110.0, 110.0]])


@pytest.fixture
def street():
    """Stripes of one pixel, which no blurring leaves, and a picture that must not change."""
    picture = np.zeros((120, 160, 3), np.uint8)
    picture[:, ::2] = 255
    picture.setflags(write=False)
    return picture


def contrast(picture, box):
    """Of neighbouring columns: 255 where the stripes are whole."""
    x1, y1, x2, y2 = box
    return int(abs(np.diff(picture[y1:y2, x1:x2].astype(int), axis=1)).max())


def test_others_are_blurred_with_a_margin_and_the_rest_stays(street):
    shown = blur_others(street, PERSON, OTHER)
    assert contrast(shown, (70, 10, 110, 110)) < 30
    assert contrast(shown, (65, 5, 70, 115)) < 60, "the margin"
    for same in (shown[10:110, 10:50], shown[:, 120:]):
        assert contrast(same, (0, 0, same.shape[1], same.shape[0])) == 255


def test_where_two_stand_the_other_is_blurred_but_for_the_margin(street):
    shown = blur_others(street, PERSON, np.array([[40.0, 10.0, 80.0, 110.0]]))
    assert contrast(shown, (40, 10, 80, 110)) < 30
    assert (shown[10:110, 10:40] == street[10:110, 10:40]).all(), "6 pixels of it were the margin"


def test_with_others_unknown_all_around_the_person_is_blurred(street):
    shown = blur_others(street, PERSON, None)
    assert (shown[10:110, 10:50] == street[10:110, 10:50]).all()
    assert contrast(shown, (50, 0, 160, 120)) < 30 and contrast(shown, (0, 0, 10, 120)) < 30
    assert contrast(blur_others(street, None, None), (0, 0, 160, 120)) < 30


def test_a_person_of_few_pixels_and_boxes_across_the_border(street):
    shown = blur_others(
        street, None, np.array([[-20, -20, 8, 12], [150, 100, 400, 400], [5e3] * 4])
    )
    assert contrast(shown, (0, 0, 8, 12)) < 60 and contrast(shown, (150, 100, 160, 120)) < 60
    assert (shown[30:60, 20:110] == street[30:60, 20:110]).all()


def test_the_same_twice_and_nobody_else(street):
    assert (blur_others(street, PERSON, OTHER) == blur_others(street, PERSON, OTHER)).all()
    assert (blur_others(street, PERSON, np.zeros((0, 4))) == street).all()


@pytest.mark.parametrize(
    ("person", "others", "margin"),
    [
        (PERSON, [[1, 2, np.nan, 4]], 0.1),
        ((1, 2, np.inf, 4), None, 0.1),
        (PERSON, OTHER, -0.1),
        (PERSON, OTHER, np.nan),
    ],
)
def test_what_has_no_place_is_refused(street, person, others, margin):
    with pytest.raises(ValueError, match="cannot blur"):
        blur_others(street, person, others, margin=margin)

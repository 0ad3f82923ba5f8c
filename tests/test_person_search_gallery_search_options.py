import numpy as np
import pytest

from person_search.gallery.engine import GalleryError
from person_search.gallery.nearest import make_filter
from person_search.gallery.search_options import ALL_FRAMES, FrameFilter


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cameras": "north"}, "cameras is 'north'; expected names in a list"),
        ({"cameras": []}, "expected names in a list"),
        ({"without": "/a/1.jpg"}, "without is '/a/1.jpg'; expected names in a list"),
        ({"since": float("nan")}, "expected seconds"),
        ({"until": float("inf")}, "expected seconds"),
        ({"since": 5.0, "until": 4.0}, "ends before it begins: since 5.0 lies after until 4.0"),
    ],
)
def test_filters_that_nothing_fits_are_refused(given, message):
    with pytest.raises(GalleryError, match=message):
        FrameFilter(**given)


def test_the_database_is_asked_for_what_is_given():
    assert make_filter(ALL_FRAMES) == make_filter(FrameFilter(without=["/a/1.jpg"])) == ""
    asked = make_filter(FrameFilter(cameras=["north", ""], since=5, until=np.float32(5)))
    assert asked.startswith('camera in ["north", ""] and timestamp > ')
    assert asked.endswith("timestamp >= 5.0 and timestamp <= 5.0")

import pytest

from person_search.gallery.errors import GalleryError
from person_search.gallery.search_options import FrameFilter


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

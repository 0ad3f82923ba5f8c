"""What an event of the page returns, called without a browser."""

import numpy as np
import pytest
from helpers_demo import ColorFinder, draw_colors
from PIL import Image

pytest.importorskip("gradio", reason="needs the extra demo")

from demo.handlers import Handlers
from demo.service import Gallery, Service


class NothingIndex:
    """Holds nobody who is like anybody."""

    has_appearances = False
    accountability = None
    name = "gallery"
    fingerprint = ColorFinder.fingerprint
    uri = "/nowhere/toy.db"

    def __init__(self):
        self.asked = []

    def search(self, embeddings, **options):
        self.asked.append(options)
        return []

    def known_frames(self, names):
        return {}

    def info(self):
        return type("Info", (), {"people": 1})


@pytest.fixture
def page(tmp_path):
    return Handlers(Service(ColorFinder(), {"toy": Gallery("toy", NothingIndex(), tmp_path)}))


def upload(page, tmp_path, colors, *, cameras=(), since=""):
    Image.fromarray(draw_colors(colors)).save(tmp_path / "up.png")
    return page.take_upload(str(tmp_path / "up.png"), "toy", 0.5, 12, cameras, since, "", "frame")


def test_a_picture_of_one_person_is_searched_with_the_settings_chosen_before(page, tmp_path):
    query, stage, results, field = upload(page, tmp_path, ["red"], cameras=["hall"], since="60")
    (asked,) = page.service.gallery("toy").index.asked
    assert (list(asked["frames"].cameras), asked["frames"].since) == (["hall"], 60.0)
    assert query.answer is not None and "Nobody in this gallery passes" in results
    assert "ps-chosen" in stage and field is None


def test_wrong_settings_do_not_hide_the_picture(page, tmp_path):
    query, stage, results, _ = upload(page, tmp_path, ["red"], since="soon")
    assert np.array_equal(query.image, draw_colors(["red"])) and "ps-chosen" in stage
    assert "ps-error" in results and "no time" in results
    # Corrected, the search goes on.
    query, results = page.ask_again(query, "toy", 0.5, 12, [], "60", "", "frame")
    assert query.answer is not None and "ps-error" not in results


def test_of_several_nobody_is_searched_for(page, tmp_path):
    query, stage, results, _ = upload(page, tmp_path, ["red", "blue"])
    assert query.box is None and "ps-chosen" not in stage and "Click a person" in results
    assert page.service.gallery("toy").index.asked == []

"""The button that exports an answer, without a browser."""

import base64
import io
import json
import re
import zipfile

import numpy as np
import pytest
from helpers_cases import BOXES, HERS, HIS, LOOKS, NOTHING, WHOLE, contrast, draw_two
from helpers_cases import make_case_gallery as make_gallery
from helpers_demo import ColorFinder
from PIL import Image

pytest.importorskip("gradio", reason="needs the extra demo")

from demo import case_download, results_markup
from demo.actions import Answer, Query
from demo.handlers import Handlers
from demo.service import Gallery, Service
from person_search.gallery.index import GalleryIndex
from person_search.people import People


@pytest.fixture(scope="module")
def handlers(tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    with GalleryIndex.open(make_gallery(root)) as index:
        yield Handlers(Service(ColorFinder(), {"toy": Gallery("toy", index, root / "kept")}))


def ask(handlers, threshold=0.9, box=HIS):
    """Search for the first of the two people of a picture, with both of them in the answer."""
    index = handlers.service.gallery("toy").index
    people = People(BOXES, np.ones(2, np.float32), LOOKS)
    answer = Answer(index.appearances.search(LOOKS[0]), threshold)
    return Query(draw_two(), people, tuple(box.tolist()), LOOKS[:1], answer)


def unpack(said):
    data = base64.b64decode(re.search(r'data-zip="([^"]+)"', said)[1])
    return zipfile.ZipFile(io.BytesIO(data))


def test_what_is_above_the_threshold_is_handed_on_with_others_blurred(handlers):
    query = ask(handlers)
    assert (len(query.answer.matches), query.answer.num_above) == (3, 2)
    said = handlers.export(query, "toy")
    assert "Exported: 2 matches, 5 pictures, 1 clip, " in said
    assert re.search(r'data-name="case_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.zip"', said)
    packed = unpack(said)
    case = json.loads(packed.read("case/case.json"))
    assert len(case["matches"]) == 2 and (case["threshold"], case["min_similarity"]) == (0.95, 0.9)
    picture = Image.open(io.BytesIO(packed.read("case/query-1.jpg")))
    assert contrast(picture, HIS) > WHOLE and contrast(picture, HERS) < NOTHING


def test_around_a_box_of_the_visitors_own_everything_is_blurred(handlers):
    """Where the model missed one person it may have missed others."""
    query = ask(handlers, box=HIS + np.float32([-4, 0, 4, 0]))
    picture = Image.open(io.BytesIO(unpack(handlers.export(query, "toy")).read("case/query-1.jpg")))
    between = np.asarray(picture)[40:80, 62:90].astype(int)
    assert contrast(picture, HERS) < NOTHING and np.ptp(between) > 15, "the wall is blurred, too"


def test_nothing_to_export_and_too_much_of_it(handlers, monkeypatch):
    warned = []
    monkeypatch.setattr("demo.handlers.gr.Warning", lambda text, **_: warned.append(text))
    monkeypatch.setattr(case_download, "MOST_BYTES", 1000)
    for query, words in (
        (ask(handlers, threshold=1.1), "no match reaches the threshold"),
        (ask(handlers), "more than the 0 MB"),
        (None, "choose a picture first"),
    ):
        said = handlers.export(query, "toy")
        assert words in warned[-1] and "data-zip" not in said and "data-serial" in said


def test_the_button_is_there_where_there_is_something_to_export(handlers):
    assert "data-export" in results_markup.results(ask(handlers), "toy")
    assert "data-export" not in results_markup.results(ask(handlers, threshold=1.1), "toy")

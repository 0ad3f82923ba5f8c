"""Nobody but the person asked for is to be recognized on the page's pictures."""

import argparse
import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from helpers_demo import BACKGROUND, COLORS, ColorFinder, draw_colors
from PIL import Image

pytest.importorskip("gradio", reason="needs the extra demo")

import gradio as gr

from demo import pictures, serve
from demo.actions import Answer
from demo.api import match_to_json
from demo.app import build_app
from demo.case_download import ask_for_case
from demo.dialogs import Dialogs
from demo.handlers import Handlers
from demo.links import open_frame
from demo.service import Gallery, Service
from person_search.cases.blur import Blur
from person_search.commands.output import SearchAnswer
from person_search.commands.pictures import draw_answer
from person_search.commands.query_text import ChosenQuery
from person_search.footage.files import FootageOptions
from person_search.gallery.add_footage import index_footage
from person_search.gallery.index import GalleryIndex

STRIPE = 3
SETTINGS = (0.95, 12, [], "", "", "appearance")


def draw_stripes(names):
    """Draw people in stripes of a colour and white, which are told apart only where it is sharp."""
    picture = draw_colors(names)
    rows = np.arange(len(picture)) // STRIPE % 2 == 1
    picture[rows[:, None] & (picture != BACKGROUND).any(axis=2)] = 255
    return picture


@pytest.fixture
def service(tmp_path):
    """Red and blue side by side, three times at one camera, so that each of them stays there."""
    folder = tmp_path / "gate"
    folder.mkdir()
    for second in range(3):
        picture = Image.fromarray(draw_stripes(["red", "blue"]))
        picture.save(folder / f"2026-05-04_08-00-0{second}.png")
    finder = ColorFinder()
    made = {"fingerprint": finder.fingerprint, "embedding_dim": finder.embedding_dim}
    with GalleryIndex.create(tmp_path / "g.db", **made) as index:
        options = FootageOptions(camera_from="folder", time_from="name")
        index_footage(index, finder, [folder], options, progress=False)
        index.appearances.link()
        yield Service(finder, {"toy": Gallery("toy", index, tmp_path)})


def search(service, blur=True, name="red"):
    """Search for one colour; return the handlers, the query and the results."""
    page = Handlers(service)
    query = page._look_at(draw_stripes([name]), "toy", (*SETTINGS, blur))[0]
    return query, page._ask(query, "toy", (*SETTINGS, blur))[1]


def shown(uri):
    """Return a picture of the page as pixels, None for one that is not shown."""
    if uri == pictures.MISSING:
        return None
    content = base64.b64decode(uri.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def has(picture, color, least=0.002):
    """Say whether a colour is in a picture as it was drawn, nearly."""
    return bool((np.abs(picture - COLORS[color]).max(axis=2) < 60).mean() > least)


def pictures_in(markup):
    return [shown(part.partition('"')[0]) for part in markup.split('src="')[1:]]


def event(**data):
    return gr.EventData(None, data)


def test_the_person_is_sharp_and_the_other_is_not(service):
    query, _ = search(service)
    match = query.answer.matches[0]
    blur = service.hiding("toy", True)
    for picture in map(shown, pictures.show_match(match, blur)):
        assert has(picture, "red") and not has(picture, "blue")
    frame = shown(pictures.show_frame(match, blur))
    assert has(frame, "red") and not has(frame, "blue")
    assert has(shown(pictures.show_frame(match)), "blue")
    written = match_to_json(match, 1, True, blur)
    assert not has(shown(written["frame"]), "blue")


def test_whoever_is_probably_somebody_else_is_blurred_in_the_results(service):
    query, results = search(service)
    asked, *cards = pictures_in(results)
    assert has(asked, "red") and not any(has(card, "blue") for card in cards)
    assert sum(has(card, "red") for card in cards) == 2 and "other people, blurred" in results
    assert [m.similarity >= 0.95 for m in query.answer.matches] == [True, False]
    assert any(has(card, "blue") for card in pictures_in(search(service, False)[1]))


def test_dialogs_and_clips_show_nobody_else(service, monkeypatch):
    query, _ = search(service)
    dialogs = Dialogs(service)
    for place in (0, 1):
        dialog = dialogs.show(event(place=place), query, "toy", True)
        assert not any(has(picture, "blue") for picture in pictures_in(dialog))
    other = query.answer.matches[1].appearance.id
    assert not any(
        has(picture, color)
        for picture in pictures_in(dialogs.show_stay(event(stay=other), query, "toy", True))
        for color in ("red", "blue")
    )
    hidden = []
    monkeypatch.setattr("demo.dialogs.cut_clip", lambda sights, hide: hidden.append((sights, hide)))
    mine = query.answer.matches[0].appearance.id
    dialogs.play(event(stay=mine, place=0), query, "toy", True)
    dialogs.play(event(stay=other, place=None), query, "toy", True)
    for (sights, hide), is_there in zip(hidden, (True, False), strict=True):
        drawn = draw_stripes(["red", "blue"])
        picture, _ = hide(sights[0].image, drawn, sights[0].box_xyxy)
        assert has(picture.astype(int), "red") is is_there
        assert not has(picture.astype(int), "blue")


def test_a_frame_of_the_gallery_as_the_picture_shows_whoever_is_chosen_on_it(service):
    stays = {
        one.appearance.id: one.best for one in service.gallery("toy").index.appearances.within()
    }
    red = min(stays, key=lambda stay: stays[stay].box_xyxy[0])
    page, settings = Handlers(service), (*SETTINGS, True)
    query, stage, results = page.seek(event(stay=red), "toy", *settings)
    whole, *chips = pictures_in(stage)
    assert has(whole, "red") and not has(whole, "blue")
    assert [has(chip, "blue") for chip in chips] == [False, False]
    assert has(pictures_in(results)[0], "red")
    query, _, stage = page.pick(event(number=2), query, "toy", *settings)
    whole = pictures_in(stage)[0]
    assert has(whole, "blue") and not has(whole, "red")
    *_, stage, dialog, mark = page.blur(query, "toy", *SETTINGS, False)
    assert has(pictures_in(stage)[0], "red") and (dialog, mark) == ("", "")


@pytest.mark.parametrize("way", ["draw", "type"])
def test_a_box_of_ones_own_on_a_frame_of_the_gallery_shows_nobody(service, way):
    """It could be drawn around all of the frame, and those whom nobody has found."""
    index = service.gallery("toy").index
    (frame, *_), strict = index.frames(), Service(service.finder, service.galleries, blur=True)
    page, settings = Handlers(strict), (*SETTINGS, False)
    query = open_frame(strict.gallery("toy"), frame.name)
    query = replace(query, people=query.people.numbered(1))
    if way == "draw":
        query, results, stage = page.draw(event(box=[0, 0, 240, 120]), query, "toy", *settings)
    else:
        query, results, stage = page.type_box(query, "0, 0, 240, 120", "toy", *settings)
    for picture in (*pictures_in(stage), pictures_in(results)[0]):
        assert not has(picture, "red") and not has(picture, "blue")


def test_what_cannot_be_blurred_for_certain_is_not_shown(service):
    query, _ = search(service)
    match = query.answer.matches[0]
    index = service.gallery("toy").index
    # Somebody else's picture under the same name.
    Image.fromarray(draw_stripes(["green", "yellow"])).save(match.image)
    assert pictures.show_match(match, Blur(index)) == (pictures.MISSING, pictures.MISSING)
    assert pictures.show_match(match) != (pictures.MISSING, pictures.MISSING)
    with pytest.raises(ValueError, match="not the file that was indexed"):
        pictures.show_frame(match, Blur(index))
    with pytest.raises(ValueError, match="not the file that was indexed"):
        Blur(index).clip([match])
    index.remove(names=[match.image])
    with pytest.raises(ValueError, match="not the file"):
        pictures.show_frame(match, Blur(index))


def test_a_sheet_of_matches_shows_the_person_alone(service, tmp_path):
    query, _ = search(service)
    Image.fromarray(draw_stripes(["red", "blue"])).save(tmp_path / "query.png")
    found = ColorFinder().find([draw_stripes(["red", "blue"])])[0].from_left_to_right()
    asked = ChosenQuery(str(tmp_path / "query.png"), found.numbered(1))
    matches = query.answer.matches
    answer = SearchAnswer("g.db", "gallery", [asked], matches, 0.95, by="appearance")
    index = service.gallery("toy").index
    open_sheet, sheet = (
        np.asarray(draw_answer(answer, blur)).astype(int) for blur in (None, Blur(index))
    )
    assert has(sheet, "red", 1e-3) and not has(sheet, "blue", 1e-4)
    assert has(open_sheet, "blue", 1e-4)


class UncalibratedFinder(ColorFinder):
    threshold = None


def test_without_a_threshold_only_the_best_match_is_shown(service, tmp_path, capsys):
    """Also where the field stands at its first value, which nobody has chosen."""
    guessing = Service(UncalibratedFinder(), service.galleries)
    page, start = Handlers(guessing), (0.5, 12, [], "", "", "person")
    look = page._look_at(draw_stripes(["red"]), "toy", (*start, True))[0]
    query, results = page._ask(look, "toy", (*start, True))
    _, *cards = pictures_in(results)
    assert len(query.answer.matches) == 6 and sum(has(card, "red") for card in cards) == 2
    assert not any(has(card, "blue") for card in cards)
    assert "Only the best match is shown" in results and "no threshold" in results
    request = ask_for_case(query, None)
    assert request.doubtful == frozenset(range(2, len(request.matches) + 1)) != frozenset()
    # What somebody has said holds.
    chosen, results = page._ask(look, "toy", (0.9, *start[1:], True))
    assert sum(has(card, "red") for card in pictures_in(results)[1:]) == 6
    assert "Only the best" not in results and not ask_for_case(chosen, None).doubtful
    best, other, *_ = query.answer.matches
    judged = Answer([replace(best, judgement=False), replace(other, judgement=True)], 0.5, 0, False)
    assert [judged.shows(match) for match in judged.matches] == [False, True]


def test_a_sheet_without_a_threshold_shows_the_best_match_alone(service, tmp_path):
    query, _ = search(service)
    Image.fromarray(draw_stripes(["red"])).save(tmp_path / "query.png")
    asked = ChosenQuery(str(tmp_path / "query.png"), ColorFinder().find([draw_stripes(["red"])])[0])
    index = service.gallery("toy").index
    matches = index.search(query.embeddings, top=3)
    red = []
    for threshold, least in ((0.5, None), (None, 0.5), (None, None)):
        answer = SearchAnswer("g.db", "gallery", [asked], matches, threshold, least)
        sheet = np.asarray(draw_answer(answer, Blur(index))).astype(int)
        red.append((np.abs(sheet - COLORS["red"]).max(axis=2) < 60).sum())
    assert red[0] == red[1] > 1.5 * red[2] > 0


def test_whoever_serves_the_page_can_set_it_for_all(service):
    strict = Service(service.finder, service.galleries, blur=True)
    _, results = search(strict, blur=False)
    assert not any(has(card, "blue") for card in pictures_in(results)[1:])
    assert strict.hiding("toy", False) is not None and service.hiding("toy", False) is None


def test_a_visitors_threshold_does_not_lower_what_is_set_for_all(service):
    least = service.finder.threshold
    strict = Service(service.finder, service.galleries, blur=True)
    for served, wished, is_shown in (
        (strict, 0.0, False),
        (strict, 0.99, False),
        (service, 0, True),
    ):
        query, _ = search(served)
        answer = Handlers(served)._ask(query, "toy", (wished, *SETTINGS[1:], True))[0].answer
        others = [match for match in answer.matches if match.similarity < least]
        assert others and all(answer.shows(match) == is_shown for match in others), wished
    right = [match for match in answer.matches if match.similarity >= least]
    assert right and all(answer.shows(match) for match in right)
    # A model without a threshold: the best match alone, whatever is wished.
    service.finder.threshold = None
    answer = Handlers(strict)._ask(query, "toy", (0.1, *SETTINGS[1:], True))[0].answer
    assert [answer.shows(match) for match in answer.matches].count(True) >= 1
    assert not any(answer.shows(match) for match in others)


@pytest.mark.parametrize("is_strict", [True, False])
def test_serving_with_blur_leaves_no_way_to_switch_it_off(
    service, is_strict, monkeypatch, tmp_path
):
    served = []
    monkeypatch.setattr(serve, "load_finder", lambda args: service.finder)
    monkeypatch.setattr(serve, "open_galleries", lambda *given: [service.gallery("toy")])
    monkeypatch.setattr(serve, "_wait", lambda app: None)
    monkeypatch.setattr("demo.app.build_app", lambda given: served.append(given))
    monkeypatch.setattr("demo.app.launch_app", lambda app, **options: "here")
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    asked = ["--gallery", str(tmp_path / "new.db"), "--create", "--port", "0"]
    assert serve.run(parser.parse_args(asked + ["--blur"] * is_strict)) == 0
    monkeypatch.undo()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    page = build_app(served[0])
    tabs = [part.label for part in page.blocks.values() if isinstance(part, gr.Tab)]
    (switch,) = [part for part in page.blocks.values() if part.elem_id == "blur"]
    assert ("People" in tabs, switch.value, switch.interactive) == (
        not is_strict, is_strict, not is_strict,
    )  # fmt: skip

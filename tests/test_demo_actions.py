"""What the page does, without the page: pictures, boxes, searches, uploads."""

import os
import re
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from helpers_demo import FINGERPRINT, ColorFinder, draw_colors
from PIL import Image

from demo import actions, additions, gallery_markup, markup, pictures, results_markup
from demo.actions import Answer, SearchSettings
from demo.api import _Endpoints
from demo.api_panel import api_panel
from demo.service import NO_CALIBRATION, Gallery, Service
from demo.stays import Place, stay_dialog
from person_search.commands.output import SearchAnswer, format_answer
from person_search.footage.files import FootageOptions
from person_search.footage.images import ImageError
from person_search.gallery.add_footage import IndexReport
from person_search.gallery.rows import Stored
from person_search.gallery.search_options import FrameFilter
from person_search.gallery.summary import GalleryInfo
from person_search.inference.model_card import ModelCard
from person_search.people import Appearance, Match


class MemoryIndex:
    """Frames in a dictionary, for what needs no database."""

    fingerprint = FINGERPRINT
    has_appearances = False
    accountability = None
    name = "gallery"
    uri = "/nowhere/toy.db"

    def __init__(self):
        self.entries = {}
        self.asked = None

    def known_frames(self, names):
        return {n: self.entries[n][0].content_hash for n in names if n in self.entries}

    def put(self, entries):
        self.entries.update({frame.name: (frame, people) for frame, people in entries})
        return Stored(len(entries), sum(len(people) for _, people in entries))

    def prepare(self):
        pass

    def people_of(self, name):
        return self.entries[name][1]

    def search(self, embeddings, **asked):
        self.asked = {"embeddings": embeddings, **asked}
        query = embeddings.mean(axis=0) / np.linalg.norm(embeddings.mean(axis=0))
        found = [
            Match(f.name, tuple(map(float, p.boxes[i])), 0.9, float(p.embeddings[i] @ query))
            for f, p in self.entries.values()
            for i in range(len(p))
        ]
        return sorted(found, key=lambda match: -match.similarity)[: asked["top"]]


@pytest.fixture
def service(tmp_path):
    gallery = Gallery("toy", MemoryIndex(), tmp_path / "kept")
    return Service(ColorFinder(), {"toy": gallery})


def make_query(names=("red", "green", "blue")):
    image = draw_colors(names)
    return actions.look_at(ColorFinder(), image)


def test_whoever_is_meant_without_a_choice_is_asked_for():
    """tests/test_person_search_inference_queries.py has the whole table."""
    query = make_query(["red"])
    assert query.number == 1 and (query.embeddings == query.people.embeddings).all()
    query = make_query()
    assert query.number is None and query.box is None and len(query.people) == 3
    assert (np.diff(query.people.boxes[:, 0]) > 0).all()
    assert make_query([]).box is None
    crop = actions.look_at(ColorFinder(), np.full((80, 40, 3), (90, 150, 120), np.uint8))
    assert crop.box == (0.0, 0.0, 40.0, 80.0) and crop.number is None


def test_a_visitor_may_ask_for_a_found_person_or_for_any_box():
    query = make_query()
    found = query.asking_for(query.people.numbered(2))
    assert (found.embeddings == query.people.embeddings[1:2]).all() and found.number == 2
    x1, y1, x2, y2 = query.people.box(2)
    box = [x1 + 2, y1 + 2, x2 - 2, y2 - 2]
    drawn = query.asking_for(actions.choose_one(ColorFinder(), query.image, box=box))
    assert drawn.box == tuple(box) and drawn.number is None
    assert drawn.embeddings[0] @ query.people.embeddings[2] > 0.999


def test_the_person_who_fills_a_picture_is_looked_for_with_room():
    class NeedsRoom(ColorFinder):
        """Sees nobody who touches the border, as detectors often do."""

        def _find(self, image):
            people = super()._find(image)
            return people.select((people.boxes[:, :2] > 0).all(axis=1))

    crop = np.full((80, 40, 3), (90, 150, 120), np.uint8)
    crop[4:, 4:] = (220, 30, 30)
    assert len(NeedsRoom().find([crop])[0]) == 1
    tight = crop[4:, 4:].copy()
    tight[0] = tight[:, 0] = tight[:, -1] = (90, 150, 120)
    tight[1:, 0] = (220, 30, 30)
    assert len(NeedsRoom().find([tight])[0]) == 0
    query = actions.look_at(NeedsRoom(), tight)
    assert len(query.people) == 1 and query.box == (0, 0, 36, 76) and query.number == 1


def test_several_people_need_a_choice():
    image = draw_colors(["red", "blue"])
    with pytest.raises(ValueError, match=r"found 2 people.*a number from 1 to 2"):
        actions.choose_one(ColorFinder(), image)


def test_large_pictures_are_reduced_and_the_shape_stays(monkeypatch):
    monkeypatch.setattr(actions, "MAX_SIDE", 100)
    assert actions.open_picture(np.zeros((50, 400, 3), np.uint8)).shape == (12, 100, 3)
    small = np.zeros((50, 90, 3), np.uint8)
    assert actions.open_picture(small).shape == (50, 90, 3)


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_an_uploaded_picture_is_deleted_readable_or_not(tmp_path, content):
    file = tmp_path / "holiday.png"
    if content is None:
        Image.new("RGB", (30, 20)).save(file)
        assert actions.read_upload(file).shape == (20, 30, 3)
    else:
        file.write_bytes(content)
        with pytest.raises(ImageError, match=r"holiday\.png") as error:
            actions.read_upload(file)
        assert str(tmp_path) not in str(error.value)
    assert not file.exists()


def test_searching_hands_the_filters_and_the_fingerprint_on(service):
    frames = FrameFilter(cameras=["a"], since=1.0, until=2.0)
    settings = SearchSettings(top=3, frames=frames, threshold=0.7)
    gallery = service.gallery("toy")
    answer = actions.search_gallery(service, gallery, np.eye(3, dtype=np.float32)[:1], settings)
    asked = gallery.index.asked
    assert (asked["top"], asked["frames"], asked["one_per_frame"]) == (3, frames, True)
    assert asked["fingerprint"] == FINGERPRINT and answer.threshold == 0.7
    assert answer.is_probably_absent


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SearchSettings(top=0), "top must be within 1..100, got 0"),
        (SearchSettings(top=101), "got 101"),
    ],
)
def test_searches_that_make_no_sense(service, settings, message):
    with pytest.raises(ValueError, match=message):
        actions.search_gallery(service, service.gallery(None), np.eye(3)[:1], settings)
    with pytest.raises(ValueError, match=r"no gallery 'x'; expected one of \['toy'\]"):
        service.gallery("x")


def test_a_model_without_calibration_starts_at_a_half(service):
    assert service.threshold == 0.95
    service.finder.threshold = None
    assert service.threshold == NO_CALIBRATION


def test_the_page_and_the_shell_compare_with_the_same_threshold(service):
    """The field has steps of a thousandth; where nobody has moved it, the model's own counts."""
    service.finder.threshold = 0.80594
    assert service.threshold_at_start == 0.806
    assert (service.said_threshold(0.806), service.said_threshold(0.805)) == (None, 0.805)
    match = Match("a.png", (0, 0, 9, 9), 0.9, 0.805951)
    answers = [Answer([match], 0.80594), SearchAnswer("g", "g", [], [match], 0.80594)]
    assert answers[0].num_above == 1 and answers[1].is_in_gallery is True
    said = results_markup.verdict(answers[0], "toy", False)
    assert "similarity 0.806 (threshold 0.80594)" in said
    assert " 0.806 " in format_answer(answers[1])
    lower = Match("a.png", (0, 0, 9, 9), 0.9, 0.80593)
    said = results_markup.verdict(Answer([lower], 0.80594), "toy", False)
    assert "has similarity 0.8059, below the threshold of 0.80594" in said
    assert " 0.8059 " in format_answer(SearchAnswer("g", "g", [], [lower], 0.80594))


def save_upload(folder, name, names, **options):
    folder.mkdir(exist_ok=True)
    Image.fromarray(draw_colors(names)).save(folder / name, **options)
    return folder / name


def test_uploads_are_kept_once_and_found_unchanged(service, tmp_path):
    gallery, uploads = service.gallery("toy"), tmp_path / "up"
    for expected in ((1, 2, 0), (0, 0, 1)):
        # Where the name tries to leave the folder, its dots and slashes are only letters.
        file = save_upload(uploads, "my ..%2F photo.png", ["red", "blue"])
        seen: list = []
        report = additions.index_uploads(
            service, gallery, [file], FootageOptions(), lambda *d, s=seen: s.append(d)
        )
        assert (report.frames_added, report.people_added, report.frames_unchanged) == expected
        assert not file.exists() and seen[-1] == (1, 1)
    (kept,) = gallery.footage.iterdir()
    assert kept.name.endswith("-my_.._2F_photo.png") and kept.parent == gallery.footage
    assert list(gallery.index.entries) == [str(kept.resolve())]


def test_broken_uploads_are_listed_by_their_senders_name_and_not_kept(service, tmp_path):
    good = save_upload(tmp_path / "up", "good.png", ["red"])
    bad = tmp_path / "up" / "bad.jpg"
    bad.write_bytes(b"\xff\xd8 cut off")
    report = additions.index_uploads(service, service.gallery(None), [good, bad], FootageOptions())
    (broken,) = report.broken
    assert broken.name == "bad.jpg" and broken.reason.startswith("bad.jpg")
    assert report.frames_added == 1
    assert [p.name.partition("-")[2] for p in (tmp_path / "kept").iterdir()] == ["good.png"]
    shown = gallery_markup.index_report(report, "toy")
    assert "Added 1 frame with 1 person" in shown and "Skipped 1 file" in shown


def test_other_files_are_refused_and_nothing_is_kept(service, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"notes\.txt"):
        additions.index_uploads(
            service, service.gallery(None), [tmp_path / "notes.txt"], FootageOptions()
        )
    with pytest.raises(ValueError, match="choose images or a video first"):
        additions.index_uploads(service, service.gallery(None), [], FootageOptions())
    assert not (tmp_path / "kept").exists()


def test_a_confirmed_match_joins_the_query(service, tmp_path):
    gallery = service.gallery(None)
    file = save_upload(tmp_path / "up", "a.png", ["green", "blue"])
    additions.index_uploads(service, gallery, [file], FootageOptions())
    query = make_query(["red"])
    (match, *_) = gallery.index.search(query.embeddings * [[0, 1, 0]] + [[0, 0.1, 0]], top=1)
    more = actions.with_match(gallery, query, match)
    assert more.embeddings.shape == (2, 3)
    people = gallery.index.people_of(match.image)
    assert (more.embeddings[1] == people.embeddings[0]).all()
    with pytest.raises(ValueError, match="search again"):
        actions.with_match(gallery, query, replace(match, box_xyxy=(0, 0, 5, 5)))


def test_what_was_added_comes_last_of_the_right_matches():
    """Else the picture that was just added would be the best match of itself."""
    stay = Appearance(7, "hall", 1.0, 9.0, 3)
    added, sight, other, low = (
        Match(f"/gone/{n}.jpg", (1, 2, 30, 60), 0.9, 1 - n / 10, person=f"{n}_0", appearance=one)
        for n, one in enumerate((None, stay, None, None))
    )
    query = replace(make_query(["red"]), also=("0.0",), also_stays=frozenset([7]))
    answer = query.with_answer(Answer([added, sight, other, low], 0.75)).answer
    assert list(answer.matches) == [other, added, sight, low] and answer.num_above == 3
    assert list(answer.added) == [added, sight]
    # Somebody has looked at what they added: it is shown where nothing else says who is right.
    unsure = query.with_answer(Answer([added, sight, other, low], 0.75, is_known=False)).answer
    assert [unsure.shows(match) for match in unsure.matches] == [True, True, True, False]
    asked = replace(query, answer=answer, box=(1, 1, 9, 9), embeddings=np.eye(3)[:2])
    shown = results_markup.results(asked, "toy")
    assert "pictures of this person; what you added comes last" in shown
    assert shown.count("✓ added") == 2
    assert not replace(query, also=()).has_added(added)


def make_answer(similarities, threshold=0.5, name="/gone/a.jpg"):
    matches = [
        Match(name, (1, 2, 30, 60), 0.9, s, camera="<b>door</b>", timestamp=None)
        for s in similarities
    ]
    return Answer(matches, threshold)


@pytest.mark.parametrize(
    ("similarities", "is_empty", "expected"),
    [
        ([0.9, 0.8, 0.2], False, "2 matches in “toy”, best similarity 0.90"),
        # Three of these reach the threshold of 0.5, one of them just so.
        ([0.9, 0.8, 0.5, 0.4375], False, "3 matches in “toy”, best similarity 0.90"),
        ([0.5], False, "1 match in “toy”, best similarity 0.50"),
        ([0.41], False, "Probably not in this gallery: the best match has similarity 0.41"),
        ([], False, "Nobody in this gallery passes the filters"),
        ([], True, "The gallery “toy” is empty"),
    ],
)
def test_the_verdict(similarities, is_empty, expected):
    assert expected in results_markup.verdict(make_answer(similarities), "toy", is_empty)


def test_matches_below_the_threshold_stand_apart_and_names_are_escaped(tmp_path):
    file = tmp_path / "<i>x.png"
    Image.fromarray(draw_colors(["red"])).save(file)
    answer = make_answer([0.9, 0.3], name=str(file))
    query = replace(make_query(["red"]), answer=answer)
    page = results_markup.results(query, "<u>toy</u>")
    assert page.count('class="ps-card"') == 2 and 'start="2"' in page
    assert page.index("probably other people") < page.index('data-place="1"')
    dialog = stay_dialog(answer.matches[0], Place(0, 2), None, 7)
    assert 'data-serial="7"' in dialog and "data:image/jpeg" in dialog
    for text in (page, dialog):
        assert "<b>door" not in text and "<i>x" not in text and "<u>" not in text
        assert str(tmp_path) not in text


def test_a_match_at_the_threshold_stands_above_it():
    answer = make_answer([0.75, 0.5, 0.4375, 0.25])  # 2 of 4 are at least 0.5
    assert answer.num_above == 2 and not answer.is_probably_absent
    page = results_markup.results(replace(make_query(["red"]), answer=answer), "toy")
    above, below = page.split("probably other people")
    assert [above.count('class="ps-card"'), below.count('class="ps-card"')] == [2, 2]
    assert 'data-place="1"' in above and 'data-place="2"' in below and 'start="3"' in below
    assert make_answer([0.4375]).is_probably_absent


def test_a_frame_that_is_gone_still_has_a_card_but_no_dialog():
    assert pictures.show_match(make_answer([0.9]).matches[0]) == (pictures.MISSING,) * 2
    with pytest.raises(OSError, match=r"a\.jpg"):
        stay_dialog(make_answer([0.9]).matches[0], Place(0, 1), None, 0)


def test_a_changed_frame_is_cut_again(tmp_path):
    file = tmp_path / "a.png"
    match = make_answer([0.9], name=str(file)).matches[0]
    Image.new("RGB", (80, 90), "red").save(file)
    first = pictures.show_match(match)
    Image.new("RGB", (80, 90), "blue").save(file)
    os.utime(file, ns=(1, 1))
    assert pictures.show_match(match) != first


def test_the_stage_has_a_button_for_each_person_and_says_when_there_is_nobody():
    stage = markup.stage(make_query())
    assert stage.count('class="ps-chip"') == 3 and "3 people found" in stage
    assert "Click one" in stage and "ps-chosen" not in stage
    assert "Draw a box around the person" in markup.stage(make_query([]))


def test_the_stage_says_who_is_searched_for_without_a_click():
    stage = markup.stage(make_query(["red"]))
    assert "1 person found and searched for" in stage and stage.count("ps-chosen") == 1
    assert 'aria-pressed="true" aria-label="Search for person 1"' in stage
    crop = actions.look_at(ColorFinder(), np.full((80, 40, 3), (90, 150, 120), np.uint8))
    stage = markup.stage(crop)
    assert "the outlined box is searched for" in stage and stage.count("ps-chosen") == 1
    own = make_query(["red"])
    own = replace(own, box=(1.0, 2.0, 30.0, 40.0))
    assert "1 person found. Click one" in markup.stage(own)


def test_reports_and_counts():
    report = IndexReport(frames_added=1, people_added=2, frames_unchanged=3, seconds=0.25)
    assert "Added 1 frame with 2 people to “toy” in 0.2 s. 3 frames were there already." in (
        gallery_markup.index_report(report, "toy")
    )
    assert markup.count(1204, "match") == "1,204 matches"


@pytest.mark.parametrize(
    ("first", "last", "clock"),
    [
        (1.2e9, 1.2e9 + 59, "dates"),
        (0.0, 61.0, "video"),
        (0.0, 1.2e9, "both"),
        (None, None, None),
    ],
)
def test_the_fields_of_time_are_told_the_gallery_s_clock(first, last, clock):
    info = GalleryInfo(
        frames=1, people=2, cameras={}, first_timestamp=first, last_timestamp=last, card=None,
        fingerprint=FINGERPRINT, embedding_dim=2, version=1, uri="g.db", name="gallery",
        approximate=None, num_bytes=1, appearances=0,
    )  # fmt: skip
    summary = gallery_markup.gallery_summary(info, "town")
    assert (f'data-clock="{clock}"' in summary) is (clock is not None)
    moments = re.findall(r'<option value="(.*?)">', summary)
    if clock == "video":
        # From the beginning to beyond the end, in steps that people count in.
        assert moments[:3] == ["0:00:00", "0:00:05", "0:00:10"] and moments[-1] == "0:01:05"
        assert 'data-last="0:01:01.0"' in summary
    else:
        assert moments == []
    if clock == "both":
        assert "some frames have no date" in summary and "0:00:00.0 to 2" not in summary
    if clock == "dates":
        assert f'data-last="{datetime.fromtimestamp(last).isoformat()}"' in summary


def test_the_page_names_every_endpoint_with_its_arguments(service):
    endpoints = _Endpoints(service)
    shown = api_panel([endpoints.find_people, endpoints.index])
    assert (
        "/find_people(image)" in shown and "/index(files, gallery, camera, every, start)" in shown
    )
    assert "they are kept on the server" in shown and "<script" not in shown


def test_the_page_says_whose_people_a_gallery_s_model_knows():
    info = GalleryInfo(
        frames=1, people=2, cameras={}, first_timestamp=None, last_timestamp=None,
        card=ModelCard("street", "people on streets & squares", "MIT", "nothing"),
        fingerprint=FINGERPRINT, embedding_dim=2, version=1, uri="g.db", name="gallery",
        approximate=None, num_bytes=1, appearances=0,
    )  # fmt: skip
    summary = gallery_markup.gallery_summary(info, "town")
    assert "model: street, knows people on streets &amp; squares" in summary
    assert "model" not in gallery_markup.gallery_summary(replace(info, card=None), "town")

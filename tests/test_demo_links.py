"""A link opens a search again."""

import numpy as np
import pytest
from helpers_demo import ColorFinder, draw_colors
from PIL import Image

pytest.importorskip("gradio", reason="needs the extra demo")

import gradio as gr

from demo import links
from demo.actions import Gallery, Service, Source
from demo.handlers import Handlers
from demo.inputs import Fields, as_picked
from person_search.footage.files import FootageOptions
from person_search.gallery.add_footage import index_footage
from person_search.gallery.index import GalleryIndex

FIELDS = Fields(0.9, 5, ["gate"], "2026-05-04T08:00:00", "", "frame", True)


@pytest.fixture
def page(tmp_path):
    folder = tmp_path / "gate"
    folder.mkdir()
    for number, colors in enumerate((["red", "blue"], ["blue", "green"])):
        Image.fromarray(draw_colors(colors)).save(folder / f"2026-05-04_08-00-0{number}.png")
    example = tmp_path / "three.png"
    Image.fromarray(draw_colors(["red", "blue", "green"])).save(example)
    finder = ColorFinder()
    made = {"fingerprint": finder.fingerprint, "embedding_dim": finder.embedding_dim}
    with GalleryIndex.create(tmp_path / "g.db", **made) as index:
        options = FootageOptions(camera_from="folder", time_from="name")
        index_footage(index, finder, [folder], options, progress=False)
        index.appearances.link()
        yield Handlers(Service(finder, {"to y": Gallery("to y", index, tmp_path)}, [example]))


def opened(page, text):
    return page.open_link(gr.EventData(None, {"link": text}), *[None] * 7)


def found(query):
    return [(match.image, match.box_xyxy, match.similarity) for match in query.answer.matches]


@pytest.mark.parametrize(
    "link",
    [
        links.Link("a & b=c#", FIELDS, Source("example", "ü 1.jpg"), 2),
        links.Link("g", FIELDS, Source("frame", "ab" * 16), None, (1.5, 2.0, 30.0, 40.5)),
        links.Link("g", FIELDS, None, also=("ab.0", "cd.12")),
    ],
)
def test_a_link_reads_as_it_was_written(link):
    assert links.parse_link(link.to_text(), Fields(0.5)) == link


def test_an_example_is_asked_again_with_the_same_settings(page):
    settings = (0.9, 5, ["gate"], "2026-05-04T08:00:00", "", "frame", False)
    query, _, _ = page.choose_example(gr.EventData(None, {"number": 0}), "to y", *settings)
    query, results, _ = page.pick(gr.EventData(None, {"number": 2}), query, "to y", *settings)
    link = links.link_to(query, "to y", Fields(*settings)).to_text()
    assert f'data-link="{link.replace("&", "&amp;")}"' in results and "not kept" not in results
    again, stage, told, label, *fields, _, _ = opened(page, link)
    assert found(again) == found(query) and told == results and again.number == 2
    assert label == "to y" and "ps-chosen" in stage
    assert fields[:2] == [0.9, 5] and fields[2]["value"] == ["gate"]
    assert fields[3:] == ["2026-05-04T08:00:00", "", "frame", False]


def test_a_person_of_the_gallery_is_asked_again(page):
    index = page.service.gallery("to y").index
    stay = next(iter(index.appearances.within())).appearance.id
    settings = (0.9, 5, [], "", "", "frame", False)
    query, _, results = page.seek(gr.EventData(None, {"stay": stay}), "to y", *settings)
    again = opened(page, links.link_to(query, "to y", Fields(*settings)).to_text())
    assert found(again[0]) == found(query) and again[2] == results
    assert query.answer.matches[0].similarity > 0.999


def test_of_an_upload_the_link_holds_what_is_in_the_gallery(page):
    settings = (0.9, 5, [], "", "", "frame", False)
    query = page._look_at(draw_colors(["blue"], seed=3), "to y", settings)[0]
    link = links.link_to(query, "to y", Fields(*settings))
    assert link.source is None and link.also == ()
    nobody, stage, told, *_ = opened(page, link.to_text())
    assert nobody is None and "were uploaded" not in stage and "choose it again" in told
    place = gr.EventData(None, {"place": 0})
    query, results = page.add_same(place, query, "to y", *settings)
    assert "the link holds only the confirmed matches" in results
    again = opened(page, links.link_to(query, "to y", Fields(*settings)).to_text())[0]
    assert np.allclose(again.embeddings, query.embeddings[1:])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it names no gallery"),
        ("gallery=x", "no gallery &#x27;x&#x27;"),
        ("gallery=to+y&example=no.jpg", "example picture no.jpg is not offered"),
        ("gallery=to+y&example=three.png&person=9", "no person 9"),
        ("gallery=to+y&frame=" + "0" * 32, "is not in the gallery “to y” any more"),
        ("gallery=to+y&also=" + "0" * 32 + ".0", "is not in the gallery “to y” any more"),
        ("gallery=to+y&camera=%3Cb%3E", "no camera &lt;b&gt; any more"),
        ("gallery=to+y&top=0", "out of range"),
        ("gallery=to+y&threshold=nan", "out of range"),
        ("gallery=to+y&since=soon", "is no time"),
        ("gallery=" + "x" * 9000, "expected at most 8000"),
    ],
)
def test_a_link_to_what_is_gone_says_so(page, text, said):
    query, _, told, *others = opened(page, text)
    assert query is None and said in told and "This link cannot be opened" in told
    assert len(others) == 10


def test_times_as_the_fields_write_them():
    assert as_picked("") == "" and as_picked("90") == "0:01:30.0"
    assert as_picked("2026-05-04 08:00") == "2026-05-04T08:00:00"
    assert as_picked("2026-05-04", end=True) == "2026-05-04T23:59:59"
    assert Fields(0.5, cameras=["a"], since="2026-05-04T08:00").filters() == [
        "camera a", "from 2026-05-04 08:00",
    ]  # fmt: skip

import csv
import errno
import io
import json
import re
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from helpers_cases import (
    BOXES,
    HERS,
    HIS,
    LOOKS,
    NOTHING,
    START,
    WHOLE,
    contrast,
    draw_two,
    make_case_gallery,
)
from PIL import Image

from person_search.cases import gathering
from person_search.cases.contents import CaseQuery, CaseRequest, Judgement
from person_search.cases.export import export_case, zip_case
from person_search.cases.hiding import ClipHider, hidden_share, row_of
from person_search.footage.files import Frame
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex
from person_search.people import Match, People


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn")
    make_case_gallery(root)
    return root


@pytest.fixture
def index(drawn):
    with GalleryIndex.open(drawn / "g.db") as opened:
        yield opened


def request(index, clips=False, **options):
    matches = index.appearances.search(LOOKS[0], min_similarity=0.9)
    assert len(matches) == 2
    query = CaseQuery(draw_two(), tuple(HIS.tolist()))
    return CaseRequest(matches, [query], clips=clips, made=START, **options)


def read(folder, name):
    return np.asarray(Image.open(folder / name))


def frames_of(folder, name):
    with av.open(io.BytesIO((folder / name).read_bytes())) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_case_says_everything_and_proves_its_files(index, tmp_path):
    judgements = {1: [Judgement("right", "Ada", START)]}
    asked = request(index, True, threshold=0.6, min_similarity=0.9, judgements=judgements)
    report = export_case(index, asked, tmp_path / "case")
    folder = tmp_path / "case"
    assert (report.matches, report.pictures, report.clips, report.notes) == (2, 5, 1, [])
    done = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True, text=True
    )
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert done.returncode == 0 and len(done.stdout.splitlines()) == len(there) - 1
    assert report.files == len(there)
    case = json.loads((folder / "case.json").read_text())
    stay, still = sorted(case["matches"], key=lambda match: -len(match["sights"]))
    assert (len(stay["sights"]), len(still["sights"])) == (5, 1)
    assert stay["until_seconds"] == START + 2 and still["from"] is None
    assert re.fullmatch(r"2023-11-1[45]T\d\d:\d\d:22\.000[+-]\d\d:\d\d", stay["until"])
    assert stay["sights"][1]["box"] == HIS.tolist() and stay["sights"][1]["frame"] == 5
    assert case["matches"][0]["judgements"][0]["by"] == "Ada"
    assert {s["state"] for s in case["sources"]} == {"as indexed"}
    assert case["model"]["card"]["name"] == "toy" and case["threshold"] == 0.6
    rows = list(csv.DictReader((folder / "sights.csv").open()))
    assert [row["frame"] for row in rows if row["camera"]] == ["0", "5", "10", "15", "20"]
    assert len(list(csv.DictReader((folder / "matches.csv").open()))) == 2


def test_the_report_needs_nothing_but_its_folder(index, tmp_path):
    export_case(index, request(index), tmp_path / "case")
    page = (tmp_path / "case" / "report.html").read_text()
    addresses = re.findall(r'(?:src|href|poster)="([^"#][^"]*)"', page)
    assert len(addresses) > 6 and all((tmp_path / "case" / a).is_file() for a in addresses)
    assert "<script" not in page and "://" not in page and "url(" not in page


def test_others_are_blurred_everywhere_and_the_person_is_not(index, tmp_path):
    """Also who has a low score, and in frames between those that were looked at."""
    folder = tmp_path / "case"
    export_case(index, request(index, clips=True), folder)
    shown = [*sorted(p for p in folder.glob("pictures/*-[0-9].jpg")), folder / "query-1.jpg"]
    assert len(shown) == 6
    clip = frames_of(folder, next(folder.glob("clips/*")))
    assert len(clip) == 21
    for picture in [*map(Image.open, shown), *clip]:
        assert contrast(picture, HERS) < NOTHING and contrast(picture, HIS) > WHOLE


def test_others_are_shown_only_when_asked_for(index, tmp_path):
    folder = tmp_path / "case"
    report = export_case(index, request(index, show_others=True), folder)
    assert report.clips == 0 and not (folder / "clips").exists()
    for name in ("pictures/001-1.jpg", "query-1.jpg"):
        assert contrast(read(folder, name), HERS) > WHOLE
    assert json.loads((folder / "case.json").read_text())["others"] == "shown"


def test_a_clip_of_which_every_frame_was_looked_at_keeps_the_place_sharp(tmp_path):
    with GalleryIndex.open(make_case_gallery(tmp_path, every=1)) as index:
        matches = index.appearances.search(LOOKS[0], min_similarity=0.9)
        export_case(index, CaseRequest(matches), tmp_path / "case")
    clip = frames_of(tmp_path / "case", next((tmp_path / "case").glob("clips/*")))
    for picture in clip:
        assert contrast(picture, HERS) < NOTHING and contrast(picture, HIS) > WHOLE
        assert picture[60, 66:82].mean() == pytest.approx(90, abs=6), "between them"


def test_a_clip_that_is_cut_off_is_noted(index, tmp_path, monkeypatch):
    monkeypatch.setattr("person_search.drawing.clips.MOST_SECONDS", 1.0)
    report = export_case(index, request(index, clips=True), tmp_path / "case")
    assert report.clips == 1 and "The clip shows the first 120 seconds" in report.notes[0]


def test_where_the_gallery_looked_and_did_not_see_the_person_all_is_blurred(index, drawn):
    """A box from sight to sight may lie around anybody there; it is not drawn either."""
    (stay,) = (match for match in request(index).matches if match.appearance)
    sights = index.appearances.sights(stay.appearance.id)
    hider = ClipHider(index, [sights[0], sights[1], sights[3], sights[4]])  # 0, 5, 15, 20
    for number, is_shown in ((3, True), (5, True), (7, False), (10, False), (17, True)):
        name = f"{drawn / 'hall.mp4'}#frame={number}"
        shown, box = hider(name, draw_two(), tuple(HIS.tolist()))
        assert (box is not None, contrast(shown, HIS) > WHOLE) == (is_shown, is_shown), number
        assert contrast(shown, HERS) < NOTHING


def test_of_a_long_stay_only_what_is_shown_is_looked_up(index, drawn, monkeypatch):
    (stay,) = (match for match in request(index).matches if match.appearance)
    asked, people_of = [], index.people_of
    monkeypatch.setattr(index, "people_of", lambda name: asked.append(name) or people_of(name))
    hider = ClipHider(index, index.appearances.sights(stay.appearance.id))
    for number in (0, 2, 3, 5):
        hider(f"{drawn / 'hall.mp4'}#frame={number}", draw_two(), tuple(HIS.tolist()))
    assert asked == [f"{drawn / 'hall.mp4'}#frame={number}" for number in (0, 5)]


def test_each_video_of_a_clip_is_to_be_looked_at_as_a_whole(tmp_path):
    """One of which every frame was looked at says nothing of another one."""
    people = People(BOXES, np.float32([0.9, 0.9]), LOOKS)
    names = [f"/{file}.mp4#frame={n}" for file, step in (("a", 1), ("b", 5)) for n in (0, step)]
    with GalleryIndex.open(make_case_gallery(tmp_path)) as index:
        index.put([(Frame(name, name, "yard", START), people) for name in names])
        sights = [Match(name, tuple(HIS.tolist()), 0.9, 0.0) for name in names]
        place = np.zeros((120, 160, 3), np.uint8)
        place[:, ::4] = place[:, 1::4] = 255
        shown, _ = ClipHider(index, sights)(names[2], place, sights[2].box_xyxy)
    assert contrast(shown, HIS) > WHOLE and np.ptp(shown[:, 60:90]) < 60


def test_somebody_who_is_mostly_hidden_by_blurred_people_is_noted(index, tmp_path, monkeypatch):
    assert hidden_share((0, 0, 10, 10), np.array([[-5, 0, 20, 4], [0, 2, 10, 7]])) == 0.6875
    for others, count in (([[0, 0, 160, 70]], 5), ([[0, 0, 160, 50]], 0)):
        monkeypatch.setattr(gathering, "boxes_beside", lambda *_, o=others: np.float32(o))
        report = export_case(index, request(index), tmp_path / str(count))
        assert sum("hide most of the person" in note for note in report.notes) == count


def test_a_box_is_known_again_within_a_pixel():
    """What is printed is rounded; whoever stands elsewhere is somebody else."""
    assert row_of(BOXES, Match("a.jpg", tuple((HERS + 0.9).tolist()), 0.9, 0.0)) == 1
    with pytest.raises(GalleryError, match="knows nobody at"):
        row_of(BOXES, Match("a.jpg", tuple((HERS + 2).tolist()), 0.9, 0.0))


def test_the_same_case_is_the_same_bytes_but_for_its_date(index, tmp_path):
    asked = request(index, clips=True)
    first, _ = zip_case(index, asked)
    export_case(index, request(index, clips=True), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == first
    later = replace(asked, made=START + 60)
    unpacked = [zipfile.ZipFile(io.BytesIO(data)) for data in (first, zip_case(index, later)[0])]
    names = [packed.namelist() for packed in unpacked]
    assert names[0] == names[1] and all(name.startswith("case/") for name in names[0])
    differ = {n for n in names[0] if unpacked[0].read(n) != unpacked[1].read(n)}
    said = ("SHA256SUMS", "case.json", "report.html", "report.pdf")
    assert differ == {f"case/{name}" for name in said}


def test_the_pdf_shows_every_picture_of_the_person_asked_for(index, tmp_path):
    """It showed the first one only; the page of HTML all of them."""
    counts = []
    for number, times in enumerate((1, 4)):
        asked = request(index)
        export_case(index, replace(asked, queries=asked.queries * times), tmp_path / str(number))
        pdf = (tmp_path / str(number) / "report.pdf").read_bytes()
        counts.append(pdf.count(b"/Subtype /Image"))
    assert counts[1] == counts[0] + 3


def test_names_are_text_and_no_formulas(tmp_path):
    camera, name = "=HYPERLINK(<script>alert(1)</script>)", '@"><img\rsrc=x>.png'
    with GalleryIndex.open(make_case_gallery(tmp_path, camera=camera, picture=name)) as index:
        export_case(index, request(index), tmp_path / "case")
    page = (tmp_path / "case" / "report.html").read_text()
    assert "<script" not in page and "<img\rsrc=x" not in page and "<img\nsrc=x" not in page
    assert "=HYPERLINK(&lt;script&gt;alert(1)" in page
    rows = list(csv.DictReader((tmp_path / "case" / "sights.csv").open()))
    assert {row["camera"] for row in rows} == {f"'{camera}", ""}
    assert f"'{name}".replace("\r", " ") in {row["source"] for row in rows}
    assert all((tmp_path / "case" / row["picture"]).is_file() for row in rows if row["picture"])


def test_a_name_does_not_turn_the_words_and_times_behind_it(tmp_path):
    """A judge's or a file's name with U+202E made 2023-11-14 read 41-11-3202."""
    with GalleryIndex.open(make_case_gallery(tmp_path, picture="a\u202egpj.png")) as index:
        judged = {1: [Judgement("right", "A\u2067da", START)]}
        export_case(index, request(index, judgements=judged), tmp_path / "case")
    page = (tmp_path / "case" / "report.html").read_text()
    assert "a\\u202egpj.png; unknown" in page and "right by A\\u2067da, 2023-" in page
    assert not set(page) & set("\u202e\u2067")


def test_nothing_tells_of_the_folders_of_this_machine_unless_asked(index, drawn, tmp_path):
    for full_paths in (False, True):
        data, _ = zip_case(index, request(index, full_paths=full_paths))
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            texts = [packed.read(n) for n in packed.namelist() if n.endswith((".json", ".html"))]
        assert all((str(drawn).encode() in text) is full_paths for text in texts)


@pytest.mark.parametrize("state", ["gone", "changed"])
def test_a_source_that_is_not_as_indexed_is_said_and_not_shown(state, tmp_path):
    with GalleryIndex.open(make_case_gallery(tmp_path)) as index:
        asked = request(index)
        video = tmp_path / "hall.mp4"
        if state == "gone":
            video.unlink()
        else:
            video.write_bytes(video.read_bytes() + b"\0")
        report = export_case(index, asked, tmp_path / "case")
    assert (report.matches, report.pictures, report.clips) == (2, 1, 0)
    assert len(report.notes) == 1 and "hall.mp4" in report.notes[0] and state in report.notes[0]
    case = json.loads((tmp_path / "case" / "case.json").read_text())
    assert {s["name"]: s["state"] for s in case["sources"]}["hall.mp4"] == state
    assert max(len(match["sights"]) for match in case["matches"]) == 5, "the times stay"
    assert "hall.mp4" in (tmp_path / "case" / "report.html").read_text()


def test_a_source_of_which_some_frames_were_indexed_before_it_changed_has_changed(tmp_path):
    with GalleryIndex.open(make_case_gallery(tmp_path)) as index:
        people = People(BOXES, np.float32([0.9, 0.01]), LOOKS)
        frame = Frame(f"{tmp_path / 'hall.mp4'}#frame=3", "former", "hall", START + 0.3)
        index.put([(frame, people)])
        index.appearances.link()
        report = export_case(index, request(index), tmp_path / "case")
    assert report.pictures == 1 and "has changed since it was indexed" in report.notes[0]


@pytest.mark.parametrize("name", ["case", "case.zip"])
def test_on_a_full_disk_nothing_half_written_stays(index, tmp_path, monkeypatch, name):
    def fill_up(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("person_search.cases.export.pdf_report", fill_up)
    with pytest.raises(
        OSError, match=f"{name} cannot be written: No space left on device; nothing"
    ):
        export_case(index, request(index), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["case", "case.zip"])
def test_what_is_there_stays(index, tmp_path, name):
    path = tmp_path / name
    if path.suffix:
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="is there already"):
        export_case(index, request(index), path)
    assert (path if path.suffix else path / "mine").read_text() == "mine"


def test_without_matches_nothing_is_written(index, tmp_path):
    with pytest.raises(ValueError, match="no matches"):
        export_case(index, CaseRequest([]), tmp_path / "case")
    assert list(tmp_path.iterdir()) == []


def test_whom_the_gallery_does_not_know_any_more_is_refused(drawn, tmp_path):
    """It cannot tell then who else is to be blurred."""
    shutil.copy(drawn / "g.db", tmp_path / "g.db")
    with GalleryIndex.open(tmp_path / "g.db") as index:
        matches = request(index).matches
        index.remove(names=[str(drawn / "still.png")])
        index.appearances.link()
        with pytest.raises(GalleryError, match=r"still\.png is not in the gallery"):
            export_case(index, CaseRequest(matches), tmp_path / "case")
        index.remove(names=[match.image for match in matches if match.appearance])
        (stay,) = (match for match in matches if match.appearance)
        with pytest.raises(GalleryError, match="search again"):
            export_case(index, CaseRequest([stay]), tmp_path / "case")
    assert [path.name for path in tmp_path.iterdir() if Path(path).suffix != ".db"] == []

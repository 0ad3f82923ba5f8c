"""A user who may see some cameras finds nothing of the others, whatever is asked."""

import functools
import json
import ssl
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="needs the extra demo")

from helpers_demo import EMBEDDING_DIM, FINGERPRINT, ColorFinder, draw_colors
from helpers_door import call_api, client_of, make_users, serve_page, upload
from PIL import Image
from PIL.ExifTags import Base

from demo.additions import index_uploads
from demo.caller_line import show_caller
from demo.door.callers import calling, current_caller
from demo.handlers import Handlers
from demo.people_tab import PeopleHandlers
from person_search.accounts.account import Account
from person_search.footage.files import FootageOptions
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Serve two cameras, with red before both; yield the service, clients, and the folder."""
    folder = tmp_path_factory.mktemp("cameras")
    made = {"fingerprint": FINGERPRINT, "embedding_dim": EMBEDDING_DIM}
    with (
        pytest.MonkeyPatch.context() as patch,
        GalleryIndex.create(folder / "g.db", **made) as index,
    ):
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        users = make_users(
            ann="admin", bob=("viewer", ["yard"]), eve=("editor", ["yard"]), nil=("viewer", [])
        )
        app, service, url = serve_page(ColorFinder(), {"town": index}, folder, users)
        for camera, colors, start in (("yard", ["red"], 10), ("hall", ["red", "blue"], 20)):
            file = folder / f"{camera}.jpg"
            exif = Image.Exif()
            exif.get_ifd(Base.ExifOffset)[Base.DateTimeOriginal] = f"2026:05:04 08:00:{start}"
            Image.fromarray(draw_colors(colors, seed=start)).save(file, exif=exif)
            options = FootageOptions(camera=camera, time_from="exif")
            index_uploads(service, service.gallery(None), [file], options)
        clients = {name: client_of(url, name) for name in ("ann", "bob", "eve", "nil")}
        yield service, clients, folder
        for client in clients.values():
            client.close()
        app.close(verbose=False)


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(draw_colors(["red"], seed=9)).save(tmp_path / "q.png")
    return tmp_path / "q.png"


def cameras_of(answer):
    return {match["camera"] for match in answer["matches"]}


@pytest.mark.parametrize(
    ("name", "cameras"), [("ann", {"yard", "hall"}), ("bob", {"yard"}), ("nil", set())]
)
def test_searches_and_counts_of_the_api(name, cameras, served, picture):
    client = served[1][name]
    for by in ("appearance", "frame", "person"):
        took = upload(client, picture)
        asked = [took, None, 1, None, 10, None, None, None, None, by, False]
        went_well, answer = call_api(client, "search", *asked)
        assert went_well and cameras_of(answer) == cameras
    went_well, answer = call_api(client, "galleries")
    (town,) = answer["galleries"]
    assert went_well and set(town["cameras"]) == cameras and town["frames"] == len(cameras)
    assert "hall" not in json.dumps(answer) or "hall" in cameras


def test_a_camera_asked_for_by_name_is_not_there(served, picture):
    client = served[1]["bob"]
    asked = [upload(client, picture), None, 1, None, 10, ["hall"]]
    went_well, answer = call_api(client, "search", *asked, None, None, None, "frame", False)
    assert went_well and answer["matches"] == []


@pytest.mark.parametrize(("camera", "is_added"), [("yard", True), ("hall", False), (None, False)])
def test_footage_of_another_camera_cannot_be_added(camera, is_added, served, tmp_path):
    Image.fromarray(draw_colors(["cyan"], seed=3)).save(tmp_path / f"{camera}.png")
    client, index = served[1]["eve"], served[0].gallery(None).index
    asked = [[upload(client, tmp_path / f"{camera}.png")], None, camera, 1.0, None]
    went_well, answer = call_api(client, "index", *asked)
    assert went_well == is_added, answer
    if not is_added:
        assert "give one of them as the camera: yard" in str(answer)
    new = [frame.name for frame in index.frames() if frame.name.endswith(".png")]
    # What is refused leaves no file that nobody would ever remove.
    assert [str(path) for path in (served[2] / "town").rglob("*.png")] == new
    assert len(new) == is_added and index.remove(names=new).frames == is_added
    for name in new:
        Path(name).unlink()


def test_a_refusal_leaves_the_file_of_a_frame_that_is_not_seen(served, tmp_path):
    service, clients, folder = served
    (there,) = (folder / "town").glob("*-hall.jpg")
    same = tmp_path / there.name.partition("-")[2]
    same.write_bytes(there.read_bytes())
    asked = [[upload(clients["eve"], same)], None, "yard", 1.0, None]
    went_well, answer = call_api(clients["eve"], "index", *asked)
    assert not went_well and "cameras that you may see" in str(answer) and there.exists()
    assert len(list(service.gallery(None).index.frames())) == 2


def test_viewers_add_nothing(served, picture):
    client = served[1]["bob"]
    said, answer = call_api(client, "index", [upload(client, picture)], None, "yard", 1.0, None)
    assert not said and "bob is signed in as viewer; only an editor may do this" in answer


def test_stays_people_and_clips_of_the_page(served):
    service = served[0]
    index = service.gallery(None).index
    hidden = [a.appearance.id for a in index.appearances.within(cameras=["hall"])]
    handlers, people = Handlers(service), PeopleHandlers(service)
    rows, *_ = people.open("town", 24)
    with calling(Account("bob", "viewer", ["yard"])):
        assert current_caller().name == "bob"
        summary, cameras = handlers.describe("town")
        assert "1 frame" in summary and cameras["choices"] == ["yard"]
        for number in hidden:
            with pytest.raises(GalleryError, match="there is no appearance"):
                service.gallery("town").index.appearances.get(number)
        seen, *_ = people.open("town", 24)
    assert current_caller() is None
    assert hidden and "hall" in rows and "hall" not in seen


def test_the_page_says_who_is_signed_in():
    assert show_caller() == '<span hidden data-may="add admin"></span>'
    with calling(Account("ann", "admin")):
        assert "ann (admin)" in show_caller()
    with calling(Account("<b>", "viewer", ["yard", "", "x", "y"])):
        line = show_caller()
        assert "&lt;b&gt; (viewer, sees camera unknown, x, y and 1 more)" in line
        assert 'action="logout"' in line


def test_health_names_galleries_to_admins_who_see_all_cameras(served):
    clients = served[1]
    assert clients["ann"].get("health").json()["galleries"] == {"town": "ok"}
    for name in ("bob", "eve", "nil"):
        assert clients[name].get("health").json() == {"status": "ok"}


def test_what_is_counted_for_a_user_does_not_grow_with_other_cameras(served, picture):
    """Not the summary, the people of an answer, nor what is said where nothing is found."""
    service, clients, folder = served
    page, people = Handlers(service), PeopleHandlers(service)

    def seen():
        with calling(Account("bob", "viewer", ["yard"])):
            rows, *_ = people.open("town", 24)
            summary, cameras = page.describe("town")
            return rows, summary, cameras["choices"], call_api(clients["bob"], "galleries")

    before = seen()
    file = folder / "later.jpg"
    Image.fromarray(draw_colors(["green", "cyan"], seed=5)).save(file)
    options = FootageOptions(camera="hall", start=1.9e9)
    index_uploads(service, service.gallery(None), [file], options)
    assert seen() == before
    index = service.gallery(None).index
    assert index.remove(camera="hall", until=None).frames > 1

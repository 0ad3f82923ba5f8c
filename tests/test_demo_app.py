"""The page's server as programs see it: the API through gradio_client, files, limits, logins."""

import functools
import io
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from helpers_demo import COLORS, EMBEDDING_DIM, FINGERPRINT, ColorFinder, draw_colors
from PIL import Image

pytest.importorskip("gradio", reason="needs the extra demo")

from gradio_client import Client, handle_file

from demo.additions import index_uploads
from demo.app import build_app, launch_app, upload_folder
from demo.door.settings import DoorSettings, Limits
from demo.service import Gallery, Service
from person_search.accountability.activity_log import ActivityLog
from person_search.accounts.passwords import Cost
from person_search.accounts.users import Users
from person_search.footage.files import FootageOptions
from person_search.gallery.index import GalleryIndex

FRAMES = {
    "a": ["red", "blue"],
    "b": ["green", "yellow"],
    "c": ["purple", "red"],
}


def save(folder, name, colors, seed=0, **options):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_colors(colors, seed=seed)).save(folder / name, **options)
    return folder / name


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Serve two galleries; yields (service, address, folder)."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        # build_app sets it for its own process; the tests' is put back.
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        # httpx reads all certificates anew for each request, which costs more than the request.
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        made = {"fingerprint": FINGERPRINT, "embedding_dim": EMBEDDING_DIM}
        with (
            GalleryIndex.create(folder / "g.db", "gallery", **made) as town,
            GalleryIndex.create(folder / "g.db", "second", **made) as second,
        ):
            galleries = [
                Gallery("town", town, folder / "town"),
                Gallery("empty", second, folder / "second"),
            ]
            service = Service(ColorFinder(), {g.label: g for g in galleries})
            for camera, colors in FRAMES.items():
                file = save(folder / "up", f"{camera}.png", colors)
                options = FootageOptions(camera=camera)
                index_uploads(service, galleries[0], [file], options)
            app = build_app(service)
            settings = DoorSettings(limits=Limits().for_files(200_000))
            url = launch_app(app, port=None, settings=settings)
            yield service, url, folder
            app.close()


@pytest.fixture(scope="module")
def client(served):
    # Fifty uploads at once take longer than the usual five seconds where the machine is busy.
    options = {"verbose": False, "analytics_enabled": False}
    return Client(served[1], **options, httpx_kwargs={"timeout": 120})


@pytest.fixture
def picture(tmp_path):
    """Upload a picture of these colours."""
    return lambda *colors: handle_file(str(save(tmp_path, "query.png", colors, seed=5)))


def frame_of(match):
    return Path(match["image"]).name.partition("-")[2]


def test_the_galleries(client):
    answer = client.predict(api_name="/galleries")
    town, empty = answer["galleries"]
    assert answer["threshold"] == 0.95
    assert town["name"] == "town" and town["frames"] >= 3 and {"a", "b", "c"} <= {*town["cameras"]}
    assert empty == {
        "name": "empty", "frames": 0, "people": 0, "cameras": [], "first": None, "last": None,
    }  # fmt: skip


def test_finding_people(client, picture):
    found = client.predict(image=picture("red", "green"), api_name="/find_people")
    assert (found["width"], found["height"]) == (240, 120)
    first, second = found["people"]
    assert first["number"] == 1 and first["score"] == 0.9 and first["box"][0] < second["box"][0]
    nobody = client.predict(image=picture(), api_name="/find_people")
    assert nobody["people"] == []


def test_a_model_without_a_calibration_says_nothing_of_absence(client, picture, monkeypatch):
    image = picture("yellow", "red")
    monkeypatch.setattr(ColorFinder, "threshold", None)
    unknown = client.predict(image=image, person=2, top=1, api_name="/search")
    assert unknown["threshold"] is None and unknown["is_probably_absent"] is None
    given = client.predict(image=image, person=2, threshold=0.9, api_name="/search")
    assert given["threshold"] == 0.9 and given["is_probably_absent"] is False


def test_searching_by_number_by_box_and_with_filters(client, picture):
    image = picture("yellow", "red")
    by_number = client.predict(image=image, person=2, top=3, api_name="/search")
    assert [frame_of(m) for m in by_number["matches"][:2]] == ["a.png", "c.png"]
    assert [m["rank"] for m in by_number["matches"]] == [1, 2, 3]
    assert by_number["matches"][0]["similarity"] > 0.99
    assert by_number["is_probably_absent"] is False
    by_box = client.predict(image=image, box=by_number["box"], top=1, api_name="/search")
    assert by_box["matches"] == by_number["matches"][:1]
    filtered = client.predict(image=image, person=2, cameras=["c"], api_name="/search")
    assert [frame_of(m) for m in filtered["matches"]] == ["c.png"]
    assert filtered["matches"][0]["camera"] == "c"
    everybody = client.predict(
        image=image, person=1, cameras=["b"], by="person", pictures=True, api_name="/search"
    )
    assert len(everybody["matches"]) == 2
    assert everybody["matches"][0]["person"].startswith("data:image/jpeg;base64,")


def test_somebody_who_is_not_there(client, picture):
    answer = client.predict(image=picture("cyan"), cameras=["a", "b", "c"], api_name="/search")
    assert answer["is_probably_absent"] is True and answer["matches"][0]["similarity"] < 0.95
    empty = client.predict(image=picture("cyan"), gallery="empty", api_name="/search")
    assert empty["matches"] == [] and empty["is_probably_absent"] is True


def test_adding_images_and_a_video(client, served, tmp_path):
    image = save(tmp_path, "new.png", ["cyan"])
    video = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 2, (240, 120))
    for _ in range(4):
        writer.write(draw_colors(["purple"])[..., ::-1].copy())
    writer.release()
    files = [handle_file(str(image)), handle_file(str(video))]
    asked = {"gallery": "empty", "camera": "yard", "start": "100", "api_name": "/index"}
    report = client.predict(files=files, **asked)
    assert (report["frames_added"], report["people_added"], report["broken"]) == (3, 3, [])
    again = client.predict(files=files, **asked)
    assert (again["frames_added"], again["frames_unchanged"]) == (0, 3)
    found = client.predict(image=handle_file(str(image)), gallery="empty", api_name="/search")
    assert frame_of(found["matches"][0]) == "new.png"
    timed = client.predict(
        image=handle_file(str(image)), gallery="empty", since="101", api_name="/search"
    )
    assert [m["timestamp"] for m in timed["matches"]] == [101.0]
    # Nothing stays for the tests after this one.
    assert served[0].gallery("empty").index.remove(camera="yard").frames == 3


def bomb():
    """A PNG of 52 million pixels in a few kB."""
    stream = io.BytesIO()
    Image.new("1", (40_000, 1_300)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("note.jpg", b"hello", r"note\.jpg is not a picture"),
        ("zero.png", b"", r"zero\.png is empty"),
        ("cut.jpg", None, r"cut\.jpg is damaged"),
        ("bomb.png", bomb, r"bomb\.png has .*expected at most 50,000,000"),
    ],
)
def test_bad_pictures_are_told_and_deleted(client, tmp_path, name, content, message):
    if content is None:
        stream = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)
        Image.fromarray(noise).save(stream, "JPEG")
        content = stream.getvalue()[: len(stream.getvalue()) // 2]
    (tmp_path / name).write_bytes(content() if callable(content) else content)
    with pytest.raises(Exception, match=message) as error:
        client.predict(image=handle_file(str(tmp_path / name)), api_name="/find_people")
    assert "/tmp" not in str(error.value)
    assert_no_uploads()


def assert_no_uploads():
    assert [p for p in Path(upload_folder()).rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"person": 3}, "no person 3 in the picture: 2 found"),
        ({}, "found 2 people"),
        ({"box": [500, 5, 600, 50]}, "outside the picture"),
        ({"box": [1, 2]}, "expected four numbers"),
        ({"box": [90, 5, 10, 50]}, "has no area"),
        ({"person": 1, "gallery": "attic"}, "no gallery 'attic'"),
        ({"person": 1, "top": 5000}, r"top must be within 1\.\.100"),
        ({"person": 1, "since": "yesterday"}, "'yesterday' is no time"),
    ],
)
def test_mistakes_are_told(client, picture, asked, message):
    with pytest.raises(Exception, match=message):
        client.predict(image=picture("red", "blue"), **asked, api_name="/search")
    assert_no_uploads()


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("a.png", {"every": 0}, "expected more than 0"),
        ("a.png", {"gallery": "attic"}, "no gallery 'attic'"),
        ("a.txt", {}, r"a\.txt"),
    ],
)
def test_mistakes_in_adding_are_told_and_nothing_stays(client, tmp_path, name, asked, message):
    (tmp_path / name).write_bytes(save(tmp_path, "x.png", ["red"]).read_bytes())
    with pytest.raises(Exception, match=message):
        client.predict(files=[handle_file(str(tmp_path / name))], **asked, api_name="/index")
    assert_no_uploads()


def test_files_of_the_server_cannot_be_named(client, served):
    _, url, folder = served
    for path in ("/etc/passwd", folder / "g.db", Path(__file__), folder / "town"):
        assert httpx.get(f"{url}gradio_api/file={path}").status_code == 404
        named = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
        answer = httpx.post(f"{url}gradio_api/call/find_people", json={"data": [named]})
        told = httpx.get(f"{url}gradio_api/call/find_people/{answer.json()['event_id']}").text
        assert "event: error" in told and "root:" not in told and "people" not in told


def test_addresses_are_not_fetched(served):
    _, url, _ = served
    assert httpx.get(f"{url}gradio_api/file=http://example.org/x").status_code == 404
    assert httpx.get(f"{url}gradio_api/proxy=http://example.org/x").status_code == 404
    named = {"path": "http://example.org/x.png", "meta": {"_type": "gradio.FileData"}}
    answer = httpx.post(f"{url}gradio_api/call/find_people", json={"data": [named]})
    told = httpx.get(f"{url}gradio_api/call/find_people/{answer.json()['event_id']}").text
    assert "error" in told and "is a URL" in told


def test_large_uploads_are_refused(served):
    url = served[1]
    files = {"files": ("big.png", b"0" * 300_000)}
    assert httpx.post(f"{url}gradio_api/upload", files=files).status_code == 413


def test_only_the_documented_endpoints_are_public(client):
    endpoints = client.view_api(return_format="dict", print_info=False)
    public = {"/galleries", "/find_people", "/search", "/index", "/remove", "/log"}
    assert set(endpoints["named_endpoints"]) == public
    assert not endpoints["unnamed_endpoints"]
    documented = (Path(__file__).parent.parent / "docs/api.md").read_text(encoding="utf-8")
    for name, endpoint in endpoints["named_endpoints"].items():
        assert f"## `{name}`" in documented
        for parameter in endpoint["parameters"]:
            assert f"`{parameter['parameter_name']}`" in documented, (name, parameter)


def test_nothing_of_others_is_watched_or_kept(served):
    url = served[1]
    config = httpx.get(f"{url}config").json()
    assert config["analytics_enabled"] is False and config["run_history"] is False
    assert httpx.get(f"{url}monitoring").status_code in (403, 404)
    for page in ("docs", "redoc", "openapi.json"):
        assert httpx.get(url + page).status_code == 404
    page = httpx.get(url).text
    assert "fonts.googleapis" not in page and "cdn." not in page


@pytest.mark.parametrize(
    ("count", "frames"), [(12, 4), pytest.param(50, 24, marks=pytest.mark.slow)]
)
def test_many_searches_at_once_while_indexing(count, frames, client, served, tmp_path):
    """Every search finds the right frame first, before, during and after footage is added."""
    names = list(COLORS)
    queries = {n: handle_file(str(save(tmp_path / "q", f"{n}.png", [n]))) for n in names[:4]}
    expected = {"red": "a.png", "green": "b.png", "blue": "a.png", "yellow": "b.png"}
    new = [
        handle_file(str(save(tmp_path / "n", f"n{i}.png", ["cyan", "purple"], seed=i)))
        for i in range(frames)
    ]
    indexing = client.submit(files=new, gallery="town", camera="new", api_name="/index")

    def search(number):
        name = names[number % 4]
        answer = client.predict(image=queries[name], top=1, api_name="/search")
        return frame_of(answer["matches"][0]) == expected[name]

    with ThreadPoolExecutor(count) as pool:
        right = list(pool.map(search, range(count)))
    assert all(right) and len(right) == count
    assert indexing.result()["frames_added"] == frames
    assert served[0].gallery("town").index.remove(camera="new").frames == frames


def test_with_a_password(served, picture):
    app = build_app(served[0])
    url = launch_app(app, port=None, users=Users.single("ann", "secret", Cost(n=16, p=1)))
    try:
        for path in (
            "config",
            "gradio_api/info",
            "gradio_api/heartbeat/x",
            "gradio_api/queue/data",
        ):
            assert httpx.get(url + path).status_code == 401, path
        for path in ("upload", "cancel", "reset", "queue/join"):
            answer = httpx.post(f"{url}gradio_api/{path}", files={"files": ("a.png", b"1")})
            assert answer.status_code == 401
        with pytest.raises(Exception, match="Could not login"):
            Client(url, auth=("ann", "guess"), verbose=False)
        client = Client(url, auth=("ann", "secret"), verbose=False)
        assert client.predict(api_name="/galleries")["galleries"][0]["name"] == "town"
        # The log of the gallery is told who it was.
        log = ActivityLog(served[0].gallery("town").index)
        log.switch_on()
        client.predict(image=picture("red"), person=1, api_name="/search")
        assert [(e["action"], e["user"]) for e in log.entries()][-1] == ("search", "ann")
        log.switch_off()
    finally:
        app.close()
    assert threading.active_count() < 200

"""The data set, by the installed package, whose database server a stand-in in memory replaces."""

import numpy as np
import pytest
from helpers_formats import LOOKS, START, make_gallery

from person_search.formats.fiftyone_dataset import export_fiftyone
from person_search.gallery.index import GalleryIndex

mongomock = pytest.importorskip("mongomock")


@pytest.fixture(scope="module")
def fiftyone():
    """Its server, mongod, is not on PyPI: the package fetches it from elsewhere."""
    import mongoengine
    import pymongo
    from mongomock.store import ServerStore

    store = ServerStore()

    class Client(mongomock.MongoClient):
        _closed = False

        def __init__(self, *args, appname=None, **more):
            super().__init__(*args, **more, _store=store)

    connect = mongoengine.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIFTYONE_DATABASE_URI", "mongodb://localhost")
        patch.setenv("FIFTYONE_DATABASE_VALIDATION", "false")
        patch.setenv("FIFTYONE_DO_NOT_TRACK", "true")
        patch.setattr(pymongo, "MongoClient", Client)
        patch.setattr(
            mongoengine,
            "connect",
            lambda db, **more: connect(db, mongo_client_class=Client, **more),
        )
        yield pytest.importorskip("fiftyone")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_gallery(tmp_path_factory.mktemp("formats"))


@pytest.fixture
def index(root):
    with GalleryIndex.open(root / "g.db") as opened:
        yield opened


def test_a_gallery_becomes_a_data_set(fiftyone, index, root, tmp_path):
    report = export_fiftyone(index, "town", frames_folder=tmp_path)
    assert (report.frames, report.people, report.missing) == (10, 11, [])
    dataset = fiftyone.load_dataset("town")
    assert dataset.persistent and dataset.info["model"] == index.fingerprint
    samples = {sample["frame"]: sample for sample in dataset}
    sample = samples[f"{root / 'hall.mp4'}#frame=35"]
    assert sample.filepath.endswith("000035.jpg") and sample.metadata.width == 128
    assert (sample["camera"], sample["seconds"]) == ("hall", START + 3.5)
    first, second = sample["people"].detections
    assert first.bounding_box == pytest.approx([3.1 / 128, 10.7 / 96, 30.3 / 128, 60.2 / 96])
    assert first.confidence == pytest.approx(0.9) and first.index != second.index
    assert first.embedding.dtype == np.float32 and np.array_equal(first.embedding, LOOKS[0])
    alone = samples[str(root / "still" / "alone.jpg")]
    assert alone["people"].detections[0].index is None and alone["camera"] is None
    with pytest.raises(ValueError, match="has a data set 'town' already"):
        export_fiftyone(index, "town", frames_folder=tmp_path)


def test_frames_of_videos_need_a_folder(fiftyone, index):
    with pytest.raises(ValueError, match=r"8 of 10 frames are of videos.*--frames"):
        export_fiftyone(index, "other")
    assert "other" not in fiftyone.list_datasets()


def test_an_error_leaves_no_half_data_set(fiftyone, index, tmp_path, monkeypatch):
    monkeypatch.setattr(index, "stored_people", lambda names: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_fiftyone(index, "half", frames_folder=tmp_path)
    assert "half" not in fiftyone.list_datasets()

"""Whether what is here is what it was."""

import dataclasses
import errno

import pytest

from person_search.inference.models import models_folder
from person_search.inference.recorded_files import record_files
from person_search.model_list import checking
from person_search.model_list.checking import check_downloads, check_models
from person_search.model_list.records import Record, downloads_folder
from person_search.model_list.table import LISTED
from reid_heads.atomic_file import save_json

MODEL = LISTED["osnet-x1.0-msmt17"]


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("PERSON_SEARCH_HOME", str(tmp_path))


@pytest.fixture
def download():
    """A download of four bytes, and its record."""
    file = downloads_folder() / MODEL.name / MODEL.file
    file.parent.mkdir(parents=True)
    file.write_bytes(b"four")
    digest = "04efaf080f5a3e74e1c29d1ca6a48569382cbbcd324e8d59d2b83ef21c039f00"
    record = Record(MODEL.name, 4, digest, False, "https://x", "now", MODEL.to_card().to_dict())
    record.save(file)
    return file, record


@pytest.fixture
def folder():
    """An installed model."""
    folder = models_folder() / "street"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text("{}")
    save_json(folder / "model.card.json", MODEL.to_card().to_dict())
    record_files(folder)
    return folder


def test_without_a_folder_there_is_nothing():
    assert not [*check_downloads(), *check_models()]


def test_what_is_as_it_was_has_no_problem(download, folder):
    (found,), (model,) = check_downloads(), check_models()
    assert (found.path, found.problems) == (download[0], ())
    assert found.note == "SHA-256 is that of the first download"
    assert (model.path, model.problems, model.note) == (folder, (), "")


def test_a_download_that_was_changed_is_named(download):
    file, record = download
    file.write_bytes(b"five")
    (found,) = check_downloads()
    assert f"recorded are 4 with {record.sha256}; remove it, and fetch it anew" in found.problems[0]


def test_a_download_that_the_list_knows_otherwise_is_named(download, monkeypatch):
    """The list learnt the hash after the first download, or another one."""
    listed = dataclasses.replace(MODEL, sha256="0" * 64)
    monkeypatch.setitem(LISTED, MODEL.name, listed)
    (found,) = check_downloads()
    assert f"the list expects another file, {'0' * 64}" in found.problems[0]


def test_records_and_files_without_each_other_are_told(download):
    file, record = download
    (file.parent / ".other.pth.part").touch()
    (file.parent / "other.pth").touch()
    file.unlink()
    part, gone, other = check_downloads()
    assert "it has no record" in other.problems[0]
    assert "a part of a download" in part.note and not part.problems
    assert gone.path.name == f"{MODEL.file}.record.json" and "the file is gone" in gone.note
    dataclasses.replace(record, card={"name": "net"}).save(file.with_name("other.pth"))
    (broken,) = [x for x in check_downloads() if x.path.name == "other.pth"]
    assert "is no model card: it lacks domain, licence" in broken.problems[0]
    assert f"`person-search models download {MODEL.name}` checks and records" in broken.problems[0]


def test_what_else_lies_there_does_not_hide_the_rest(download, monkeypatch):
    file, record = download
    (file.parent / "a folder").mkdir()
    (file.parent / "b link").symlink_to("nowhere")
    (file.parent / ".a.json.person-search-9-0123abcd.part").touch()
    left, folder, link, whole = check_downloads()
    assert folder.problems == link.problems == ("it is no file: remove it",)
    assert whole.path == file and not whole.problems
    assert not left.problems and "was stopped; it can be removed" in left.note
    dataclasses.replace(record, name="nae").save(file)
    assert "its record is one of nae" in [*check_downloads()][3].problems[0]
    monkeypatch.setattr(checking, "hash_file", raise_no_permission)
    assert "cannot be read (Permission denied)" in [*check_downloads()][3].problems[0]


def raise_no_permission(path):
    raise PermissionError(errno.EACCES, "Permission denied")


def test_a_model_that_was_changed_is_named(folder):
    (folder / "model.json").write_text("[]")
    (folder / "model.card.json").write_text("{}")
    (found,) = check_models()
    card, main, broken = found.problems
    assert card.startswith("model.card.json was changed") and "models check --record" in card
    assert main.startswith("model.json was changed") and "lacks name, domain, licence" in broken
    (folder / "model.json").unlink()
    assert "it has none of model.onnx" in " ".join(next(check_models()).problems)


def test_what_a_stopped_import_left_is_told(folder):
    (models_folder() / ".street.abc.part").mkdir()
    left, model = check_models()
    assert "it can be removed" in left.note and not left.problems and model.path == folder


def test_a_model_of_before_hashes_were_kept_is_no_problem(folder):
    (folder / "model.files.json").unlink()
    (folder / "model.card.json").unlink()
    (found,) = check_models()
    assert not found.problems
    assert "no hashes were kept" in found.note and "it has no card beside it" in found.note
    (folder / "model.files.json").write_text("{")
    assert "is no JSON" in next(check_models()).problems[0]

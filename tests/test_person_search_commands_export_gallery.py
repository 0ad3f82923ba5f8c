import json
import shutil
import sys

import pytest
from helpers_formats import make_gallery

from person_search.cli import main
from person_search.gallery.index import GalleryIndex


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_gallery(tmp_path_factory.mktemp("formats"))


def _run(capsys, root, *arguments):
    status = main(["export-gallery", "--gallery", str(root / "g.db"), *map(str, arguments)])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_search_is_exported_with_filters(root, tmp_path, capsys):
    main(["appearances", "--gallery", str(root / "g.db"), "--json"])
    found = tmp_path / "found.json"
    found.write_text(capsys.readouterr().out)
    out = tmp_path / "some.json"
    since = "2023-11-14T22:13:22+00:00"
    arguments = ["--format", "coco", "--output", out, "--matches", found, "--since", since]
    status, said, _ = _run(capsys, root, *arguments)
    assert (status, said) == (0, f"{out}: 6 people in 4 frames\n")
    assert len(json.loads(out.read_text())["annotations"]) == 6
    status, said, _ = _run(capsys, root, *arguments, "--camera", "gate")
    assert (status, said) == (1, f"{out}: 0 people in 0 frames\n")


def test_what_a_format_has_no_place_for_is_counted_and_named(root, tmp_path, capsys):
    out = tmp_path / "mot"
    status, said, _ = _run(capsys, root, "--format", "mot", "--output", out)
    assert status == 0 and said.startswith(f"{out}: 10 people in 9 frames\n")
    assert f"no place in this format, left out: 1 ({root / 'still' / 'alone.jpg'})" in said
    status, _, err = _run(capsys, root, "--format", "mot", "--output", out)
    assert status == 2 and "is there already; expected a new folder's name" in err


def test_what_was_called_nobody_is_left_out_and_counted(root, tmp_path, capsys):
    shutil.copy(root / "g.db", tmp_path / "g.db")
    with GalleryIndex.open(tmp_path / "g.db") as index:
        stay = next(iter(index.appearances.within())).appearance
        index.appearances.groups.call_stays_nobody([stay.id])
    out = tmp_path / "all.json"
    status, said, _ = _run(capsys, tmp_path, "--format", "coco", "--output", out)
    assert (status, said.splitlines()[1]) == (
        0,
        f"sights of what was called nobody, left out: {stay.frames}",
    )
    people = json.loads(out.read_text())["annotations"]
    assert len(people) == 11 - stay.frames and stay.id not in {
        p.get("appearance_id") for p in people
    }
    # Who names it has it.
    one = ["--format", "coco", "--output", tmp_path / "one.json", "--appearance", stay.id]
    assert "left out" not in _run(capsys, tmp_path, *one)[1]
    assert len(json.loads((tmp_path / "one.json").read_text())["annotations"]) == stay.frames


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "mot", "--output", "m", "--frames", "f"], "is for coco and fiftyone"),
        (["--format", "coco", "--output", "/nowhere/a.json"], "there is no folder"),
        (["--format", "coco", "--output", "a.json", "--appearance", "77"], "no appearance 77"),
        (["--format", "coco", "--output", "a.json", "--since", "soon"], "is no time"),
        (["--format", "coco", "--output", "a.json", "--matches", "no.json"], "no.json"),
    ],
)  # fmt: skip
def test_wrong_use(root, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    status, out, err = _run(capsys, root, *arguments)
    assert (status, out) == (2, "") and words in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "package"), [("parquet", "pyarrow"), ("fiftyone", "fiftyone")])
def test_a_missing_package_is_named_with_its_extra(
    root, tmp_path, monkeypatch, capsys, name, package
):
    monkeypatch.setitem(sys.modules, package, None)
    extra = {"pyarrow": "formats"}.get(package, package)
    status, _, err = _run(capsys, root, "--format", name, "--output", tmp_path / "out")
    assert status == 2 and f"{package} is not installed; run: pip install" in err
    assert f"[{extra}]" in err and not list(tmp_path.iterdir())


def test_a_gallery_is_not_replaced_by_its_export(tmp_path, capsys):
    """``--output`` named the gallery itself, and JSON took its place."""
    root = make_gallery(tmp_path)
    before = (root / "g.db").read_bytes()
    status, out, err = _run(capsys, root, "--format", "coco", "--output", root / "g.db")
    assert (status, out) == (2, "") and "g.db is a gallery" in err
    assert (root / "g.db").read_bytes() == before

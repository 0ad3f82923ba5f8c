"""The list promises nothing that nobody stated."""

import dataclasses
from pathlib import Path

import pytest

from person_search.inference.models import folder_of
from person_search.model_list.listed_model import ListedModel
from person_search.model_list.sources import GoogleDrive, Https, HuggingFace
from person_search.model_list.table import LISTED, find_listed

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("model", LISTED.values(), ids=LISTED)
def test_every_row_is_whole(model):
    assert folder_of(model.name)  # a name that an installed model can have
    assert all(source.address.startswith("https://") for source in model.sources)
    assert (model.size is None) == (not model.size_and_hash_from)
    assert (model.size is None) == (model.sha256 is None) or model.kind == "made"
    assert bool(model.published) == bool(model.published_in)
    # Whoever ran it kept the results.
    answer, _, results = model.run_by_us.partition(": ")
    assert (answer, bool(results)) in {("yes", True), ("no", False)}
    assert not results or (ROOT / results).is_file()
    card = model.to_card()
    assert model.data_terms in card.licence and model.licence in card.licence
    assert all("not measured here" in name for name in card.numbers)


def test_terms_that_are_not_commercial_are_said():
    """All sets of persons and faces of the list are given for research."""
    for model in LISTED.values():
        if model.kind in ("search", "crop") or model.is_for_faces:
            assert "non-commercial" in model.data_terms, model.name


def test_names_that_the_list_does_not_have_are_refused():
    assert find_listed("nanodet-m").kind == "detector" and not find_listed("nae").is_for_faces
    with pytest.raises(ValueError, match="no model 'resnet'; expected one of street-basic, nano"):
        find_listed("resnet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "net"}, "kind is 'net'; expected search, crop"),
        ({"data_terms": " "}, "data_terms is empty"),
        ({"sha256": "abc"}, "expected 64 hexadecimal digits"),
        ({"sources": ()}, "expected sources, unless"),
    ],
)
def test_a_row_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(LISTED["nanodet-m"], **change)


def test_each_kind_of_source_has_an_address_and_a_page(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert Https("https://a/b").page == "https://a/b"
    model = HuggingFace("o/n", "f.pth", "0123456789")
    assert model.address == "https://huggingface.co/o/n/resolve/0123456789/f.pth"
    assert str(model) == "Hugging Face o/n, f.pth, revision 01234567"
    drive = GoogleDrive("abc")
    assert drive.address == "https://drive.google.com/uc?export=download&id=abc"
    assert drive.page == "https://drive.google.com/file/d/abc/view"
    assert isinstance(LISTED["seqnet-prw"], ListedModel)


def test_the_page_has_the_rows_of_the_list():
    text = (ROOT / "docs/model_list.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in row.split("|")] for row in text.splitlines()]
    rows = [row[1:-1] for row in rows if len(row) == 8 and row[1].startswith("`")]
    assert [row[0].strip("`") for row in rows] == list(LISTED)
    hashes = {"known": True, "stated by others": True, "not known": False}
    for (_, _, licence, _, known, run), model in zip(rows, LISTED.values(), strict=True):
        assert model.licence.startswith(licence)
        assert hashes[known] == (model.sha256 is not None) or model.kind == "made"
        assert run.strip("[").startswith(model.run_by_us.partition(":")[0])

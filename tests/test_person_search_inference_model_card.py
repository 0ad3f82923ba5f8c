"""Model cards: read back as written, refused where they say nothing; who carries one."""

import json

import pytest

from person_search.inference.finder import PersonFinder
from person_search.inference.model_card import DRAWN_PEOPLE, ModelCard, card_path
from person_search.inference.models import builtin_model

CONTENT = {
    "name": "street",
    "domain": "people on streets",
    "licence": "MIT",
    "trained_on": "made-up",
    "numbers": {"made-up: mAP": 47.6},
}


def test_a_card_reads_back_as_it_was_written(tmp_path):
    card = ModelCard(**CONTENT, limits="Not at night.")
    assert ModelCard.from_dict(json.loads(json.dumps(card.to_dict())), "here") == card
    card_path(tmp_path / "model.pth").write_text(json.dumps(card.to_dict()))
    assert (tmp_path / "model.card.json").is_file()
    assert ModelCard.find(tmp_path / "model.pth") == card
    assert ModelCard.find(tmp_path / "other.pth") is None
    assert card.say_what_it_knows() == "this model (street) knows people on streets only"
    assert not card.is_drawn and ModelCard(**CONTENT | {"domain": DRAWN_PEOPLE}).is_drawn


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"name": "a"}, r"lacks domain, licence, trained_on; expected name"),
        (CONTENT | {"colour": "red"}, r"has the unknown colour; expected"),
        (CONTENT | {"licence": " "}, "licence: got ' ', expected text"),
        (CONTENT | {"limits": 3}, "limits: got 3, expected text"),
        (CONTENT | {"numbers": [1]}, "expected names with percentages"),
        (CONTENT | {"numbers": {"mAP": "47"}}, "'mAP' is '47', expected a percentage"),
        (CONTENT | {"numbers": {"mAP": 147.0}}, "expected 0 to 100"),
        (CONTENT | {"numbers": {"mAP": float("nan")}}, "expected 0 to 100"),
    ],
)
def test_what_is_no_card_is_refused_with_its_place(content, message):
    with pytest.raises(ValueError, match=message) as caught:
        ModelCard.from_dict(content, "m.card.json")
    assert "m.card.json" in str(caught.value)


def test_a_record_of_a_later_version_is_read_and_a_damaged_one_is_no_card():
    """A gallery opens whatever became of the card in it."""
    card = ModelCard(**CONTENT)
    assert ModelCard.from_record(card.to_dict() | {"colour": "red"}) == card
    for damaged in (None, "card", {}, CONTENT | {"licence": 3}):
        assert ModelCard.from_record(damaged) is None


def test_a_damaged_file_is_named(tmp_path):
    path = card_path(tmp_path / "model.onnx")
    path.write_text("{")
    with pytest.raises(ValueError, match=r"model\.card\.json is no JSON"):
        ModelCard.find(tmp_path / "model.onnx")
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"model\.card\.json holds \[\]; expected an object"):
        ModelCard.find(tmp_path / "model.onnx")
    with pytest.raises(FileNotFoundError, match="there is no model card"):
        ModelCard.load(tmp_path / "gone.card.json")


def test_the_model_that_comes_along_says_that_it_knows_drawn_people_only():
    card = PersonFinder.load(builtin_model(), threads=1).card
    assert card.is_drawn and card.licence == "Apache-2.0"
    # As `make demo` prints them.
    assert card.numbers["drawn_cuhk_test, gallery 100: search mAP"] == 67.9
    assert set(card.numbers.values()) == {91.8, 93.2, 67.9, 91.0}

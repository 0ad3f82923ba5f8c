import numpy as np
import pytest
import scipy.io
from helpers_crop_layouts import (
    DUKE_FLAGS,
    DUKE_PLAIN,
    MARKET_FLAGS,
    MARKET_PLAIN,
    attribute_fields,
    write_attributes,
)

from reid_heads.data.datasets.attributes import load_duke_attributes, load_market_attributes


def _market(pids=(2, 7), order=1, **values):
    return attribute_fields(pids, MARKET_PLAIN, MARKET_FLAGS, order, **values)


def _duke(pids=(1, 8), order=1, **values):
    return attribute_fields(pids, DUKE_PLAIN, DUKE_FLAGS, order, **values)


@pytest.fixture
def write(tmp_path):
    def write(train, test=None, name="market_attribute"):
        path = tmp_path / f"{name}.mat"
        write_attributes(path, train, _market([1]) if test is None else test)
        return path

    return write


def _classes(groups, row):
    """Translate class numbers to names."""
    return {name: classes[number] for (name, classes), number in zip(groups, row, strict=True)}


def test_market_groups(write):
    groups, _ = load_market_attributes(write(_market()), "train")
    assert [(name, len(classes)) for name, classes in groups] == [
        ("gender", 2),
        ("hair", 2),
        ("up", 2),
        ("down", 2),
        ("clothes", 2),
        ("hat", 2),
        ("backpack", 2),
        ("bag", 2),
        ("handbag", 2),
        ("age", 4),
        ("up_colour", 9),
        ("down_colour", 10),
    ]
    assert [classes[-1] for _, classes in groups[-2:]] == ["none", "none"]


def test_fields_are_read_by_name_in_either_order(write):
    values = {
        "gender": [1, 2],
        "age": [4, 2],
        "clothes": [2, 1],
        "uppurple": [1, 2],
        "downpink": [2, 1],
    }
    path = write(_market(**values), _market([1, 3], order=-1, **values))
    expected = [
        dict(gender="male", age="old", clothes="pants", up_colour="none", down_colour="pink"),
        dict(
            gender="female", age="teenager", clothes="dress", up_colour="purple", down_colour="none"
        ),
    ]
    for split, pids in (("train", [2, 7]), ("test", [1, 3])):
        groups, attributes = load_market_attributes(path, split)
        assert list(attributes) == pids
        for pid, wanted in zip(pids, expected, strict=True):
            named = _classes(groups, attributes[pid])
            assert {key: named[key] for key in wanted} == wanted


def test_every_flag_has_a_class_of_its_own(write):
    flags = {
        name: [2 if row == column else 1 for row in range(17)]
        for column, name in enumerate(MARKET_FLAGS)
    }
    groups, attributes = load_market_attributes(write(_market(range(1, 18), **flags)), "train")
    names = [_classes(groups, row) for row in attributes.values()]
    assert [row["up_colour"] for row in names[:8]] == [name[2:] for name in MARKET_FLAGS[:8]]
    assert [row["down_colour"] for row in names[8:]] == [name[4:] for name in MARKET_FLAGS[8:]]
    assert {row["down_colour"] for row in names[:8]} == {"none"}


def test_one_person_is_read_like_many(write):
    _, attributes = load_market_attributes(write(_market([42], age=[3], upblack=[2])), "train")
    # gender .. handbag are all 1, that is class 0; age 3 is class 2; black is 0; no lower colour.
    assert attributes == {42: [0] * 9 + [2, 0, 9]}


def test_duke_groups_and_open_classes(write):
    train = _duke([1, 8, 13], top=[0, 1, 2], upbrown=[2, 1, 1])
    test = _duke([2, 3], order=-1, downred=[2, 2], downblue=[2, 1])
    path = write(train, test, "duke_attribute")
    groups, attributes = load_duke_attributes(path, "train")
    assert [(name, len(classes)) for name, classes in groups] == [
        ("gender", 2),
        ("top", 2),
        ("boots", 2),
        ("hat", 2),
        ("backpack", 2),
        ("bag", 2),
        ("handbag", 2),
        ("shoes", 2),
        ("up_colour", 9),
        ("down_colour", 8),
    ]
    # No top is unknown (-1); no colour is the class "none", 8 and 7.
    assert [row[1] for row in attributes.values()] == [-1, 0, 1]
    assert [row[-2:] for row in attributes.values()] == [[7, 7], [8, 7], [8, 7]]
    _, attributes = load_duke_attributes(path, "test")
    # Several colours are unknown; red alone is 2.
    assert [row[-1] for row in attributes.values()] == [-1, 2]


def test_several_colours_of_a_person_of_market(write):
    path = write(_market(upred=[1, 2], upblue=[1, 2]))
    with pytest.raises(ValueError, match=r"train: person 0007 has several .*: upred, upblue"):
        load_market_attributes(path, "train")
    # One upper and one lower colour are fine.
    load_market_attributes(write(_market(upred=[1, 2], downblue=[1, 2])), "train")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("age", 5, "'age' of person 0007 is 5, expected 1 to 4"),
        ("age", 0, "'age' of person 0007 is 0, expected 1 to 4"),
        ("upred", 3, "'upred' of person 0007 is 3, expected 1 to 2"),
        ("downred", 2, None),  # no such colour of Market's; further fields do no harm
    ],
)
def test_values_out_of_range(write, field, value, message):
    path = write(_market(**{field: [1, value]}))
    if message is None:
        load_market_attributes(path, "train")
        return
    with pytest.raises(ValueError, match=message):
        load_market_attributes(path, "train")


def test_a_missing_field_is_named(write):
    for field in ("hat", "downpink", "image_index"):
        fields = _market()
        del fields[field]
        with pytest.raises(ValueError, match=f"test: the field '{field}'.* is missing"):
            load_market_attributes(write(_market(), fields), "test")


def test_a_field_of_another_length(write):
    path = write(_market(hat=[1, 1, 1]))
    with pytest.raises(ValueError, match="'hat' has 3 values, but 'image_index' 2 persons"):
        load_market_attributes(path, "train")


def test_fractions_and_text(write):
    fields = _market()
    fields["hat"] = np.array([[1.5, 1.0]])
    with pytest.raises(ValueError, match="whole numbers in 'hat'"):
        load_market_attributes(write(fields), "train")
    fields["hat"] = np.array(["no", "yes"], dtype=object)
    with pytest.raises(ValueError, match="whole numbers in 'hat'"):
        load_market_attributes(write(fields), "train")


def test_person_numbers_that_are_none_or_come_twice(write):
    with pytest.raises(ValueError, match="lists the person 0007 twice"):
        load_market_attributes(write(_market([7, 7])), "train")
    fields = _market()
    fields["image_index"][0, 1] = "seven"
    with pytest.raises(ValueError, match="'image_index' has 'seven', expected a number"):
        load_market_attributes(write(fields), "train")
    with pytest.raises(ValueError, match="lists nobody"):
        load_market_attributes(write(_market([])), "train")


def test_wrong_files_and_splits(write, tmp_path):
    path = write(_market())
    with pytest.raises(ValueError, match="split train or test, not 'query'"):
        load_market_attributes(path, "query")
    with pytest.raises(ValueError, match=r"has the keys \['market_attribute'\], but none"):
        load_duke_attributes(path, "train")
    with pytest.raises(FileNotFoundError, match=r"gone\.mat is missing"):
        load_market_attributes(tmp_path / "gone.mat", "train")
    path.write_bytes(b"no MATLAB file")
    with pytest.raises(ValueError, match=r"market_attribute\.mat cannot be read"):
        load_market_attributes(path, "train")
    scipy.io.savemat(path, {"market_attribute": {"train": np.arange(3)}})
    with pytest.raises(ValueError, match="expected a struct of one row, got 3 of int"):
        load_market_attributes(path, "train")
    with pytest.raises(ValueError, match=r"has the fields \['train'\], but no 'test'"):
        load_market_attributes(path, "test")

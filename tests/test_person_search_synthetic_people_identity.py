import dataclasses

from person_search.synthetic.palette import CLOTHES, Stream, contrast_of, make_rng, mix, pick
from person_search.synthetic.people.identity import (
    ALTERATIONS,
    BAGS,
    HATS,
    LOWER_TYPES,
    PATTERNS,
    UPPER_TYPES,
    alter,
    make_identity,
    sample_identity,
    visible_signature,
)


def test_attributes_are_named_and_agree_with_each_other():
    for k in range(200):
        i = make_identity(5, k, 0.3, 0)
        assert i.upper_type in UPPER_TYPES
        assert i.lower_type in {*LOWER_TYPES, "dress"}
        assert {i.upper_name, i.lower_name, i.bag_name, i.hat_name, i.shoe_name} <= set(CLOTHES)
        assert (i.bag in BAGS, i.hat in HATS, i.upper_pattern in PATTERNS) == (True,) * 3
        assert (i.upper_type == "dress") == (i.lower_type == "dress")
        assert i.lower_type != "shorts" or i.lower_length == "short"
        assert 1.0 < i.height_m <= 2.0
        assert all(0 <= c <= 255 for c in i.upper_colour + i.skin_colour + i.hair_colour)


def test_an_identity_does_not_depend_on_the_others_drawn_before():
    alone = make_identity(5, 7, 0.5, 0)
    assert [make_identity(5, k, 0.5, 0) for k in range(9)][7] == alone
    assert make_identity(6, 7, 0.5, 0) != alone


def test_colours_stay_near_the_family_that_names_them():
    for k in range(100):
        i = make_identity(5, k, 0.0, 0)
        nominal = CLOTHES[i.upper_name]
        # The channels move together by at most 14 and each alone by at most 7 (plus rounding).
        assert max(abs(a - b) for a, b in zip(i.upper_colour, nominal, strict=True)) <= 22


def test_alter_changes_something_visible_and_no_more_than_two_groups():
    rng = make_rng(5, Stream.PREVIEW)
    coupled = {"lower_name", "lower_colour"}  # a dress carries its colour on to the skirt
    for _ in range(100):
        before = sample_identity(rng)
        after = alter(before, rng)
        assert visible_signature(after) != visible_signature(before)
        names = [f.name for f in dataclasses.fields(before)]
        changed = {n for n in names if getattr(before, n) != getattr(after, n)}
        if after.upper_type == "dress":
            changed -= coupled
        groups = [g for g, members in ALTERATIONS.items() if changed & set(members)]
        assert changed <= {m for g in groups for m in ALTERATIONS[g]}
        assert 1 <= len(groups) <= 2


def test_near_duplicates_copy_an_earlier_identity_of_the_same_range():
    originals = [make_identity(5, k, 0.0, 0) for k in range(20)]
    for k in range(11, 20):
        copy = make_identity(5, k, 1.0, 10)
        body = (copy.height_m, copy.girth, copy.leg_length)
        models = [j for j, o in enumerate(originals) if (o.height_m, o.girth, o.leg_length) == body]
        assert len(models) == 1
        assert 10 <= models[0] < k
    # The first of a range has nobody to copy.
    assert make_identity(5, 10, 1.0, 10) == originals[10]


def test_pick_follows_the_weights():
    rng = make_rng(1, Stream.PREVIEW)
    drawn = [pick(rng, {"a": 1.0, "b": 3.0, "never": 0.0}) for _ in range(2000)]
    assert "never" not in drawn
    # Binomial with p = 0.75: 1500 expected, standard deviation 19.4; five of those allowed.
    assert abs(drawn.count("b") - 1500) < 97


def test_colour_arithmetic():
    assert mix((0, 100, 200), (100, 200, 0), 0.25) == (25, 125, 150)
    assert contrast_of((250, 250, 250)) == CLOTHES["black"]
    assert contrast_of((10, 10, 10)) == CLOTHES["white"]


def test_streams_and_indices_give_different_numbers():
    draws = {
        make_rng(1, Stream.FRAME, 0).random(),
        make_rng(1, Stream.FRAME, 1).random(),
        make_rng(1, Stream.CAMERA, 0).random(),
        make_rng(2, Stream.FRAME, 0).random(),
    }
    assert len(draws) == 4

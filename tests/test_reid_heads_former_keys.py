"""Names of earlier versions in config files and on the command line: each told what it is now."""

import pytest
import yaml
from detectron2.config import CfgNode

import person_search.config
import reid_heads.config
from reid_heads.former_keys import FORMER_KEYS, add_former_keys

LOADERS = {"crops": reid_heads.config.load_config, "frames": person_search.config.load_config}
ALL = pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)


def nested(key, value):
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def other_than(value):
    return {float: 0.125, int: 7, str: "straight_through"}.get(type(value), [1.0, 1.5])


@pytest.mark.parametrize("key", FORMER_KEYS.values(), ids=FORMER_KEYS)
def test_every_former_key_of_a_file_is_refused_with_its_new_name(key, tmp_path):
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump(nested(key.name, other_than(key.default))))
    with pytest.raises(KeyError) as refused:
        reid_heads.config.load_config(str(path))
    assert f"{key.name} is now {key.now}" in str(refused.value)
    assert str(path) in str(refused.value)


@ALL
def test_of_a_command_line_and_of_a_base_file_too(load, tmp_path):
    with pytest.raises(KeyError, match=r"ARCFACE is now MODEL\.REID_HEAD\.LOSSES\.COSINE_SOFTMAX"):
        load("", ["SEED", "1", "MODEL.REID_HEAD.LOSSES.ARCFACE", "0.0"])
    (tmp_path / "base.yaml").write_text("MODEL: {REID_HEAD: {ARCFACE: {MARGIN: 0.5}}}\n")
    (tmp_path / "leaf.yaml").write_text("_BASE_: base.yaml\n")
    with pytest.raises(KeyError, match=r"COSINE_SOFTMAX\.MARGIN\.ARCFACE\.M\b"):
        load(str(tmp_path / "leaf.yaml"))


@ALL
def test_a_config_that_training_wrote_is_read_where_it_asks_for_nothing_former(load, tmp_path):
    """It holds every key of its version, so a model without such a loss must not be lost."""
    now, then = tmp_path / "now.yaml", tmp_path / "then.yaml"
    written = load("")
    now.write_text(written.dump())
    add_former_keys(written)
    then.write_text(written.dump())
    assert "SUBCENTER_ARCFACE" in then.read_text()
    assert load(str(then)) == load(str(now))
    assert list(load(str(then)).MODEL.REID_HEAD.LOSSES) == list(load("").MODEL.REID_HEAD.LOSSES)


@ALL
def test_what_is_told_is_a_key_of_today(load):
    known = load("")
    for key in FORMER_KEYS.values():
        for name in key.now.replace(", with ", " ").replace(" and ", " ").split(" "):
            if not name.startswith(("MODEL.", "SOLVER.")):
                continue
            node = known
            for part in name.split("."):
                assert part in node, key
                node = node[part]
            assert not isinstance(node, CfgNode), key

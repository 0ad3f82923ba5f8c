import re
from pathlib import Path

import pytest
from detectron2.config import CfgNode, get_cfg

from person_search.config import add_person_search_config

PACKAGES = Path(__file__).resolve().parent.parent


def test_no_key_of_detectron2_changes():
    plain, ours = get_cfg(), get_cfg()
    add_person_search_config(ours)

    def flat(node, prefix=""):
        for key, value in node.items():
            if isinstance(value, CfgNode):
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield prefix + key, value

    before, after = dict(flat(plain)), dict(flat(ours))
    assert {k: after[k] for k in before} == before
    added = set(after) - set(before)
    # Nodes of our own, and single keys where detectron2's users look for them.
    nodes = ("MODEL.REID_HEAD.", "MODEL.PERSON_SEARCH.", "TEST.SEARCH.")
    nodes += ("MODEL.CROP_REID.", "MODEL.SLIM_RESNET.", "DATALOADER.FRAMES.")
    single = {"SOLVER.OPTIMIZER", "SOLVER.EMA_DECAY", "INPUT.COLOR_JITTER", "INPUT.RESIZE"}
    single |= {"DATASETS.COCO_PERSON"}
    assert {key for key in added if not key.startswith(nodes)} <= single


def test_the_global_default_stays_clean():
    """Our keys must never get into detectron2's own defaults."""
    add_person_search_config(get_cfg())
    assert "PERSON_SEARCH" not in get_cfg().MODEL
    first, second = get_cfg(), get_cfg()
    add_person_search_config(first)
    add_person_search_config(second)
    first.MODEL.REID_HEAD.OIM.QUEUE_SIZE = 1
    assert second.MODEL.REID_HEAD.OIM.QUEUE_SIZE == 5000


@pytest.mark.parametrize("path", ["person_search/config.py", "reid_heads/config.py"])
def test_every_key_has_a_comment(path):
    lines = (PACKAGES / path).read_text().splitlines()
    is_key = [re.match(r"    (cfg\.)?\w+\.[A-Z_0-9]+ = ", line) is not None for line in lines]
    assert sum(is_key) >= 5
    for number, line in enumerate(lines):
        if is_key[number]:
            previous = lines[number - 1].lstrip()
            # Keys in a row share the comment above the first.
            assert previous.startswith("#") or is_key[number - 1], line

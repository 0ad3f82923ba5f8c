"""What the guide of modalities and domains names is there."""

import re
from pathlib import Path

from detectron2.config import CfgNode

from person_search.synthetic.presets import ALL_PRESETS
from reid_heads.config import load_config
from reid_heads.data.catalog import CROP_DATASETS

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "docs/modalities_and_domains.md").read_text(encoding="utf-8")


def has_key(cfg: CfgNode, key: str) -> bool:
    for part in key.split("."):
        if part == "*":
            return isinstance(cfg, CfgNode)
        if not isinstance(cfg, CfgNode) or part not in cfg:
            return False
        cfg = cfg[part]
    return True


def test_keys_exist():
    cfg, prefix, seen = load_config(""), "", 0
    for key in re.findall(r"`([A-Z…][\w.…]*\.[A-Z][A-Z_.*]*)", GUIDE):
        if key.startswith("…."):
            key = f"{prefix}.{key[2:]}"
        else:
            prefix = key.rsplit(".", 1)[0]
        assert has_key(cfg, key), key
        seen += 1
    assert seen > 15


def test_files_and_configs_exist():
    linked = re.findall(r"\]\(((?!http)[^)#]+)\)", GUIDE)
    assert {"modalities.jpg", "domains.jpg"} <= set(linked)
    missing = [name for name in linked if not (ROOT / "docs" / name).exists()]
    missing += [n for n in re.findall(r"configs/[\w/]+\.yaml", GUIDE) if not (ROOT / n).exists()]
    folder = ROOT / "configs/domain_generalization"
    for name in re.findall(r"`((?:leave_out|small)_[\w<>]+\.yaml)`", GUIDE):
        if not (folder / name.replace("<set>", "market1501")).exists():
            missing.append(name)
    assert not missing


def test_data_sets_exist():
    for name in re.findall(r"--set ([\w-]+)(?:\s|$)", GUIDE):
        assert name in ALL_PRESETS or name == "drawn-"
    for name in [*re.findall(r"--dataset\s+(\w+)", GUIDE), "regdb_1", "viper", "cuhk02"]:
        assert name in CROP_DATASETS


def test_nothing_is_left_to_fill_in():
    assert "META_COST" not in GUIDE

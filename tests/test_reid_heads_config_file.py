from pathlib import Path

import pytest

from reid_heads.config import add_reid_head_config
from reid_heads.config_file import find_config, read_config

NAME = "configs/market1501/osnet_x0_25.yaml"


def test_this_projects_configs_are_found_from_any_folder(tmp_path, monkeypatch):
    """An imported network names its config, wherever the command was called."""
    monkeypatch.chdir(tmp_path)
    found = Path(find_config(NAME))
    assert found.is_file() and found.parts[-3:] == Path(NAME).parts
    own = tmp_path / NAME
    own.parent.mkdir(parents=True)
    own.write_text("VERSION: 2\n")
    assert find_config(NAME) == NAME
    with pytest.raises(FileNotFoundError, match=r"configs/market1501/no\.yaml"):
        find_config("configs/market1501/no.yaml")


def test_a_group_of_keys_is_no_key():
    """The error was the whole group's content, a hundred lines."""
    with pytest.raises(
        ValueError, match=r"^MODEL\.REID_HEAD is a group of keys; set one in it, su"
    ):
        read_config("", ["MODEL.REID_HEAD", "x"], add_reid_head_config)

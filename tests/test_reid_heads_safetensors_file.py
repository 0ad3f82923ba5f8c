"""Weights as safetensors: what goes in comes out, and nothing else is read."""

import os

import pytest
import torch
from conftest import assert_same

from reid_heads.importers.checkpoint_file import read_checkpoint
from reid_heads.safetensors_file import read_metadata, read_safetensors, write_safetensors


class Code:
    """A pickle of it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_tensors_and_what_the_file_says_come_back(tmp_path):
    state = {
        "a.weight": torch.arange(6.0).reshape(2, 3).T,
        "a.num_batches_tracked": torch.tensor(7),
        "half": torch.tensor([1.5, -2.0]).half(),
    }
    path = tmp_path / "deep" / "x.safetensors"
    write_safetensors(path, state, {"who": "me"})
    assert_same(read_safetensors(path), state | {"a.weight": state["a.weight"].contiguous()})
    assert read_metadata(path) == {"format": "pt", "who": "me"}
    assert [file.name for file in path.parent.iterdir()] == ["x.safetensors"]
    assert read_checkpoint(path).state["half"].dtype == torch.float32


def test_what_is_no_such_file_is_named(tmp_path):
    path, whole = tmp_path / "x.safetensors", tmp_path / "whole.safetensors"
    with pytest.raises(FileNotFoundError, match=r"no file .*x\.safetensors"):
        read_safetensors(path)
    write_safetensors(whole, {"a": torch.zeros(100)}, {})
    for content in (b"", whole.read_bytes()[:-1], b"<html>"):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=rf"x\.safetensors is no .*{len(content)} bytes.*again"
        ):
            read_safetensors(path)


def test_a_pickle_under_the_name_of_weights_is_not_run(tmp_path):
    path, made = tmp_path / "x.safetensors", tmp_path / "made"
    torch.save({"model": Code(made)}, path)
    with pytest.raises(ValueError, match="is no safetensors file"):
        read_checkpoint(path)
    assert not made.exists()

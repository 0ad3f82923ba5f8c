import pickle
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from reid_heads.importers.checkpoint_file import read_checkpoint
from reid_heads.importers.first_bytes import check_checkpoint

WEIGHTS = {"conv1.weight": torch.ones(2, 3), "bn1.num_batches_tracked": torch.tensor(7)}


class OwnNetwork(nn.Linear):
    """A class that whoever reads the file would have to import."""


def save(path, content, **options):
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("wrap", [dict, lambda w: {"model": w}, lambda w: {"state_dict": w}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_are_found_where_they_lie(tmp_path, wrap, prefix):
    weights = {prefix + name: value for name, value in WEIGHTS.items()}
    read = read_checkpoint(save(tmp_path / "a.pth", wrap(weights)))
    assert {name: value.tolist() for name, value in read.state.items()} == {
        name: value.tolist() for name, value in WEIGHTS.items()
    }


@pytest.mark.parametrize("is_zip", [True, False])
def test_what_only_training_needs_is_passed_over_by_name(tmp_path, is_zip):
    content = {
        "state_dict": {"module.a": torch.ones(2, dtype=torch.float16)},
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        "rank1": np.float32(0.9),
        "epoch": 60,
    }
    path = save(tmp_path / "a.pth", content, _use_new_zipfile_serialization=is_zip)
    read = read_checkpoint(path)
    assert read.state["a"].dtype == torch.float32
    assert set(read.passed_over) == {"optimizer", "rank1", "epoch"}


@pytest.mark.parametrize("is_zip", [True, False])
def test_code_in_a_file_is_named_and_not_run(tmp_path, is_zip):
    path = save(tmp_path / "a.pth", OwnNetwork(2, 2), _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ValueError, match=r"would run code of .*OwnNetwork.*state_dict"):
        read_checkpoint(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_part_of_a_file_is_refused(tmp_path, share, is_zip):
    path = save(tmp_path / "a.pth", {"a": torch.ones(999)}, _use_new_zipfile_serialization=is_zip)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    what = r"not a checkpoint .*part of one \(\d+ bytes" if share else "empty, 0 bytes; expected"
    with pytest.raises(ValueError, match=rf"a\.pth is {what}"):
        read_checkpoint(path)


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "a.pth").write_text("<html>404</html>")
    (tmp_path / "b.pth").write_bytes(pickle.dumps({"model": {}}, protocol=2))
    for name in ("a.pth", "b.pth"):
        with pytest.raises(ValueError, match="not a checkpoint of PyTorch"):
            read_checkpoint(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*c\.pth"):
        read_checkpoint(tmp_path / "c.pth")


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "begins as a JPEG picture"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\x90\x01" + bytes(6) + b'{"a":', "safetensors: give it a name"),
        (b"anything", "begins with b'anything'"),
    ],
)
def test_what_the_first_bytes_tell_is_said(tmp_path, start, kind):
    (tmp_path / "a.pth").write_bytes(start)
    with pytest.raises(ValueError, match=rf"not a checkpoint of PyTorch \(\d+ bytes\).*{kind}"):
        check_checkpoint(tmp_path / "a.pth")


def test_an_archive_with_the_checkpoint_in_it_is_to_be_unpacked(tmp_path):
    """Drives hand out folders so; it was said to be no checkpoint, or only a part of one."""
    path = tmp_path / "seqnet.pth"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("config.yaml", "epoch_19.pth", *"abcde"):
            archive.writestr(f"exp_cuhk/{name}", "x")
    said = (
        r"zip archive of exp_cuhk/config\.yaml, exp_cuhk/epoch_19\.pth, .* and 2 more, .*: unpack"
    )
    with pytest.raises(ValueError, match=said):
        check_checkpoint(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("is_zip", [True, False])
def test_damage_anywhere_is_named(tmp_path, is_zip):
    """PyTorch and zipfile raise errors of many kinds, none of which may end the program."""
    path = save(tmp_path / "a", WEIGHTS, _use_new_zipfile_serialization=is_zip)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 31):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            read_checkpoint(path)
        except ValueError:
            refused += 1
    assert refused


@pytest.mark.parametrize("is_zip", [True, False])
def test_what_torch_save_writes_begins_as_a_checkpoint(tmp_path, is_zip):
    check_checkpoint(save(tmp_path / "a", WEIGHTS, _use_new_zipfile_serialization=is_zip))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state": {}, "param_groups": []}, "only the state of an optimizer"),
        ({"optimizer": {"state": {}, "param_groups": []}, "epoch": 1}, "only the state of an opt"),
        ({}, "only an empty dictionary; expected"),
        ({"model": {}}, "only an empty dictionary in their place"),
        ({"model": {}, "optimizer": {"state": {}, "param_groups": []}}, "only the state of an opt"),
        ({"epoch": 3}, "only epoch"),
        ([torch.ones(2)], "holds a list"),
        (torch.ones(2), "holds a Tensor"),
        ({"a": torch.ones(2), "b": torch.tensor([1.0, float("nan")])}, "NaN or infinite: b;"),
    ],
)
def test_files_without_usable_weights_are_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_checkpoint(save(tmp_path / "a.pth", content))

"""What stands in files of weights is never run, and broken ones are told from whole ones."""

import logging
import os
import pickle
import resource

import numpy as np
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer

from reid_heads.importers.checkpoint_file import read_checkpoint
from reid_heads.torch_file import DamagedFileError
from reid_heads.training.checkpoint import WeightCopyCheckpointer
from reid_heads.training.checkpoint_files import FileCheckpointer, find_damage, list_resumable
from reid_heads.trust import trusted_files


class Runs:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def make_net():
    torch.manual_seed(0)
    return torch.nn.Linear(20, 30)


@pytest.fixture
def checkpointer(tmp_path):
    return FileCheckpointer(make_net(), str(tmp_path))


def save_three(checkpointer):
    for iteration in (9, 19, 29):
        checkpointer.save(f"model_{iteration:07d}", iteration=iteration)


def last(folder):
    return (folder / "last_checkpoint").read_text()


def break_file(file, how):
    content = bytearray(file.read_bytes())
    if how == "flipped":
        content[content.index(make_net().weight.detach().numpy().tobytes()) + 7] ^= 8
    file.write_bytes({"flipped": content, "cut off": content[:-300], "empty": b""}[how])


def test_a_pickle_of_the_model_zoo_loads_as_in_detectron2(tmp_path, checkpointer):
    weights = {name: value.numpy() + 1 for name, value in make_net().state_dict().items()}
    content = {"model": weights, "__author__": "someone", "matching_heuristics": True}
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps(content, 2))
    DetectionCheckpointer(plain := make_net()).load(str(tmp_path / "R-50.pkl"))
    checkpointer.load(str(tmp_path / "R-50.pkl"))
    for name, value in plain.state_dict().items():
        assert torch.equal(checkpointer.model.state_dict()[name], value)
        assert np.array_equal(value.numpy(), weights[name])


def test_only_a_trusted_pickle_runs(tmp_path, checkpointer):
    marker, file = tmp_path / "was_run", tmp_path / "foreign.pkl"
    weights = {name: value.numpy() for name, value in make_net().state_dict().items()}
    content = {"model": weights, "__author__": Runs(marker), "matching_heuristics": True}
    file.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"foreign\.pkl .*code of .*mkdir.*--trust-this-file"):
        checkpointer.load(str(file))
    assert not marker.exists()
    with trusted_files():
        FileCheckpointer(make_net()).load(str(file))
    assert marker.exists()


@pytest.mark.parametrize("suffix", [".pth", ".pyth"])
def test_code_in_other_checkpoints_is_not_run(tmp_path, checkpointer, monkeypatch, suffix):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    marker, file = tmp_path / "was_run", tmp_path / f"foreign{suffix}"
    torch.save({"model": Runs(marker), "model_state": Runs(marker)}, file)
    with pytest.raises(pickle.UnpicklingError, match="mkdir"):
        checkpointer.load(str(file))
    assert not marker.exists()


def test_the_best_is_never_the_last(tmp_path, checkpointer):
    checkpointer.save("model_0000009", iteration=9)
    checkpointer.save("model_best", iteration=9)
    assert last(tmp_path) == "model_0000009.pth" and (tmp_path / "model_best.pth").is_file()


@pytest.mark.parametrize("how", ["flipped", "cut off", "empty"])
def test_training_goes_on_from_the_one_before_a_broken_checkpoint(
    tmp_path, checkpointer, how, caplog
):
    save_three(checkpointer)
    break_file(tmp_path / "model_0000029.pth", how)
    half = tmp_path / ".model_0000039.pth.person-search-9-0123abcd.part"
    half.write_bytes(b"half")
    with caplog.at_level(logging.WARNING):
        assert checkpointer.resume_or_load("", resume=True)["iteration"] == 19
    said = {"flipped": "is damaged: the checksum", "cut off": "is cut off", "empty": "is cut off"}
    assert said[how] in caplog.text and "model_0000029.pth" in caplog.text
    assert "going on from" in caplog.text and "model_0000019.pth, the one before" in caplog.text
    assert not half.exists()


def test_a_broken_file_of_divided_classes_breaks_its_checkpoint(tmp_path, checkpointer):
    save_three(checkpointer)
    torch.save({"x": torch.ones(9)}, tmp_path / "divided_0000029_1_of_2.pth")
    assert checkpointer.resume_or_load("", resume=True)["iteration"] == 29
    (tmp_path / "divided_0000029_1_of_2.pth").write_bytes(b"")
    assert checkpointer.resume_or_load("", resume=True)["iteration"] == 19


def test_without_a_whole_checkpoint_each_is_named(tmp_path, checkpointer):
    save_three(checkpointer)
    for file in tmp_path.glob("model_*.pth"):
        break_file(file, "flipped")
    with pytest.raises(DamagedFileError, match=r"0000029.*0000019.*0000009.*without --resume"):
        checkpointer.resume_or_load("", resume=True)
    with pytest.raises(DamagedFileError, match="is damaged"):
        checkpointer.load(str(tmp_path / "model_0000009.pth"))


def test_loading_a_damaged_checkpoint_is_an_error_of_every_loader(tmp_path, checkpointer):
    checkpointer.save("model_final")
    file = str(tmp_path / "model_final.pth")
    break_file(tmp_path / "model_final.pth", "flipped")
    for load in (WeightCopyCheckpointer(make_net()).load_whole_model, read_checkpoint):
        with pytest.raises(DamagedFileError, match=r"model_final\.pth is damaged"):
            load(file)


def test_a_final_checkpoint_that_was_not_reached_is_written(tmp_path, checkpointer):
    save_three(checkpointer)
    checkpointer.complete_final(39)
    assert not (tmp_path / "model_final.pth").exists(), "there is no checkpoint of its iteration"
    for content in (None, b"cut off"):
        if content:
            (tmp_path / "model_final.pth").write_bytes(content)
        checkpointer.complete_final(29)
        assert last(tmp_path) == "model_final.pth"
        assert checkpointer.resume_or_load("", resume=True)["iteration"] == 29
        assert not find_damage(tmp_path / "model_final.pth")


def test_a_name_that_leads_nowhere_is_passed_over(tmp_path, checkpointer):
    """After a power cut it may be empty."""
    save_three(checkpointer)
    for text in ("", "gone.pth"):
        (tmp_path / "last_checkpoint").write_text(text)
        assert checkpointer.resume_or_load("", resume=True)["iteration"] == 29


def test_later_ones_than_the_last_are_not_taken(tmp_path, checkpointer):
    """Somebody went back on purpose."""
    save_three(checkpointer)
    named = list_resumable(tmp_path / "model_0000019.pth")
    assert [file.name for file in named] == ["model_0000019.pth", "model_0000009.pth"]
    named = list_resumable(tmp_path / "model_final.pth")
    assert [file.name[6:13] for file in named] == ["final.p", "0000029", "0000019", "0000009"]


def test_a_full_disk_keeps_the_checkpoints_before(tmp_path, checkpointer):
    checkpointer.save("model_0000009", iteration=9)
    before, limits = os.listdir(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"model_0000019\.pth could not be written .*--resume"):
            checkpointer.save("model_0000019", iteration=19)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(os.listdir(tmp_path)) == sorted(before) and last(tmp_path) == "model_0000009.pth"
    assert checkpointer.resume_or_load("", resume=True)["iteration"] == 9

import os
import zipfile

import pytest
import torch

from reid_heads.torch_file import DamagedFileError, check_sums, load_torch_file
from reid_heads.trust import trusted_files

STATE = {"model": {"weight": torch.arange(600.0)}, "iteration": 3}


@pytest.fixture
def file(tmp_path):
    torch.save(STATE, tmp_path / "model.pth")
    return tmp_path / "model.pth"


def flip(file, place):
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def test_a_flipped_bit_in_a_tensor_is_noticed(file):
    """PyTorch reads such a file without a word."""
    flip(file, file.read_bytes().index(STATE["model"]["weight"].numpy().tobytes()) + 100)
    changed = torch.load(file, weights_only=True)["model"]["weight"]
    assert (changed != STATE["model"]["weight"]).sum() == 1
    with pytest.raises(DamagedFileError, match=r"model\.pth is damaged: the checksum of .*data/0"):
        load_torch_file(file)


def test_a_flipped_bit_anywhere_is_noticed_or_changes_nothing(file):
    whole = file.read_bytes()
    harmless = 0
    for place in range(0, len(whole), 101):
        flip(file, place)
        try:
            found = load_torch_file(file)
        # PyTorch's errors of what is no archive at all are of many kinds.
        except Exception:
            found = None
        if found is not None:
            assert found["iteration"] == 3
            assert torch.equal(found["model"]["weight"], STATE["model"]["weight"]), place
            harmless += 1
        file.write_bytes(whole)
    # Fillers between the parts.
    assert 0 < harmless < len(whole) / 101 / 2


def test_files_without_checksums_pass(file):
    torch.save(STATE, file, _use_new_zipfile_serialization=False)
    check_sums(file)
    assert load_torch_file(file)["iteration"] == 3
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(STATE, file)
    finally:
        torch.serialization.set_crc32_options(True)
    assert load_torch_file(file)["iteration"] == 3


class Runs:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_only_a_trusted_file_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    marker = tmp_path / "was_run"
    torch.save({"model": Runs(str(marker))}, tmp_path / "foreign.pth")
    with pytest.raises(Exception, match="mkdir"):
        load_torch_file(tmp_path / "foreign.pth")
    assert not marker.exists()
    with trusted_files():
        load_torch_file(tmp_path / "foreign.pth")
    assert marker.exists()


@pytest.mark.parametrize("crc", [True, False])
def test_a_file_that_is_packed_is_refused_before_it_is_unpacked(tmp_path, crc):
    """Zeros are packed a thousandfold: ten megabytes would be read as ten gigabytes."""
    torch.save({"a": torch.zeros(100_000)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name) if crc else b"")
    assert (tmp_path / "bomb.pth").stat().st_size < 5_000
    with pytest.raises(DamagedFileError, match="is packed"):
        load_torch_file(tmp_path / "bomb.pth")

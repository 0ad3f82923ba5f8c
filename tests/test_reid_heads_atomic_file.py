import errno
import json
import os

import numpy as np
import pytest

from reid_heads.atomic_file import (
    atomic_file,
    naming_full_disk,
    new_folder,
    save_arrays,
    save_json,
)


def test_a_file_is_written_with_its_folder(tmp_path):
    path = tmp_path / "deep/er/results.json"
    save_json(path, {"mAP": 12.5})
    assert json.loads(path.read_text()) == {"mAP": 12.5}
    assert path.stat().st_mode & 0o777 == 0o644


def test_arrays_come_back(tmp_path):
    save_arrays(tmp_path / "a.npz", {"rows": np.arange(3), "names": np.array(["x"])})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert archive["rows"].tolist() == [0, 1, 2] and archive["names"].tolist() == ["x"]


def test_an_error_keeps_what_was_there_and_leaves_nothing_else(tmp_path):
    """A disk that fills up half-way must not cost the results of yesterday."""
    path = tmp_path / "results.json"
    save_json(path, {"mAP": 1.0})
    with pytest.raises(OSError, match="disk"), atomic_file(path) as file:
        file.write(b"half a resu")
        raise OSError("no space left on the disk")
    assert json.loads(path.read_text()) == {"mAP": 1.0}
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_a_folder_is_new_and_whole(tmp_path):
    path = tmp_path / "deep" / "faces"
    with pytest.raises(OSError, match="disk"), new_folder(path) as folder:
        (folder / "half").write_text("half")
        raise OSError("no space left on the disk")
    assert list((tmp_path / "deep").iterdir()) == []
    with new_folder(path) as folder:
        (folder / "whole").write_text("whole")
        assert not path.exists()
    assert (path / "whole").read_text() == "whole" and path.stat().st_mode & 0o777 == 0o755
    with pytest.raises(FileExistsError, match="faces is there already"), new_folder(path):
        pass
    (tmp_path / "empty").mkdir()
    with new_folder(tmp_path / "empty") as folder:
        (folder / "whole").write_text("whole")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["deep", "empty"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EACCES])
def test_a_full_disk_is_named_with_the_file(tmp_path, number):
    path = tmp_path / "a.json"
    expected = os.strerror(number)
    if number != errno.EACCES:
        expected = f"^{path} cannot be written: {expected}; nothing of it stays"
    with pytest.raises(OSError, match=expected), naming_full_disk(path), atomic_file(path) as file:
        file.write(b"some")
        raise OSError(number, os.strerror(number))
    assert list(tmp_path.iterdir()) == []

"""SYSU-MM01's permutation file, read and compared with a gallery."""

import numpy as np
import pytest
import scipy.io
from helpers_cross_modality import write_permutations
from helpers_mat_hdf5 import save_as_hdf5

from reid_heads.sysu_protocol import check_permutations, read_permutations


def test_one_trial_of_one_image_and_one_person(tmp_path):
    """MATLAB's singleton dimensions say which is which."""
    write_permutations(tmp_path / "one.mat", {(1, 1): 1, (3, 1): 2}, trials=1)
    shapes = {key: p.shape for key, p in read_permutations(tmp_path / "one.mat").items()}
    assert shapes == {(1, 1): (1, 1), (3, 1): (1, 2)}
    write_permutations(tmp_path / "ten.mat", {(1, 1): 1})
    assert read_permutations(tmp_path / "ten.mat")[1, 1].shape == (10, 1)


def cell(value, people=5):
    cells = np.empty((people, 1), dtype=object)
    for row in range(people):
        cells[row, 0] = np.zeros((10, 0), dtype=np.uint8)
    cells[1, 0] = np.array(value)
    return cells


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        (cell([[1, 1]] * 10), "camera 2, identity 2: expected a permutation"),
        (cell([[0, 1]] * 10), "camera 2, identity 2: expected a permutation"),
        (cell([["a", "b"]] * 10), "camera 2, identity 2: expected a permutation"),
        (cell([[1, 2]] * 9), r"same number of trials .*\[9, 10\]"),
    ],
)
def test_broken_permutations_are_named(tmp_path, camera, message):
    write_permutations(tmp_path / "rand_perm_cam.mat", cam2=camera)
    with pytest.raises(ValueError, match=f"rand_perm_cam.mat: .*{message}"):
        read_permutations(tmp_path / "rand_perm_cam.mat")


def test_files_that_are_no_permutations(tmp_path):
    path = tmp_path / "rand_perm_cam.mat"
    scipy.io.savemat(path, {"rand_perm_cam": np.arange(6)})
    with pytest.raises(ValueError, match="expected 6 cells"):
        read_permutations(path)
    cells = np.empty((5, 1), dtype=object)
    cells[:, 0] = [np.zeros((0, 0))] * 5
    scipy.io.savemat(path, {"rand_perm_cam": cells})
    with pytest.raises(ValueError, match=r"expected 6 cells .*, got 5"):
        read_permutations(path)
    scipy.io.savemat(path, {"id": 1})
    with pytest.raises(ValueError, match="no variable 'rand_perm_cam'"):
        read_permutations(path)
    save_as_hdf5(path)
    with pytest.raises(ValueError, match=r"of version 7\.3; .*save it in MATLAB with -v7"):
        read_permutations(path)
    path.write_bytes(b"nonsense" * 40)
    with pytest.raises(ValueError, match="cannot be read as a MATLAB file"):
        read_permutations(path)
    with pytest.raises(FileNotFoundError, match="is missing"):
        read_permutations(tmp_path / "gone.mat")


def test_check_looks_at_each_person_of_the_gallery_in_each_visible_camera():
    permutations = {key: np.zeros((10, n), int) for key, n in {(1, 1): 2, (4, 1): 1}.items()}
    pids, cam_ids = np.array([1, 1, 1]), np.array([1, 4, 1])
    check_permutations(permutations, pids, cam_ids)
    # Persons and cameras of nobody in the gallery do not matter.
    check_permutations({**permutations, (2, 7): np.ones((10, 3), int)}, pids, cam_ids)
    check_permutations({**permutations, (3, 1): np.ones((10, 3), int)}, pids, cam_ids)
    for other, message in (
        ({(5, 1): np.ones((10, 3), int)}, "3 images of identity 1 in camera 5, but the gallery 0"),
        ({(1, 1): np.ones((10, 3), int)}, "3 images of identity 1 in camera 1, but the gallery 2"),
    ):
        with pytest.raises(ValueError, match=message):
            check_permutations(permutations | other, pids, cam_ids)

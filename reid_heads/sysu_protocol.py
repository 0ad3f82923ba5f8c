"""What the loader and the scorer of SYSU-MM01 (Wu et al., ICCV 2017) share: cameras and draws.

Six cameras: 1, 2, 4 and 5 see visible light, 3 and 6 infrared. Cameras 2 and 3 stand in the same
room. The authors' ``rand_perm_cam.mat`` fixes which images each trial's gallery holds.

Letters: G gallery crops, T trials, N images of one person in one camera.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np

VISIBLE_CAMERAS = (1, 2, 4, 5)

INFRARED_CAMERAS = (3, 6)

SEARCH_MODES = {"all": VISIBLE_CAMERAS, "indoor": (1, 2)}
"""The cameras of the gallery in each mode; the probes are those of cameras 3 and 6 in both."""

Permutations = Mapping[tuple[int, int], np.ndarray]
"""Camera and person to (T, N) int64: in each trial the order, counted from 0, in which the person's
images of that camera, sorted by name, enter the gallery. Where there are none, the key is
missing."""


def check_permutations(
    permutations: Permutations, gallery_pids: np.ndarray, gallery_cam_ids: np.ndarray
) -> None:
    """Compare the permutations with the images that there are.

    Persons of the permutations who are not in the gallery are passed over: the official file has
    the training persons too.

    Args:
        permutations: as read from the file.
        gallery_pids: (G,) integer, as numbered on disk.
        gallery_cam_ids: (G,) integer.

    Raises:
        ValueError: if a camera has another number of images of a person than the permutations;
            names the first one.
    """
    found = Counter(zip(gallery_cam_ids.tolist(), gallery_pids.tolist(), strict=True))
    people = sorted(set(gallery_pids.tolist()))
    for key in ((camera, person) for camera in VISIBLE_CAMERAS for person in people):
        expected = permutations[key].shape[1] if key in permutations else 0
        if found[key] != expected:
            raise ValueError(
                f"the permutation file has {expected} images of identity {key[1]} in camera "
                f"{key[0]}, but the gallery {found[key]}: use the file that came with these "
                f"images, and unpack them completely"
            )

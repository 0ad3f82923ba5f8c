"""Find wrongly labelled crops by their angle to the dominant sub-center of their identity.

Sub-center ArcFace (Deng et al., ECCV 2020; TPAMI 2022): trained with K weight vectors an identity,
one of them gathers most of its clean crops and the others what is labelled wrongly. Purification
keeps the crops near the dominant one, and a plain model is then trained from scratch on them.

Letters: N crops, K sub-centers of an identity, P identities, d size of a feature.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_heads.losses import CosineSoftmaxLoss, ReIDLosses

HISTOGRAM_DEGREES = 5
"""Width of a bin of the reported histogram of angles."""


@dataclass(frozen=True)
class Purification:
    """Which crops of a training set are kept, and why."""

    pids: np.ndarray
    """(N,) int64, the labels, 0..P-1."""
    angles: np.ndarray
    """(N,) float64, degrees to the dominant sub-center of the label, 0..180."""
    votes: np.ndarray
    """(N,) int64, the sub-center that is nearest to each crop, 0..K-1."""
    dominant: np.ndarray
    """(P,) int64, the dominant sub-center of each identity; -1 for one without crops."""
    kept: np.ndarray
    """(N,) bool."""
    emptied: np.ndarray
    """Identities (E,) int64, none of whose crops is near enough."""

    @property
    def new_pids(self) -> np.ndarray:
        """(N,) int64: the labels renumbered 0..P'-1 in their order, -1 for dropped crops."""
        new = np.full(len(self.pids), -1)
        new[self.kept] = np.unique(self.pids[self.kept], return_inverse=True)[1]
        return new


def purify(
    cosines: np.ndarray, pids: np.ndarray, angle: float = 75.0, keep_emptied: bool = False
) -> Purification:
    """Keep the crops within an angle of their identity's dominant sub-center.

    The dominant sub-center of an identity is the one that is nearest to most of its crops; of
    several with as many, the first. A crop that is nearest to another sub-center stays where it is
    near enough to the dominant one too, as in the authors' code; unlike there, one at the very
    angle stays ("drop above 75 degrees").

    Args:
        cosines: (N, K), of each crop to the sub-centers of its label.
        pids: (N,) int64, the labels.
        angle: in degrees, above 0 and at most 180. Published: 75, for faces.
        keep_emptied: whether an identity none of whose crops is near enough keeps all of them;
            otherwise it leaves the set, as in the authors' code.

    Raises:
        ValueError: for an angle out of range, without crops, or if fewer than two identities, which
            training needs, would be left.
    """
    if not 0 < angle <= 180:
        raise ValueError(f"the angle is {angle} degrees; expected 0 < angle <= 180 (--angle)")
    if not len(pids):
        raise ValueError("got no crops to purify; expected one at least")
    votes = cosines.argmax(axis=1)
    counts = np.zeros((pids.max() + 1, cosines.shape[1]), np.int64)
    np.add.at(counts, (pids, votes), 1)
    dominant = np.where(counts.any(axis=1), counts.argmax(axis=1), -1)
    to_dominant = np.take_along_axis(cosines, dominant[pids][:, None], axis=1)[:, 0]
    angles = np.degrees(np.arccos(np.clip(to_dominant.astype(np.float64), -1, 1)))
    kept = angles <= angle
    emptied = np.setdiff1d(pids, pids[kept])
    if keep_emptied:
        kept = kept | np.isin(pids, emptied)
    left = len(np.unique(pids[kept]))
    if left < 2:
        raise ValueError(
            f"within {angle} degrees of their dominant sub-centers only {left} of "
            f"{len(np.unique(pids))} identities keep a crop, and training needs two; use a larger "
            f"angle (the median is {np.median(angles):.1f} degrees), or check that the weights "
            "were trained on this set"
        )
    return Purification(pids, angles, votes, dominant, kept, emptied)


def find_classifier(losses: ReIDLosses) -> CosineSoftmaxLoss:
    """Return the softmax over cosines that a model was trained with.

    Raises:
        ValueError: if there is none, there are several, or it classifies several features, whose
            sub-centers do not belong together.
    """
    found = [x for x in losses.losses.values() if isinstance(x, CosineSoftmaxLoss)]
    if len(found) != 1 or len(found[0].weights) != 1:
        raise ValueError(
            f"purification needs one loss with one classifier over cosines, of {len(found)} such "
            f"losses here with {[len(x.weights) for x in found]}; train with "
            "MODEL.REID_HEAD.LOSSES.COSINE_SOFTMAX and a head with one feature to classify"
        )
    return found[0]


@torch.no_grad()
def measure_cosines(
    model: nn.Module, batches: Iterable[Sequence[Mapping[str, Any]]]
) -> tuple[np.ndarray, np.ndarray]:
    """Stream crops through a trained model once.

    The crop is embedded as at test but without its mirror image, and compared with the weight
    vectors of its own label only: N x K numbers are kept.

    Args:
        model: a ``CropReID``, which is put in evaluation mode.
        batches: of mapped crops; each has ``image`` and ``person_id``.

    Returns:
        The cosines (N, K) float32 and the labels (N,) int64, in the order of the crops.

    Raises:
        ValueError: see `find_classifier`; or for a label that the classifier does not know.
    """
    classifier = find_classifier(model.losses)
    model.eval()
    cosines, labels = [], []
    for batch in batches:
        pids = torch.tensor([crop["person_id"] for crop in batch], device=model.device)
        if int(pids.max()) >= classifier.num_identities:
            raise ValueError(
                f"got person id {int(pids.max())}, but the model was trained on "
                f"{classifier.num_identities} identities; purify the set that it was trained on"
            )
        (features,) = model.batch_features(batch).classified
        cosines.append(cosines_to_own_centers(classifier, features, pids).cpu().numpy())
        labels.append(pids.cpu().numpy())
    if not labels:
        raise ValueError("got no crops to purify; expected one at least")
    return np.concatenate(cosines), np.concatenate(labels)


def cosines_to_own_centers(classifier: CosineSoftmaxLoss, features: Tensor, pids: Tensor) -> Tensor:
    """Return the cosines (R, K) of features (R, d) to the sub-centers of their ids (R,)."""
    (weight,) = classifier.weights
    centers = F.normalize(weight).view(classifier.num_identities, classifier.sub_centers, -1)
    rows = F.normalize(features.to(weight.dtype))
    return torch.einsum("rd,rkd->rk", rows, centers[pids])

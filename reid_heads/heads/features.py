"""What a ReID head gives: one set of features to each kind of consumer.

Letters: R people, D embedding size, d size of one feature.
"""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class HeadFeatures(NamedTuple):
    """The features of R people that a head computed.

    Which feature a loss should see is the head's knowledge: BNNeck (Luo et al., CVPRW 2019) gives
    metric losses the feature before its BatchNorm and classifiers the one after it; MGN (Wang et
    al., ACM MM 2018) has three of the former and eight of the latter.
    """

    embeddings: Tensor
    """(R, D): what is compared by cosine at test; not normalised."""
    metric: tuple[Tensor, ...]
    """Each (R, d), not normalised: for triplet, center and attribute losses."""
    classified: tuple[Tensor, ...]
    """Each (R, d), not normalised: each one gets an identity classifier of its own."""
    person_logits: Tensor | None = None
    """(R,): how sure the head is that a row shows a person at all; None where it does not say."""

    @property
    def unit_embeddings(self) -> Tensor:
        """The embeddings (R, D) in float32, scaled to unit norm."""
        return F.normalize(self.embeddings.float())

    def select(self, rows: Tensor) -> "HeadFeatures":
        """Return the features of some people: ``rows`` is a mask (R,) or their numbers."""
        return HeadFeatures(
            embeddings=self.embeddings[rows],
            metric=tuple(x[rows] for x in self.metric),
            classified=tuple(x[rows] for x in self.classified),
            person_logits=None if self.person_logits is None else self.person_logits[rows],
        )

    def part(self, number: int) -> "HeadFeatures":
        """Return one metric feature and the classified one of the same place, to compare too."""
        rows = self.metric[number]
        return HeadFeatures(embeddings=rows, metric=(rows,), classified=(self.classified[number],))

"""Attribute classification beside the identities.

Letters: R rows, d size of a feature, A attribute groups.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from torch import Tensor, nn

from reid_heads.labels import UNKNOWN_ATTRIBUTE, UNLABELED_PID
from reid_heads.losses.labeled_rows import mean_over_rows
from reid_heads.losses.registry import Batch, HeadSizes, LossKind


class AttributeLoss(nn.Module):
    """Predict a person's attributes, each group by a linear classifier on the shared feature.

    A group is a set of classes that exclude each other, such as the colour of the trousers. The
    further discriminative task of Sabri et al., arXiv 2212.14107, 2022; its abstract says no more
    than that, so the form is our choice. The classifiers are part of the loss and take no part at
    test.

    Over several processes every rank must call ``forward``, with zero rows too: each group is
    divided by its known rows of all ranks.

    Examples:
        >>> loss = AttributeLoss(in_dim=8, num_classes=(2, 5))  # a hat or none; five colours
        >>> attributes = torch.tensor([[0, 4], [1, -1], [0, 2]])  # one colour is unknown
        >>> loss(torch.ones(3, 8), attributes).shape
        torch.Size([])
    """

    def __init__(self, in_dim: int, num_classes: Sequence[int]):
        """Make one classifier a group.

        Args:
            in_dim: d.
            num_classes: classes of each of the A groups, at least one group of at least one.

        Raises:
            ValueError: without groups or for an empty group.
        """
        super().__init__()
        if not num_classes or min(num_classes) < 1:
            raise ValueError(
                f"AttributeLoss got num_classes={tuple(num_classes)}; set "
                "MODEL.REID_HEAD.ATTRIBUTES.CLASSES to the number of classes of each group"
            )
        self.num_classes = tuple(num_classes)
        self.classifiers = nn.ModuleList()
        for count in num_classes:
            classifier = nn.Linear(in_dim, count)
            nn.init.normal_(classifier.weight, std=0.001)
            nn.init.zeros_(classifier.bias)
            self.classifiers.append(classifier)

    def forward(self, features: Tensor, attributes: Tensor) -> Tensor:
        """Return the mean over the groups of the mean cross-entropy over the known rows.

        Args:
            features: (R, d), any float type; computed in the classifiers' type.
            attributes: (R, A) int64, class numbers from 0, or -1 for unknown, which is ignored.

        Returns:
            Scalar. A group that is known of nobody adds zero, still connected.

        Raises:
            ValueError: for another shape or a class number out of range.
        """
        self._check(features, attributes)
        features = features.to(next(self.parameters()).dtype)
        with torch.autocast(features.device.type, enabled=False):
            totals = torch.stack(
                [
                    F.cross_entropy(
                        classifier(features),
                        classes,
                        reduction="sum",
                        ignore_index=UNKNOWN_ATTRIBUTE,
                    )
                    for classifier, classes in zip(self.classifiers, attributes.t(), strict=True)
                ]
            )
            known = (attributes != UNKNOWN_ATTRIBUTE).sum(dim=0)
            return mean_over_rows(totals, known).mean()

    def _check(self, features: Tensor, attributes: Tensor) -> None:
        expected = (len(features), len(self.num_classes))
        if attributes.shape != expected:
            raise ValueError(
                f"got attributes of shape {tuple(attributes.shape)}; expected {expected}: one row "
                "a person, one column for each group of MODEL.REID_HEAD.ATTRIBUTES.CLASSES"
            )
        limits = torch.tensor(self.num_classes, device=attributes.device)
        wrong = ((attributes < UNKNOWN_ATTRIBUTE) | (attributes >= limits)).any(dim=0)
        if bool(wrong.any()):
            group = int(wrong.nonzero()[0])
            classes = sorted(set(attributes[:, group].tolist()))
            raise ValueError(
                f"attribute group {group} has class numbers {classes}; expected 0.."
                f"{self.num_classes[group] - 1}, or {UNKNOWN_ATTRIBUTE} for unknown "
                "(MODEL.REID_HEAD.ATTRIBUTES.CLASSES)"
            )


def _add_keys(head: CfgNode) -> None:
    # Number of classes of each attribute group; the trainer checks it against the data.
    head.ATTRIBUTES = CfgNode({"CLASSES": ()})


def _build(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    return AttributeLoss(head.metric_dims[0], cfg.ATTRIBUTES.CLASSES)


def _apply(loss: nn.Module, batch: Batch) -> Tensor:
    if batch.attributes is None:
        raise ValueError(
            "MODEL.REID_HEAD.LOSSES.ATTRIBUTES is on, but the batch has no attributes; train on a "
            "data set with attributes, or set it to 0"
        )
    labeled = batch.pids != UNLABELED_PID
    result: Tensor = loss(batch.features.metric[0][labeled], batch.attributes[labeled])
    return result


ATTRIBUTES = LossKind("ATTRIBUTES", _build, _apply, _add_keys, needs=("attributes",))

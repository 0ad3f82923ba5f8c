"""The loss ENSEMBLE: several of the other losses as one.

Letter: K losses.
"""

from collections.abc import Sequence

from detectron2.config import CfgNode
from torch import Tensor, nn

from reid_heads.heads.balanced_sum import BalancedSum
from reid_heads.labels import UNLABELED_PID
from reid_heads.losses.ensemble import diversity_loss
from reid_heads.losses.registry import LOSS_KINDS, Batch, HeadSizes, LossKind, check_names


class NamedEnsemble(nn.Module):
    """The losses that ``MODEL.REID_HEAD.ENSEMBLE`` names, each on the features meant for it."""

    def __init__(
        self,
        members: dict[str, nn.Module],
        balanced_sum: BalancedSum,
        has_own_features: bool = False,
        diversity: float = 0.0,
    ):
        """Keep the losses by name, and the sum of as many.

        Args:
            members: K losses.
            balanced_sum: of K losses; may be another module's too.
            has_own_features: whether each loss sees features of its own (WEDL) or all see the same
                (WEL).
            diversity: weight of the diversity term between the losses' own features.

        Raises:
            ValueError: if the diversity is negative, or above 0 without own features of two losses.
        """
        super().__init__()
        if diversity < 0 or (diversity > 0 and (not has_own_features or len(members) < 2)):
            raise ValueError(
                f"MODEL.REID_HEAD.ENSEMBLE.DIVERSITY is {diversity}; it is 0 or more, and needs "
                "two MEMBERS and MODEL.REID_HEAD.NAME EnsembleHead"
            )
        self.members = nn.ModuleDict(members)
        self.sum = balanced_sum
        self.has_own_features = has_own_features
        self.diversity = diversity

    def forward(self, losses: Sequence[Tensor], embeddings: Sequence[Tensor]) -> Tensor:
        """Return the balanced sum, and the diversity term where it is on.

        Args:
            losses: K scalars, in the order of ``members``.
            embeddings: the losses' own, each (R, D); looked at only for the diversity.
        """
        result: Tensor = self.sum(losses)
        if self.diversity > 0 and len(embeddings[0]):
            result = result + self.diversity * diversity_loss([x.float() for x in embeddings])
        return result


def _add_keys(head: CfgNode) -> None:
    ensemble = head.ENSEMBLE = CfgNode()
    # Names of the losses above that ENSEMBLE joins; their own weights stay 0. With NAME
    # EnsembleHead each has an embedding of its own, with other heads all see what they would alone.
    ensemble.MEMBERS = ()
    # Relative weights at the start, one each; (): equal ones.
    ensemble.PRIOR = ()
    # Factor eta of the penalty (sum of the weights - 1)^2. Published: 1e4, with Adam.
    ensemble.PENALTY = 1e4
    # EnsembleHead: weight of the term that pushes the losses' embeddings apart. Published: 0.01.
    ensemble.DIVERSITY = 0.0


def _build(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    settings = cfg.ENSEMBLE
    check_names(settings.MEMBERS)
    if "ENSEMBLE" in settings.MEMBERS or len(set(settings.MEMBERS)) < len(settings.MEMBERS):
        raise ValueError(
            f"MODEL.REID_HEAD.ENSEMBLE.MEMBERS is {settings.MEMBERS}; expected other losses, each "
            "once"
        )
    # A head with an embedding for each loss has the sum already: it compares by its weights.
    balanced = getattr(head, "balanced_sum", None)
    has_own = balanced is not None
    if has_own and cfg.INTRA_CLASS.COPIES > 0:
        raise ValueError(
            "MODEL.REID_HEAD.INTRA_CLASS.COPIES is above 0 with MODEL.REID_HEAD.NAME EnsembleHead, "
            "whose losses have features of their own; set COPIES to 0 or take another head"
        )
    members = {
        name: LOSS_KINDS[name].build(cfg, _PartSizes(head, number) if has_own else head)
        for number, name in enumerate(settings.MEMBERS)
    }
    if balanced is None:
        balanced = BalancedSum(len(members), settings.PRIOR, penalty=settings.PENALTY)
    return NamedEnsemble(members, balanced, has_own, settings.DIVERSITY)


class _PartSizes:
    """The sizes of one of a head's features, as if it were the only one; see HeadSizes."""

    def __init__(self, head: HeadSizes, number: int):
        self.embedding_dim = head.metric_dims[number]
        self.metric_dims: tuple[int, ...] = (head.metric_dims[number],)
        self.classified_dims: tuple[int, ...] = (head.classified_dims[number],)


def _apply(loss: nn.Module, batch: Batch) -> Tensor:
    assert isinstance(loss, NamedEnsemble)
    features = batch.features
    losses = []
    for number, (name, member) in enumerate(loss.members.items()):
        own = features.part(number) if loss.has_own_features else features
        losses.append(LOSS_KINDS[name].apply(member, batch._replace(features=own)))
    labeled = batch.pids != UNLABELED_PID
    result: Tensor = loss(losses, [x[labeled] for x in features.metric])
    return result


ENSEMBLE = LossKind("ENSEMBLE", _build, _apply, _add_keys)

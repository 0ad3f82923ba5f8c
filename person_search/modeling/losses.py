"""Identity losses chosen by name from the config."""

from collections.abc import Callable

from detectron2.config import CfgNode
from torch import Tensor, nn

from reid_heads.losses import OIMLoss


def _build_oim(cfg: CfgNode) -> nn.Module:
    head = cfg.MODEL.REID_HEAD
    return OIMLoss(
        num_identities=head.NUM_IDENTITIES,
        embedding_dim=head.EMBEDDING_DIM,
        queue_size=head.OIM.QUEUE_SIZE,
        scale=head.OIM.SCALE,
        momentum=head.OIM.MOMENTUM,
    )


_BUILDERS: dict[str, Callable[[CfgNode], nn.Module]] = {"OIM": _build_oim}


class IdentityLosses(nn.Module):
    """A weighted set of losses on the same embeddings, as ``MODEL.REID_HEAD.LOSSES`` says."""

    def __init__(self, losses: dict[str, nn.Module], weights: dict[str, float]):
        """Keep the losses with a weight other than 0."""
        super().__init__()
        self.losses = nn.ModuleDict({name: losses[name] for name in losses if weights[name] != 0})
        self.weights = dict(weights)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "IdentityLosses":
        """Build the losses of a config.

        Raises:
            ValueError: for an unknown loss name.
        """
        weights = dict(cfg.MODEL.REID_HEAD.LOSSES)
        unknown = sorted(n for n, w in weights.items() if w != 0 and n not in _BUILDERS)
        if unknown:
            raise ValueError(
                f"MODEL.REID_HEAD.LOSSES names {unknown}; known losses are {sorted(_BUILDERS)}"
            )
        # In the config's order: every process must hold the losses in the same one.
        active = [name for name, weight in weights.items() if weight != 0]
        return cls({name: _BUILDERS[name](cfg) for name in active}, weights)

    def forward(self, embeddings: Tensor, pids: Tensor) -> dict[str, Tensor]:
        """Return ``{"loss_reid_<name>": weighted loss}`` for embeddings (R, D) and pids (R,)."""
        return {
            f"loss_reid_{name.lower()}": self.weights[name] * loss(embeddings, pids)
            for name, loss in self.losses.items()
        }

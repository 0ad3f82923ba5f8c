"""Online instance matching: a memory of identities that embeddings are classified against.

Letters: R rows, D embedding size, P identities, K queue slots.
"""

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from torch import Tensor, nn

from reid_heads.distributed import gather_rows, mean_over_processes
from reid_heads.labels import UNLABELED_PID
from reid_heads.losses.registry import HeadSizes, LossKind


class OIMLoss(nn.Module):
    """Classify embeddings against a table of identities and a queue of unlabelled people.

    Online Instance Matching, Xiao et al., CVPR 2017, section 3.3 and equations 1-4: labelled rows
    are pulled towards their identity's row in the table and away from every other row and from the
    queue; unlabelled rows are negatives only. After the loss, each labelled row is blended into the
    table and each unlabelled one replaces the oldest of the queue.

    The state (table, queue, queue pointer) lives in buffers, so a checkpoint resumes exactly. Over
    several processes every rank must call ``forward``, with zero rows too: rows are gathered from
    all ranks before the update, so that the memories stay equal (detectron2 does not broadcast
    buffers), and the loss is divided by the rows of all ranks, so that averaged gradients equal
    those of one process with the joined batch.

    Two deliberate departures from the first implementation: the update happens after the loss in
    ``forward``, not inside ``backward``; and the queue pointer is a buffer.

    Examples:
        >>> loss = OIMLoss(num_identities=3, embedding_dim=4, queue_size=2)
        >>> embeddings = torch.eye(4)[:3].requires_grad_()
        >>> loss(embeddings, torch.tensor([0, 2, -1])).shape  # the last one has no known identity
        torch.Size([])
    """

    table: Tensor
    queue: Tensor
    queue_pointer: Tensor

    def __init__(
        self,
        num_identities: int,
        embedding_dim: int,
        queue_size: int,
        scale: float = 30.0,
        momentum: float = 0.5,
    ):
        """Make an empty memory.

        Args:
            num_identities: P, at least 1. Person ids are 0..P-1.
            embedding_dim: D.
            queue_size: K >= 0; the paper uses 5000 for CUHK-SYSU, SeqNet 500 for PRW.
            scale: inverse temperature of the softmax (paper: 10; SeqNet and later: 30).
            momentum: share of the old table row that is kept, in [0, 1).

        Raises:
            ValueError: if a value is out of its range.
        """
        super().__init__()
        if num_identities < 1 or queue_size < 0 or not 0 <= momentum < 1 or scale <= 0:
            raise ValueError(
                "OIMLoss got num_identities="
                f"{num_identities}, queue_size={queue_size}, momentum={momentum}, scale={scale}; "
                "expected num_identities >= 1, queue_size >= 0, 0 <= momentum < 1 and scale > 0"
            )
        self.scale = scale
        self.momentum = momentum
        self.register_buffer("table", torch.zeros(num_identities, embedding_dim))
        self.register_buffer("queue", torch.zeros(queue_size, embedding_dim))
        self.register_buffer("queue_pointer", torch.zeros((), dtype=torch.int64))

    def forward(
        self, embeddings: Tensor, pids: Tensor, logit_offsets: Tensor | None = None
    ) -> Tensor:
        """Return the loss, and update the memory when training.

        Args:
            embeddings: (R, D), unit norm, any float type; the loss is computed in float32.
            pids: (R,) int64, 0..P-1 or ``UNLABELED_PID``.
            logit_offsets: (P,) float32, added to the logits of the table's rows and not to the
                queue's; see ``LogitAdjustment``.

        Returns:
            Scalar float32. Without labelled rows it is zero but still connected to ``embeddings``.

        Raises:
            ValueError: for an id outside the table.
        """
        self._check_pids(pids)
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            loss = self._matching_loss(embeddings, pids, logit_offsets)
        if self.training:
            self._update(gather_rows(embeddings.detach()), gather_rows(pids))
        return loss

    def _check_pids(self, pids: Tensor) -> None:
        if pids.numel() == 0:
            return
        low, high = pids.min().item(), pids.max().item()
        if low < UNLABELED_PID or high >= len(self.table):
            raise ValueError(
                f"got person ids from {low} to {high}, but the identity memory holds "
                f"0..{len(self.table) - 1} and {UNLABELED_PID} for unlabelled people; set "
                "MODEL.REID_HEAD.NUM_IDENTITIES to the number of identities of the training set"
            )

    def _matching_loss(
        self, embeddings: Tensor, pids: Tensor, logit_offsets: Tensor | None
    ) -> Tensor:
        labeled = pids != UNLABELED_PID
        num_labeled = mean_over_processes(labeled.sum().float())
        rows = embeddings[labeled]
        if len(rows) == 0:
            return embeddings.sum() * 0.0
        # Equations 1 and 2 in one softmax: identities first, then the unlabelled people of the
        # queue. Concatenation copies: backward must see the memory as it was, and the update below
        # changes it in place.
        memory = torch.cat([self.table, self.queue])
        logits = self.scale * rows @ memory.t()
        if logit_offsets is not None:
            logits = logits + F.pad(logit_offsets, (0, len(self.queue)))
        return F.cross_entropy(logits, pids[labeled], reduction="sum") / num_labeled

    @torch.no_grad()
    def _update(self, embeddings: Tensor, pids: Tensor) -> None:
        labeled = pids != UNLABELED_PID
        self._blend_into_table(embeddings[labeled], pids[labeled])
        self._push_to_queue(embeddings[~labeled])

    def _blend_into_table(self, rows: Tensor, pids: Tensor) -> None:
        """Apply ``v <- normalize(m v + (1 - m) x)`` row by row, in rounds of distinct identities.

        Round n takes the n-th row of every identity: the same result as one row at a time, in as
        many steps as the most frequent identity has rows.
        """
        occurrence = occurrence_number(pids)
        for n in range(int(occurrence.max()) + 1 if len(pids) else 0):
            chosen = occurrence == n
            blended = self.momentum * self.table[pids[chosen]] + (1 - self.momentum) * rows[chosen]
            self.table[pids[chosen]] = F.normalize(blended)

    def _push_to_queue(self, rows: Tensor) -> None:
        size = len(self.queue)
        if size == 0:
            return
        total = len(rows)
        rows = rows[-size:]
        first = self.queue_pointer + (total - len(rows))
        slots = (first + torch.arange(len(rows), device=rows.device)) % size
        self.queue[slots] = rows
        self.queue_pointer.copy_((self.queue_pointer + total) % size)


def occurrence_number(values: Tensor) -> Tensor:
    """Return for each element how many equal ones come before it. Shape (R,) int64 in and out."""
    order = torch.argsort(values, stable=True)
    ordered = values[order]
    position = torch.arange(len(values), device=values.device)
    is_first = torch.ones_like(ordered, dtype=torch.bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    start = torch.cummax(torch.where(is_first, position, torch.zeros_like(position)), 0).values
    number = torch.empty_like(position)
    number[order] = position - start
    return number


def _add_keys(head: CfgNode) -> None:
    oim = head.OIM = CfgNode()
    # Slots for unlabelled people, used as negatives. Published: 5000 for CUHK-SYSU, 500 for PRW.
    oim.QUEUE_SIZE = 5000
    # Inverse temperature of the softmax.
    oim.SCALE = 30.0
    # Share of the old table row kept at an update, 0 <= momentum < 1.
    oim.MOMENTUM = 0.5


def _build(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    return OIMLoss(
        num_identities=cfg.NUM_IDENTITIES,
        embedding_dim=head.embedding_dim,
        queue_size=cfg.OIM.QUEUE_SIZE,
        scale=cfg.OIM.SCALE,
        momentum=cfg.OIM.MOMENTUM,
    )


OIM = LossKind(
    "OIM",
    _build,
    lambda loss, x: loss(x.features.unit_embeddings, x.pids, x.logit_offsets),
    _add_keys,
    also_reads=("LOGIT_ADJUSTMENT",),
    weight=1.0,
)

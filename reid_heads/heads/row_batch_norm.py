"""BatchNorm over rows that may be few.

Letters: R rows, D feature size.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class RowBatchNorm(nn.BatchNorm1d):
    """BatchNorm1d that takes its running statistics where a batch has none: fewer than two rows."""

    def forward(self, rows: Tensor) -> Tensor:
        """Normalise rows (R, D); R may be 0 or 1, in training too."""
        if self.training and len(rows) < 2:
            return F.batch_norm(
                rows,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                False,
                0.0,
                self.eps,
            )
        return super().forward(rows)

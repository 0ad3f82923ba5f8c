"""What the networks built on torchvision's Faster R-CNN have in common: names, orders of rows.

Theirs of a head's classes has background first, this project's, detectron2's, has it last; theirs
of a cell's anchors has all sizes of a ratio together, this project's all ratios of a size. Their
linear layers before a BatchNorm have a bias, which is the same as another running mean.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from reid_heads.backbones.torchvision_weights import convert_torchvision_name
from reid_heads.importers.placing import Placement

NUM_SIZES, NUM_RATIOS = 5, 3
"""Of the anchors of each cell."""

_COUNTER = "num_batches_tracked"
_RPN = {
    "rpn.head.conv.": "conv.",
    # As torchvision spells it since 0.9.
    "rpn.head.conv.0.0.": "conv.",
    "rpn.head.cls_logits.": "objectness_logits.",
    "rpn.head.bbox_pred.": "anchor_deltas.",
}


def anchors_size_by_size(rows: Tensor, values: int = 1) -> Tensor:
    """Put rows that belong to anchors in the order of detectron2.

    Args:
        rows: (sizes x ratios x values, ...), all sizes of the first ratio first.
        values: of each anchor.

    Returns:
        The same rows, all ratios of the first size first; as they are if their number is another.
    """
    if len(rows) != NUM_SIZES * NUM_RATIOS * values:
        return rows
    grid = rows.reshape(NUM_RATIOS, NUM_SIZES, values, *rows.shape[1:])
    return grid.transpose(0, 1).reshape(rows.shape)


def background_last(rows: Tensor) -> Tensor:
    """Put the rows (2, ...) of background and person into the order person, background."""
    return rows.roll(-1, 0)


def persons_rows(rows: Tensor) -> Tensor:
    """Return the person's four of the eight rows (8, ...) of background's and the person's box."""
    return rows[4:] if len(rows) == 8 else rows


def mean_with_bias(mean: Tensor, bias: Tensor) -> Tensor:
    """Return the running mean of a BatchNorm, in front of which a bias is taken away.

    (Wx + b - mean) / deviation is (Wx - (mean - b)) / deviation.
    """
    return mean - bias


def place_stages(placement: Placement, theirs: str, ours: str, group: str) -> None:
    """Place stem and stages of a torchvision ResNet; names that it does not have stay left.

    Args:
        placement: of the file.
        theirs: beginning of their names.
        ours: beginning of this project's.
        group: under which they are counted.
    """
    for name in [name for name in placement.left if name.startswith(theirs)]:
        counts = name.endswith(_COUNTER)
        plain = name.removeprefix(theirs).replace(_COUNTER, "running_var")
        try:
            place = convert_torchvision_name(plain)
        except ValueError:
            continue
        if counts:
            place = place.removesuffix("running_var") + _COUNTER
        placement.place(name, ours + place, group)


def place_rpn(placement: Placement) -> None:
    """Place the region proposal network."""
    for theirs, ours in _RPN.items():
        for kind in ("weight", "bias"):
            name = theirs + kind
            if name not in placement.left:
                continue
            value = placement.left[name]
            if ours == "objectness_logits.":
                value = anchors_size_by_size(value)
            elif ours == "anchor_deltas.":
                value = anchors_size_by_size(value, values=4)
            place = f"proposal_generator.rpn_head.{ours}{kind}"
            placement.place(name, place, "region proposal network", value)


def place_linear_and_norm(
    placement: Placement, theirs: str, ours: Sequence[str], group: str, *, is_box: bool = False
) -> None:
    """Place a linear layer with the BatchNorm behind it; its bias becomes part of the mean.

    Args:
        placement: of the file.
        theirs: beginning of their names, of which "0." is the linear layer and "1." the norm.
        ours: beginnings of this project's names of the linear layer, without bias, and the norm.
        group: under which they are counted.
        is_box: whether the rows are background's and the person's box, of which one is kept.

    Raises:
        ValueError: if the norm has a mean, but the layer no bias.
    """
    linear, norm = ours
    rows = persons_rows if is_box else torch.as_tensor
    mean, bias = f"{theirs}1.running_mean", f"{theirs}0.bias"
    if mean in placement.left:
        if bias not in placement.left:
            raise ValueError(
                f"{placement.file.path} has {mean}, but not {bias}, which belongs to it; the file "
                "has been changed, expected one as its authors published it"
            )
        folded = mean_with_bias(placement.left[mean], placement.fold(bias, group))
        placement.place(mean, f"{norm}.running_mean", group, rows(folded))
    places = {"0.weight": f"{linear}.weight"}
    places |= {f"1.{kind}": f"{norm}.{kind}" for kind in ("weight", "bias", "running_var")}
    for end, place in places.items():
        if theirs + end in placement.left:
            placement.place(theirs + end, place, group, rows(placement.left[theirs + end]))
    if (count := f"{theirs}1.{_COUNTER}") in placement.left:
        placement.place(count, f"{norm}.{_COUNTER}", group)


def place_as_they_are(placement: Placement, names: dict[str, str], group: str) -> None:
    """Place the tensors of these names, theirs -> this project's, that are still left."""
    for theirs, ours in names.items():
        if theirs in placement.left:
            placement.place(theirs, ours, group)

"""What a crop net's ONNX file takes; see `person_search.inference.cards`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from person_search.inference.cards import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    check_choice,
    check_number,
    check_pixels,
)
from reid_heads.crop_description import KEY, VERSION

INTERPOLATIONS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
USUAL_SIZE = (256, 128)
"""Height and width of crops where neither the graph nor a card says them."""


@dataclass(frozen=True)
class CropNetCard:
    """How crops are prepared; without a card as most public crop nets of people want them."""

    height: int = USUAL_SIZE[0]
    """That crops are resized to, pixels."""

    width: int = USUAL_SIZE[1]

    color: str = "RGB"
    """Order of the channels: "RGB" or "BGR"."""

    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Subtracted from pixels of 0..255, a number a channel, in the order of ``color``."""

    std: tuple[float, float, float] = IMAGENET_STD
    """What pixels are divided by after that."""

    interpolation: str = "bilinear"
    """How crops are resized: "bilinear" or "bicubic", Pillow's, with antialiasing."""

    def __post_init__(self) -> None:
        check_number("height", self.height, 1, 10_000, whole=True)
        check_number("width", self.width, 1, 10_000, whole=True)
        check_pixels(self.color, self.mean, self.std)
        check_choice("interpolation", self.interpolation, tuple(INTERPOLATIONS))


def read_reid_heads(
    metadata: Mapping[str, str], name: str
) -> tuple[dict[str, Any], str, int] | None:
    """Read what an export of `reid_heads` says about itself.

    Args:
        metadata: of the ONNX file.
        name: of it, for messages.

    Returns:
        The fields of its card, its fingerprint and the embedding size; None if it is another file.

    Raises:
        ValueError: if the description is damaged or of another version.
    """
    if KEY not in metadata:
        return None
    advice = "export the crop net anew with this version"
    try:
        content = json.loads(metadata[KEY])
        version = content["version"]
        if version == VERSION:
            said = {key: content[key] for key in CropNetCard.__dataclass_fields__}
            return said, str(content["fingerprint"]), int(content["embedding_dim"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{name}: its description {KEY!r} is damaged ({error!r}); {advice}"
        ) from error
    raise ValueError(
        f"{name}: its description {KEY!r} is of version {version!r}; this program reads "
        f"version {VERSION}: {advice}"
    )

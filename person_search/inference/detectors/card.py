"""What a detector's ONNX file takes and gives; see `person_search.inference.cards`."""

from dataclasses import dataclass

from person_search.inference.cards import check_choice, check_number, check_pixels

RESIZING = ("letterbox", "letterbox_center", "squeeze", "none")
OUTPUTS = (
    "boxes_scores_labels",
    "boxes_logits",
    "rows6",
    "nanodet",
    "nanodet_plus",
    "yolov8",
    "yolov5",
    "yolox",
)
"""The more telling first: they are tried in this order."""
NMS_INSIDE = ("boxes_scores_labels", "boxes_logits", "rows6")


@dataclass(frozen=True)
class DetectorCard:
    """What a file's pixels, outputs and scores mean."""

    output: str
    """Kind of output; each is described in `person_search.inference.detectors.outputs`."""

    height: int = 0
    """Of the input, pixels; 0 with ``resizing`` "none"."""

    width: int = 0
    """Likewise."""

    resizing: str = "letterbox"
    """How a picture comes to that size: "letterbox" keeps its shape and fills up below and on the
    right, "letterbox_center" on all sides, "squeeze" does not keep it; "none": it stays as it is.
    """

    padding: int = 0
    """Grey that fills up, 0..255."""

    color: str = "RGB"
    """Order of the channels: "RGB" or "BGR"."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Subtracted from pixels of 0..255, a number a channel, in the order of ``color``."""

    std: tuple[float, float, float] = (255.0, 255.0, 255.0)
    """What pixels are divided by after that."""

    person_class: int = 0
    """Number of the class "person", as the outputs count."""

    relative_boxes: bool = False
    """Whether boxes are shares, 0..1, of the input's width and height, not pixels of it."""

    min_score: float = 0.25
    """Least score, 0..1, of a person."""

    nms_iou: float = 0.6
    """Overlap of two people above which the one of lower score goes; outputs with NMS inside and
    of set predictors are left as they are."""

    smallest_person: int = 24
    """Height of a person, pixels of the input, below which the detector hardly finds them: larger
    pictures are searched in parts; see `person_search.inference.parts`. NanoDet-m found 9 % of the
    people of 16 to 24 pixels in real frames, 39 % of those to 32, 63 % of those to 40, 86 % above.
    """

    def __post_init__(self) -> None:
        check_choice("output", self.output, OUTPUTS)
        check_choice("resizing", self.resizing, RESIZING)
        least = 0 if self.resizing == "none" else 1
        check_number("height", self.height, least, 10_000, whole=True)
        check_number("width", self.width, least, 10_000, whole=True)
        check_number("padding", self.padding, 0, 255, whole=True)
        check_pixels(self.color, self.mean, self.std)
        check_number("person_class", self.person_class, 0, 100_000, whole=True)
        if not isinstance(self.relative_boxes, bool):
            raise ValueError(f"relative_boxes is {self.relative_boxes!r}; expected true or false")
        check_number("min_score", self.min_score, 0, 1)
        check_number("nms_iou", self.nms_iou, 0, 1)
        check_number("smallest_person", self.smallest_person, 1, 1000, whole=True)

    @property
    def has_nms_inside(self) -> bool:
        """Whether the outputs are final boxes."""
        return self.output in NMS_INSIDE

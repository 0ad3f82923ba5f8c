"""The labelled boxes of a person search training set as crops, for the crop nets of `reid_heads`.

Stage 1 of STL trains on them. The crop mapper cuts them out of the frames as they are drawn;
nothing is written to disk.
"""

from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from reid_heads.labels import UNLABELED_PID

NO_CAMERA = -1
"""Camera of crops from frames without one: crops always carry a number."""


def frames_to_crops(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """List the labelled boxes of training frames as dataset dicts of crops.

    Args:
        frames: dataset dicts of person search.

    Returns:
        One dict a box, in the order of the frames and of their annotations. ``file_name`` is the
        frame's, ``bbox`` (x1, y1, x2, y2) in original pixels, ``person_id`` as in the frames.
        ``cam_id`` is the frame's or ``NO_CAMERA``. ``image_id``, distinct for each crop, is the
        frame's with the number of the annotation. People without identity and crowds are left out.
    """
    return [
        {
            "file_name": frame["file_name"],
            "image_id": f"{frame['image_id']}#{number}",
            "bbox": BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS),
            "person_id": annotation["person_id"],
            "cam_id": NO_CAMERA if frame.get("cam_id") is None else frame["cam_id"],
        }
        for frame in frames
        for number, annotation in enumerate(frame["annotations"])
        if annotation["person_id"] != UNLABELED_PID and not annotation.get("iscrowd", 0)
    ]


def register_crops(name: str) -> None:
    """Register the crops of a person search training set as ``<name>_crops``; nothing is read yet.

    Args:
        name: of the training set, which itself may be registered later, or anew.

    Raises:
        ValueError: the name is taken by other data. Registering the same again does nothing.
    """
    crops_name = f"{name}_crops"
    if crops_name in DatasetCatalog.list():
        if MetadataCatalog.get(crops_name).get("cut_from") == name:
            return
        raise ValueError(
            f"the data set name {crops_name!r} is already registered, but the crops of {name!r} "
            "need it; choose another for one of them"
        )
    DatasetCatalog.register(crops_name, lambda: frames_to_crops(DatasetCatalog.get(name)))
    MetadataCatalog.get(crops_name).set(
        evaluator_type="reid",
        cut_from=name,
        load_attribute_groups=lambda: (),
        describe=lambda: f"labelled boxes of {name}",
    )

"""Data sets: loaders, search protocols and registration in detectron2's catalogs."""

from person_search.data.builtin import register_all
from person_search.data.coco_person import register_coco_person
from person_search.data.protocol import SearchProtocol

register_all()  # registration import: the built-in names; nothing is read

__all__ = ["SearchProtocol", "register_all", "register_coco_person"]

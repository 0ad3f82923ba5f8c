"""Crop data: loaders of the data sets and their registration in detectron2's catalogs."""

from reid_heads.data.builtin import register_all_crops, register_own_crops
from reid_heads.data.face_catalog import register_all_faces, register_own_faces

register_all_crops()  # registration imports: the built-in names; nothing is read
register_all_faces()

__all__ = ["register_all_crops", "register_all_faces", "register_own_crops", "register_own_faces"]

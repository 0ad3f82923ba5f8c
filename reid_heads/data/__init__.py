"""Crop data: loaders of the data sets and their registration in detectron2's catalogs."""

from reid_heads.data.builtin import register_all_crops, register_own_crops

register_all_crops()  # registration import: the built-in names; nothing is read

__all__ = ["register_all_crops", "register_own_crops"]

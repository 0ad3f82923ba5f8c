"""Crop data: loaders of the data sets and their registration in detectron2's catalogs.

Nothing is imported here: readers of files start without torch.
"""

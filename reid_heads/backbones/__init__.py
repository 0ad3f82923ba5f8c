"""Backbones of crop ReID, registered with detectron2."""

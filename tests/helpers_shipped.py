"""The shipped model as it was trained: what the default model was exported from."""

from helpers_sources import ROOT

CONFIG = ROOT / "configs/drawn_cuhk/slim_fpn.yaml"
WEIGHTS = ROOT / "demo/weights/drawn_cuhk_slim_fpn.pth"
CHECKPOINT = (CONFIG, WEIGHTS)

"""A run of the tiny model as train_net leaves it, without a training, and the model packed."""

import pickle

import torch
from conftest import pickled_tiny_cfg
from detectron2.modeling import build_model

import person_search.modeling  # noqa: F401  (registers the models)
from person_search.evaluation.results_file import save_results
from person_search.inference.finder import PersonFinder

RESULTS = {
    "detection": {"ap": 90.5, "recall": 93.25},
    "search": {"mAP": 61.25, "top1": 80.0},
    "bbox": {"AP": 55.0, "APl": -1.0},
}
COMMAND = "python -m person_search.train_net --config-file tiny.yaml"


def write_run(folder):
    """Write config, checkpoint and results; return the finder of the run's model."""
    folder.mkdir()
    cfg = pickle.loads(pickled_tiny_cfg("fpn"))
    cfg.merge_from_list(["INPUT.MIN_SIZE_TEST", 80, "INPUT.MAX_SIZE_TEST", 150])
    cfg.merge_from_list(["OUTPUT_DIR", str(folder), "SOLVER.MAX_ITER", 1200])
    cfg.merge_from_list(["DATASETS.TRAIN", ("mine_train",), "MODEL.WEIGHTS", "/home/me/start.pkl"])
    cfg.DATASETS.COCO_PERSON = [["mine_train", "/home/me/x.json", "/home/me/images", "train"]]
    torch.manual_seed(0)
    state = build_model(cfg).state_dict()
    training = {"optimizer": {"state": {}}, "iteration": 1199}
    torch.save({"model": state, **training}, folder / "model_final.pth")
    earlier = {k: v * 0.5 if k.startswith("backbone.fpn") else v for k, v in state.items()}
    torch.save({"model": earlier}, folder / "model_0000499.pth")
    (folder / "last_checkpoint").write_text("model_final.pth")
    (folder / "config.yaml").write_text(cfg.dump())
    finder = load_run(folder)
    record = {"model": finder.fingerprint, "dataset": "mine_test", "command": COMMAND}
    (folder / "inference").mkdir()
    save_results(folder / "inference" / "results.json", RESULTS, record)
    return finder


def load_run(folder, checkpoint="model_final.pth"):
    finder = PersonFinder.from_config(folder / "config.yaml", folder / checkpoint, device="cpu")
    # Untrained, it sees a crowd everywhere.
    finder.parts = False
    return finder

"""What imported search networks compute, and that training starts from public files."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_scene
from detectron2.modeling import build_model
from helpers_public_search_weights import (
    PlainNAE,
    nae_state,
    names_and_shapes,
    save,
    seqnet_state,
)
from torchvision.ops import box_iou

from person_search.config import load_config
from person_search.importers.search_networks import convert
from person_search.inference.finder import PersonFinder
from reid_heads.importers.checkpoint_file import read_checkpoint
from reid_heads.training.checkpoint import WeightCopyCheckpointer, warn_of_other_settings

RECORDED = Path(os.environ.get("PERSON_SEARCH_RECORDED", "/nowhere"))
"""A folder with ``seqnet_seed1.pth``, made-up weights under SeqNet's names, and what SeqNet's own
code says with them in ``seqnet_seed1.npz``."""
REAL_DATA = Path(os.environ.get("PERSON_SEARCH_REAL_DATA", "/nowhere"))
PICTURES = ("MOT17-05-FRCNN/img1/000001.jpg", "MOT17-11-FRCNN/img1/000003.jpg")


def load(imported, tmp_path, *overrides):
    torch.save({"model": imported.state}, tmp_path / "imported.pth")
    return PersonFinder.from_config(
        imported.config_file,
        tmp_path / "imported.pth",
        overrides=[*imported.overrides, *overrides],
        device="cpu",
        min_score=0.0,
    )


def partners(people, boxes):
    """The person at the place of each box, and the least overlap (IoU) of a box with its own.

    In order they need not be, where two scores are nearly equal.
    """
    assert len(people) == len(boxes)
    overlap, found = box_iou(torch.as_tensor(boxes), torch.from_numpy(people.boxes)).max(dim=1)
    return found, overlap.min()


def assert_same_people(people, boxes, scores, embeddings):
    """The same number; each has a partner at the same place, of the same score and looks."""
    found, overlap = partners(people, boxes)
    assert sorted(found.tolist()) == list(range(len(boxes)))
    assert overlap > 0.999
    np.testing.assert_allclose(people.scores[found], scores, rtol=0, atol=1e-4)
    cosines = (people.embeddings[found] * np.asarray(embeddings)).sum(axis=1)
    assert cosines.min() > 0.9999


@pytest.mark.slow
def test_nae_finds_whom_its_released_code_finds(tmp_path):
    state = nae_state(people=10, queue=8)
    image = draw_scene([0, 1, 2], (150, 217))[0]
    # So that proposals are about anchors, and corrections small.
    state["rpn.head.bbox_pred.weight"] *= 1e-3
    state["rpn.head.cls_logits.weight"] *= 1e-2
    state["roi_heads.box_predictor.bbox_pred.1.weight"] *= 0.1
    plain = PlainNAE(state, 230, 300, proposals=40)
    with torch.inference_mode():
        images, features = plain.maps(image)
        ((proposals,), _) = plain.rpn(images, features)
        norms = plain.describe(features, proposals, images.image_sizes[0])[1]
        # So that scores are spread over 0..1.
        state["roi_heads.embedding_head.rescaler.running_mean"] = norms.mean(dim=0)
        state["roi_heads.embedding_head.rescaler.running_var"] = norms.var(dim=0)
        expected = plain.find(image)
        given = np.array([[8.0, 11, 60, 120], [100, 30, 140, 140]], np.float32)
        embedded = plain.embed(image, given)
    settings = ("INPUT.MIN_SIZE_TEST", "230", "INPUT.MAX_SIZE_TEST", "300")
    finder = load(
        convert(read_checkpoint(save(tmp_path, state))),
        tmp_path,
        *settings,
        *("MODEL.RPN.POST_NMS_TOPK_TEST", "40"),
    )
    (people,) = finder.find([image])
    assert len(people) > 5 and people.scores.max() - people.scores.min() > 0.3
    assert_same_people(people, *expected)
    assert (finder.embed(image, given) * embedded.numpy()).sum(axis=1).min() > 0.9999


@pytest.mark.slow
@pytest.mark.skipif(
    not (RECORDED / "seqnet_seed1.pth").is_file() or not (REAL_DATA / "mot17_mini").is_dir(),
    reason="needs $PERSON_SEARCH_RECORDED with seqnet_seed1.pth and .npz, and "
    "$PERSON_SEARCH_REAL_DATA with mot17_mini",
)
@pytest.mark.parametrize("number", [0, 1])
def test_seqnet_finds_whom_its_released_code_found(number, tmp_path):
    """Made-up weights score many anchors nearly alike: which of two wins depends on rounding.

    So does the order of sums, which the number of threads decides: by one of them all agree.
    """
    finder = load(convert(read_checkpoint(RECORDED / "seqnet_seed1.pth")), tmp_path)
    recorded = np.load(RECORDED / "seqnet_seed1.npz")
    parts = [recorded[f"{number}_{name}"] for name in ("boxes", "scores", "embeddings")]
    assert len(parts[0]) > 20
    path, before = REAL_DATA / "mot17_mini" / PICTURES[number], torch.get_num_threads()
    try:
        for threads in (2, 1, 4):
            torch.set_num_threads(threads)
            (people,) = finder.find([path])
            if partners(people, parts[0])[1] > 0.999:
                break
    finally:
        torch.set_num_threads(before)
    assert_same_people(people, *parts)
    queries = recorded[f"{number}_query_embeddings"]
    found = finder.embed(path, recorded[f"{number}_query_boxes"])[: len(queries)]
    assert (found * queries).sum(axis=1).min() > 0.9999


@pytest.mark.slow
def test_a_training_starts_from_a_public_file(tmp_path, train_step, caplog):
    state = {
        **names_and_shapes(seqnet_state),
        "backbone.conv1.weight": torch.full((64, 3, 7, 7), 0.5),
    }
    state["roi_heads.reid_loss.lut"] = torch.full((), 0.25).expand(5532, 256)
    path = str(save(tmp_path, state))
    device = ["MODEL.DEVICE", "cpu"]
    cfg = load_config("configs/cuhk_sysu/seqnet_r50.yaml", device)
    model = build_model(cfg)
    checkpointer = WeightCopyCheckpointer(model)
    checkpointer.load_whole_model(path)
    assert (model.backbone.stem.conv1.weight == 0.5).all()
    assert (model.roi_heads.identity_losses.losses["OIM"].table == 0.25).all()
    with caplog.at_level(logging.WARNING):
        warn_of_other_settings(cfg, checkpointer.imported)
    assert "the same weights compute something else here; to have the same, add: " in caplog.text
    assert "MODEL.ANCHOR_GENERATOR.NAME RoundedAnchorGenerator" in caplog.text
    caplog.clear()
    released = load_config("configs/cuhk_sysu/seqnet_r50_released.yaml", device)
    warn_of_other_settings(released, checkpointer.imported)
    assert caplog.text == ""
    # Other people than those of the file: their table starts empty.
    model.roi_heads.identity_losses.losses["OIM"].table = torch.zeros(7, 256)
    WeightCopyCheckpointer(model).load(path)
    assert (model.roi_heads.identity_losses.losses["OIM"].table == 0).all()
    with pytest.raises(ValueError, match=r"AlignPS.*cannot be imported"):
        WeightCopyCheckpointer(model).load(
            str(save(tmp_path, {"bbox_head.oim_w": torch.ones(2)}, "align_ps.pth"))
        )

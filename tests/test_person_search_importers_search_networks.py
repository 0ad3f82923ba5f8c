"""Public person search checkpoints become this project's, whole or not at all."""

import functools
import os

import pytest
import torch
import torch.nn.functional as F
from conftest import undrawn
from helpers_public_search_weights import nae_state, names_and_shapes, save, seqnet_state

from person_search.config import load_config
from person_search.importers import search_networks
from person_search.importers.identity_tables import prw_table
from person_search.importers.search_networks import convert, recognise
from person_search.importers.torchvision_detectors import (
    anchors_size_by_size,
    background_last,
    mean_with_bias,
    persons_rows,
)
from reid_heads.importers.checkpoint_file import CheckpointFile, read_checkpoint
from reid_heads.training.checkpoint import WeightCopyCheckpointer

state_of = search_networks._state_of
SEQNETS_WAY = [
    *("MODEL.ANCHOR_GENERATOR.NAME", "RoundedAnchorGenerator"),
    *("MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIAlign"),
    *("MODEL.PERSON_SEARCH.IDENTITY_BRANCH.POOLER_TYPE", "ROIAlign"),
    *("MODEL.PERSON_SEARCH.SIZE_DIVISIBILITY", "32"),
    *("MODEL.PERSON_SEARCH.RES5_BOX_HEAD.POOLING", "max"),
    *("INPUT.RESIZE", "GeneralizedRCNNTransform"),
]


@pytest.fixture(scope="module", autouse=True)
def networks_are_built_once():
    """Only the names and shapes of a config's network count."""
    with undrawn(), pytest.MonkeyPatch.context() as patch:
        build = functools.cache(lambda file, words: state_of(file, words))
        patch.setattr(search_networks, "_state_of", lambda file, words: build(file, tuple(words)))
        yield


def converted(state):
    """What becomes of a file with these tensors, without the file."""
    return convert(CheckpointFile("public.pth", state, {}))


@pytest.fixture(scope="module")
def seqnet():
    return names_and_shapes(seqnet_state)


@pytest.fixture(scope="module")
def nae():
    return names_and_shapes(nae_state)


# What becomes of rows, by hand.


def test_anchor_rows_by_hand():
    """Theirs: ratio 0.5 at sizes 32 to 512, then 1, then 2. Ours: 32 at 0.5, 1, 2, then 64."""
    theirs = torch.tensor([100 * ratio + size for ratio in range(3) for size in range(5)])
    ours = [0, 100, 200, 1, 101, 201, 2, 102, 202, 3, 103, 203, 4, 104, 204]
    assert anchors_size_by_size(theirs).tolist() == ours
    four = torch.stack([theirs * 10 + value for value in range(4)], 1).flatten()
    found = anchors_size_by_size(four, values=4).tolist()
    assert found[:6] == [0, 1, 2, 3, 1000, 1001]
    assert found[-4:] == [2040, 2041, 2042, 2043]
    kernels = theirs.float().view(15, 1, 1, 1).expand(15, 2, 1, 1)
    assert anchors_size_by_size(kernels)[:, 1, 0, 0].tolist() == ours


def test_class_and_box_rows_by_hand():
    background, person = [1.0, 2.0], [3.0, 4.0]
    assert background_last(torch.tensor([background, person])).tolist() == [person, background]
    assert persons_rows(torch.arange(8)).tolist() == [4, 5, 6, 7]


def test_a_bias_before_a_batch_norm_is_part_of_its_mean():
    generator = torch.Generator().manual_seed(0)
    x, weight, bias, mean, scale, shift = (
        torch.randn(*shape, generator=generator) for shape in [(5, 3), (4, 3), *[(4,)] * 4]
    )
    var = torch.rand(4, generator=generator) + 0.1
    expected = F.batch_norm(F.linear(x, weight, bias), mean, var, scale, shift)
    folded = mean_with_bias(mean, bias)
    found = F.batch_norm(F.linear(x, weight), folded, var, scale, shift)
    torch.testing.assert_close(found, expected)
    assert (mean - bias).tolist() == folded.tolist()


def test_the_rows_of_prw_by_hand():
    """SeqNet's row n is of identity n + 1; there is no 479, and 483 and 932 are beyond it."""
    rows = torch.arange(482.0)[:, None]
    table, missing = prw_table(rows, 1)
    assert table.shape == (483, 1) and missing == [483, 932]
    # 1, 478, 480, 482, 483 and 932.
    assert table.flatten()[[0, 477, 478, 480, 481, 482]].tolist() == [0, 477, 479, 481, 0, 0]
    table, missing = prw_table(rows, 0)
    assert missing == [482, 483, 932] and table[0] == 1 and table[479] == 481


# Files.


def test_every_tensor_of_seqnet_finds_its_place(tmp_path, seqnet):
    path = save(tmp_path, seqnet)
    imported = convert(read_checkpoint(path))
    assert imported.family == "SeqNet (CUHK-SYSU)" and recognise(seqnet) == "SeqNet"
    assert imported.config_file == "configs/cuhk_sysu/seqnet_r50.yaml"
    assert imported.overrides == SEQNETS_WAY and imported.untouched == []
    ours, released = (
        load_config(f"configs/cuhk_sysu/seqnet_r50{end}.yaml", [*words, "OUTPUT_DIR", "same"])
        for end, words in (("", imported.overrides), ("_released", []))
    )
    assert ours == released
    assert sum(imported.placed.values()) == len(seqnet) == 416
    assert set(imported.passed_over) == {"optimizer", "lr_scheduler", "epoch"}
    assert imported.state["roi_heads.identity_losses.losses.OIM.queue_pointer"] == 0
    # 416 without three biases, and the pointer.
    assert len(imported.state) == 414


def test_values_are_where_they_belong(seqnet):
    def numbered(name):
        rows = torch.arange(len(seqnet[name]), dtype=torch.float32)
        return rows.view(-1, *[1] * (seqnet[name].ndim - 1)).expand(seqnet[name].shape)

    names = {
        "rpn.head.cls_logits.bias": ("proposal_generator.rpn_head.objectness_logits.bias", 5),
        "roi_heads.faster_rcnn_predictor.cls_score.weight": (
            "roi_heads.box_predictor.cls_score",
            1,
        ),
        "roi_heads.faster_rcnn_predictor.bbox_pred.weight": (
            "roi_heads.box_predictor.bbox_pred",
            5,
        ),
        "roi_heads.box_predictor.bbox_pred.1.weight": ("roi_heads.box_refiner.norm.weight", 5),
        "roi_heads.embedding_head.projectors.feat_res5.0.weight": (
            "roi_heads.identity_branch.head.projections.1.0.weight",
            1,
        ),
        "roi_heads.reid_head.layer4.2.conv3.weight": (
            "roi_heads.identity_branch.body.res5.2.conv3.weight",
            1,
        ),
        "roi_heads.box_head.layer4.0.downsample.1.running_var": (
            "roi_heads.box_head.res5.0.shortcut.norm.running_var",
            1,
        ),
        "backbone.layer3.5.bn2.bias": ("backbone.res4.5.conv2.norm.bias", 1),
        "roi_heads.reid_loss.lut": ("roi_heads.identity_losses.losses.OIM.table", 1),
    }
    changed = {**seqnet, **{name: numbered(name) for name in names}}
    # A mean of 1 behind a bias of 3 is a mean of -2.
    box = "roi_heads.box_predictor.bbox_pred"
    changed[f"{box}.0.bias"] = torch.full((8,), 3.0)
    changed[f"{box}.1.running_mean"] = torch.ones(8)
    state = converted(changed).state
    for ours, second in names.values():
        value = state[ours if ours in state else f"{ours}.weight"]
        value = value.reshape(len(value), -1)[:, 0]
        # Row 1 of anchors is ratio 1 at size 32, of boxes the person's second, else as it was.
        expected = 0.0 if "cls_score" in ours else second
        assert value[1] == expected, ours
    assert (state["roi_heads.box_refiner.norm.running_mean"] == -2).all()


@pytest.mark.parametrize("spelling", ["rpn.head.conv.", "rpn.head.conv.0.0."])
def test_both_spellings_of_torchvision(seqnet, spelling):
    state = {name.replace("rpn.head.conv.0.0.", spelling): x for name, x in seqnet.items()}
    state[f"{spelling}bias"] = torch.full((1024,), 7.0)
    imported = converted(state)
    assert (imported.state["proposal_generator.rpn_head.conv.bias"] == 7).all()


def test_prws_identities_are_kept_and_said(seqnet):
    table = torch.arange(482.0)[:, None].expand(482, 256)
    state = {
        **seqnet,
        "roi_heads.reid_loss.lut": table,
        "roi_heads.reid_loss.cq": torch.zeros(()).expand(500, 256),
    }
    imported = converted(state)
    assert imported.family == "SeqNet (PRW)" and imported.overrides == SEQNETS_WAY
    assert imported.config_file == "configs/prw/seqnet_r50.yaml"
    found = imported.state["roi_heads.identity_losses.losses.OIM.table"]
    assert found.shape == (483, 256) and found[480, 0] == 481
    assert "482 rows for the 483 identities of PRW" in imported.notes[0]
    assert "483, 932 are empty" in imported.notes[0]


def test_a_table_of_other_people_is_a_setting(seqnet):
    state = {**seqnet, "roi_heads.reid_loss.lut": torch.zeros(()).expand(77, 256)}
    imported = converted(state)
    assert imported.overrides == [*SEQNETS_WAY, "MODEL.REID_HEAD.NUM_IDENTITIES", "77"]
    assert "77 rows, that of neither" in imported.notes[0]
    # Without a table embeddings are the same, and training starts with an empty one.
    state = {k: v for k, v in seqnet.items() if "reid_loss" not in k}
    imported = converted(state)
    assert {name.rpartition(".")[2] for name in imported.untouched} == {
        "table",
        "queue",
        "queue_pointer",
    }


def test_every_tensor_of_nae_finds_its_place(nae):
    imported = converted(nae)
    assert imported.family == "NAE (CUHK-SYSU)" and recognise(nae) == "NAE"
    assert imported.config_file == "configs/cuhk_sysu/nae_r50.yaml"
    settings = dict(zip(imported.overrides[::2], imported.overrides[1::2], strict=True))
    assert settings["MODEL.ROI_HEADS.NAME"] == "NormScoredROIHeads"
    assert settings["INPUT.RESIZE"] == "GeneralizedRCNNTransform"
    unused = {f"roi_heads.box_predictor.cls_score.{kind}" for kind in ("weight", "bias")}
    assert unused == set(imported.passed_over)
    assert sum(imported.placed.values()) == len(nae) - 2
    assert imported.untouched == []


# Bad input.


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("bbox_head.cls_convs.0.conv.weight", "AlignPS"),
        ("roi_heads.box_head_2nd.layer4.0.conv1.weight", "COAT"),
        ("gfn.img_head.weight", "SeqNeXt with GFN"),
        ("reid_loss.lut", "another network with an OIM loss"),
        ("some.thing", "no person search network"),
    ],
)
def test_other_networks_are_refused_by_name(name, family):
    with pytest.raises(ValueError, match=rf"{family}.*{name}.*Expected a network of SeqNet"):
        converted({name: torch.ones(2)})


def test_other_networks_with_their_names_are_refused(seqnet, nae):
    convnext = {k: v for k, v in seqnet.items() if not k.startswith("backbone.layer")}
    projector = "roi_heads.embedding_head.projectors.feat_res5.0.weight"
    pixel_wise = {**nae, projector: torch.zeros(()).expand(128, 2048, 1, 1)}
    deep = {**seqnet, "backbone.layer3.6.conv1.weight": torch.zeros(()).expand(256, 1024, 1, 1)}
    for state, message in (
        (convnext, "SeqNeXt, or SeqNet on another backbone"),
        (pixel_wise, r"NAE\+, whose embeddings .*feat_res5.0.weight is \(128, 2048, 1, 1\)"),
        (deep, r"has the names of SeqNet.*no place for backbone.layer3.6.conv1.weight"),
    ):
        with pytest.raises(ValueError, match=message):
            converted(state)


def test_a_changed_file_is_refused_and_its_tensors_named(tmp_path, seqnet):
    bias = "roi_heads.box_predictor.bbox_pred.0.bias"
    lost = {k: v for k, v in seqnet.items() if k != "backbone.layer2.0.bn1.weight"}
    twice = {"rpn.head.conv.weight": seqnet["rpn.head.conv.0.0.weight"]}
    for state, message in (
        ({**seqnet, **twice}, r"both rpn\.head\.conv\.weight and rpn\.head\.conv\.0\.0\.weight"),
        ({**lost, "backbone.layer2.0.b1.weight": torch.ones(128)}, r"layer2\.0\.b1\.weight.*res3"),
        ({k: v for k, v in seqnet.items() if k != bias}, r"but not .*bbox_pred\.0\.bias"),
        ({**seqnet, "rpn.head.cls_logits.bias": torch.ones(9)}, r"cls_logits\.bias is \(9,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            converted(state)
    path = save(tmp_path, {bias: torch.full((8,), torch.nan)})
    with pytest.raises(ValueError, match=r"NaN or infinite: .*bbox_pred\.0\.bias"):
        convert(read_checkpoint(path))


class Code:
    """Something that a pickle would run."""

    def __reduce__(self):
        return os.system, ("true",)


def test_files_that_are_no_weights_are_refused(tmp_path, seqnet):
    path = save(tmp_path, seqnet)
    (tmp_path / "half.pth").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    save(tmp_path, seqnet, "code.pth", config=Code())
    torch.save({"optimizer": {"state": {}, "param_groups": []}}, tmp_path / "optimizer.pth")
    for name, message in (
        ("half.pth", "only a part"),
        ("code.pth", "would run code of .*system"),
        ("optimizer.pth", "only the state of an optimizer|no weights of a network"),
    ):
        with pytest.raises(ValueError, match=message):
            convert(read_checkpoint(tmp_path / name))
    with pytest.raises(FileNotFoundError, match=r"gone\.pth"):
        convert(read_checkpoint(tmp_path / "gone.pth"))


def test_a_training_refuses_or_maps_what_it_knows(tmp_path, seqnet, make_model):
    """A small network can take neither; nothing is loaded by halves."""
    model = make_model()
    names = {"bbox_head.oim_w": torch.ones(2)}
    with pytest.raises(ValueError, match=r"AlignPS.*cannot be imported"):
        WeightCopyCheckpointer(model).load(str(save(tmp_path, names, "align_ps.pth")))
    with pytest.raises(
        ValueError,
        match=r"another model: .* tensors find a place.* a network of SeqNet \(CUHK-SYSU\); use "
        r"configs/cuhk_sysu/seqnet_r50\.yaml MODEL\.ANCHOR_GENERATOR\.NAME Rounded",
    ):
        WeightCopyCheckpointer(model).load(str(save(tmp_path, seqnet)))

"""Every architecture of the configs can be exported, whatever it finds while it is traced."""

import itertools

import numpy as np
import pytest
import torch
from conftest import CONFIGS, draw_scene
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling import build_model
from torch import nn

from person_search.config import load_config
from person_search.export import exporter, formats
from person_search.export.comparison import check, compare
from person_search.export.exporter import FORMATS, export_finder
from person_search.export.formats import to_onnx
from person_search.export.graph import SearchGraph
from person_search.inference.export_info import KEY, ExportInfo
from person_search.inference.finder import PersonFinder
from person_search.inference.onnx_network import OnnxNetwork
from person_search.inference.torch_network import TorchNetwork
from person_search.synthetic.sample_pictures import draw_sample_pictures

NORM_AWARE = {"MODEL__REID_HEAD__NAME": "NormAwareHead"}
# Head, levels and body of the repository's methods.
METHODS = {
    "oim": {},
    "oim c4": {"kind": "c4"},
    # With what its released code does otherwise; pictures are float32 then.
    "seqnet": {
        "MODEL__ROI_HEADS__NAME": "SequentialROIHeads",
        "MODEL__ANCHOR_GENERATOR__NAME": "RoundedAnchorGenerator",
        "MODEL__ROI_BOX_HEAD__POOLER_TYPE": "ROIAlign",
        "MODEL__PERSON_SEARCH__IDENTITY_BRANCH__POOLER_TYPE": "ROIAlign",
        "MODEL__PERSON_SEARCH__SIZE_DIVISIBILITY": 64,
        "INPUT__RESIZE": "GeneralizedRCNNTransform",
        **NORM_AWARE,
    },
    "nae": {"MODEL__ROI_HEADS__NAME": "NormAwareROIHeads", **NORM_AWARE},
    "nae with one head": {"MODEL__ROI_HEADS__NAME": "NormScoredROIHeads", **NORM_AWARE},
    "stl": {
        "MODEL__PERSON_SEARCH__IDENTITY_BRANCH__IN_FEATURES": "['res2','res3','res4']",
        "MODEL__PERSON_SEARCH__IDENTITY_BRANCH__BODY": "res3+res4+res5",
        "MODEL__PERSON_SEARCH__IDENTITY_BRANCH__FUSION": "attention",
        "MODEL__PERSON_SEARCH__IDENTITY_BRANCH__FUSION_GATE": "0.5",
        "MODEL__REID_HEAD__NAME": "BNNeckHead",
    },
}
SIZES = [(96, 160), (83, 61), (130, 75)]


@pytest.fixture(scope="module", autouse=True)
def unoptimised():
    """TorchScript would optimise each program for longer than it runs here."""
    with torch.jit.optimized_execution(False):
        yield


@pytest.fixture
def make_finder(tiny_cfg):
    """A finder with an untrained model, which finds people everywhere."""

    def make(kind="fpn", **overrides):
        cfg = tiny_cfg(kind, INPUT__MIN_SIZE_TEST=0, **overrides)
        torch.manual_seed(1)
        model = build_model(cfg)
        if kind == "c4":
            calm(model)
        return PersonFinder(TorchNetwork(cfg, model, device="cpu"), min_score=0.0)

    return make


def calm(model):
    """Keep the values of an untrained net small.

    Its frozen BatchNorms do not normalise, so that each residual block would double the values, and
    rounding with them; a trained net does not.
    """
    for block in model.modules():
        if isinstance(getattr(block, "conv3", getattr(block, "conv2", None)), nn.Module):
            norm = getattr(block, "conv3", block.conv2).norm
            if isinstance(norm, FrozenBatchNorm2d):
                norm.weight.mul_(0.2)


def scenes():
    return [draw_scene([1, 2], size, seed)[0] for seed, size in enumerate(SIZES)]


def slow_but(quick, *names):
    """Every combination as a parameter; all but some are slow."""
    return [
        pytest.param(*pair, marks=() if pair in quick else pytest.mark.slow)
        for pair in itertools.product(*names)
    ]


@pytest.mark.parametrize(
    ("method", "format"),
    # Below and in test_person_search_export the other methods become ONNX; the branch of stl is
    # traced in the tests of the identity branch.
    slow_but({("seqnet", "torchscript")}, METHODS, FORMATS),
)
def test_a_method_can_be_exported(method, format, make_finder, tmp_path):
    finder = make_finder(**METHODS[method])
    pictures = [*draw_sample_pictures()[1:], *scenes()[:2]]
    export = export_finder(finder, tmp_path / "model", format, pictures=pictures)
    assert export.differences.people > 14
    assert export.differences.given == 3 * export.differences.pictures == 12
    assert not any(part.training for part in finder.network.model.modules())
    if format == "torchscript":
        extra = {f"{KEY}.json": ""}
        torch.jit.load(str(export.path), _extra_files=extra)
        assert ExportInfo.from_json(extra[f"{KEY}.json"].decode(), "file") == export.info


FEW = {
    "nobody": ({"MODEL__ROI_HEADS__SCORE_THRESH_TEST": 1.0}, 0),
    "one person": ({"TEST__DETECTIONS_PER_IMAGE": 1}, 1),
}


@pytest.mark.parametrize(
    ("method", "few", "format"),
    # That nobody is found, now or while it is traced, has a quick test below.
    slow_but(set(), ["oim", "seqnet", "nae"], FEW, FORMATS),
)
def test_few_people_are_no_special_case(method, few, format, make_finder):
    overrides, count = FEW[few]
    finder = make_finder(**METHODS[method], **overrides)
    network = finder.network
    write, load = FORMATS[format]
    runner = load(write(SearchGraph(network.model), describe(finder)))
    for scene in scenes():
        image = network.settings.prepare(scene)
        assert [len(people) for people in runner.run([image])] == [count]
    differences = compare(network, runner, network.settings, scenes())
    assert differences.people == count * len(SIZES)
    check(differences)


@pytest.mark.parametrize(("format",), slow_but({("torchscript",)}, FORMATS))
def test_a_model_that_finds_nobody_while_it_is_traced_finds_people_later(
    format, make_finder, monkeypatch
):
    """No branch for "no boxes" is recorded."""
    finder = make_finder()
    model = finder.network.model
    predictor = model.roi_heads.box_predictor
    # The picture of the trace is all black; so is its class: background.
    original = formats.example_inputs
    monkeypatch.setattr(
        formats, "example_inputs", lambda rule: (original(rule)[0] * 0, original(rule)[1][:0])
    )
    black = np.zeros((150, 203, 3), np.uint8)
    with torch.inference_mode():
        seen = model.inference([{"image": torch.zeros(3, 150, 203)}], do_postprocess=False)
    # Before the network first runs, which it does in a copy.
    predictor.test_score_thresh = float(seen[0].scores.max()) + 1e-3
    assert len(finder.network.run([black])[0]) == 0
    write, load = FORMATS[format]
    runner = load(write(SearchGraph(model), describe(finder)))
    assert len(runner.run([black])[0]) == 0
    differences = compare(finder.network, runner, finder.network.settings, [black, *scenes()])
    assert differences.people > 0
    check(differences)


def test_norm_aware_scores_order_the_people(make_finder):
    """Also where two of them are equal: the detector's order decides."""
    finder = make_finder(**METHODS["nae"])
    finder.network.model.roi_heads.identity_branch.head.rescale.weight.data.zero_()
    runner = OnnxNetwork(to_onnx(SearchGraph(finder.network.model), describe(finder)))
    for scene in scenes():
        (expected,), (actual,) = finder.network.run([scene]), runner.run([scene])
        assert len(set(actual.scores.tolist())) == 1
        np.testing.assert_allclose(actual.boxes, expected.boxes, rtol=0, atol=0.05)


def describe(finder):
    network, settings = finder.network, finder.network.settings
    return exporter.ExportInfo(
        fingerprint=network.fingerprint,
        embedding_dim=network.embedding_dim,
        image_format=settings.image_format,
        min_size=settings.min_size,
        max_size=settings.max_size,
        resize=settings.resize,
        min_score=network.min_score,
    )


def test_what_onnx_does_not_know_is_refused(make_finder, monkeypatch):
    def refuse(*_, **__):
        raise torch.onnx.OnnxExporterError("no operator aten::bessel")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    finder = make_finder()
    with pytest.raises(
        ValueError, match=r"PersonSearchROIHeads cannot be written as ONNX: .*bessel"
    ):
        to_onnx(SearchGraph(finder.network.model), describe(finder))


@pytest.mark.slow
def test_a_head_that_onnx_does_not_know_is_refused(make_finder):
    """By the exporter itself, which refuses with a subclass of its error."""
    finder = make_finder()

    class Unknown(nn.Module):
        def forward(self, features):
            return torch.special.bessel_j0(features)

    branch = finder.network.model.roi_heads.identity_branch
    branch.body = nn.Sequential(branch.body, Unknown())
    with pytest.raises(
        ValueError, match=r"PersonSearchROIHeads cannot be written as ONNX: .*bessel"
    ):
        to_onnx(SearchGraph(finder.network.model), describe(finder))


@pytest.mark.slow
@pytest.mark.parametrize("format", list(FORMATS))
@pytest.mark.parametrize("name", ["oim_r50", "stl_r50", "nae_r50", "seqnet_r50"])
def test_a_full_size_model_can_be_exported(name, format, tmp_path):
    """Of ResNet-50 with random weights; smaller pictures than it is made for."""
    cfg = load_config(
        str(CONFIGS / "cuhk_sysu" / f"{name}.yaml"),
        [
            *("MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "INPUT.MIN_SIZE_TEST", "0"),
            # Each goes through a res5.
            *("MODEL.RPN.POST_NMS_TOPK_TEST", "40"),
            # An untrained detector is sure of nobody.
            *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.05"),
        ],
    )
    torch.manual_seed(1)
    model = build_model(cfg)
    calm(model)
    finder = PersonFinder(TorchNetwork(cfg, model, device="cpu"))
    pictures = [draw_scene([1, 2, 3], size)[0] for size in ((190, 333), (240, 160))]
    export = export_finder(finder, tmp_path / "model", format, pictures=pictures)
    assert export.differences.people > 0 and export.size > 100e6

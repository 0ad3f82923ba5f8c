import pytest
import torch
import torch.nn.functional as F
from conftest import undrawn
from detectron2.modeling import build_model
from helpers_public_weights import batch_norm, cosines, resnet_map, resnet_state

from reid_heads.config import load_config
from reid_heads.importers.checkpoint_file import read_checkpoint
from reid_heads.importers.crop_networks import convert, recognise

pytestmark = pytest.mark.usefixtures("shallow", "undrawn_weights")

SHALLOW = (1, 1, 2, 1)
PADDED, CEIL = {"padding": 1}, {"ceil_mode": True}


@pytest.fixture
def undrawn_weights():
    """All weights of a network come from a file."""
    with undrawn():
        yield


def strong_baseline(blocks=SHALLOW, width=4, people=5, ibn=False):
    made = resnet_state("base.", blocks, width, ibn)
    made.norm("bottleneck", 32 * width)
    made.linear("classifier", people, 32 * width, bias=False)
    return made.state


def strong_baseline_rows(state, x, ibn=False):
    maps = resnet_map(state, "base.", x, stem_relu=ibn, stem_pool=PADDED, last_stride=1)
    return batch_norm(state, "bottleneck", maps.mean((2, 3)))


def fast_reid(blocks=SHALLOW, width=4, people=5, ibn=False, gem=False, neck="heads.bottleneck.0"):
    made = resnet_state("backbone.", blocks, width, ibn)
    made.norm(neck, 32 * width)
    made.linear("heads", people, 32 * width, bias=False)
    if gem:
        made.state["heads.pool_layer.p"] = torch.tensor([2.7])
    made.state["pixel_mean"] = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
    made.state["pixel_std"] = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
    return made.state


def fast_reid_rows(state, x, neck="heads.bottleneck.0"):
    maps = resnet_map(state, "backbone.", x, stem_relu=True, stem_pool=CEIL, last_stride=1)
    p = state.get("heads.pool_layer.p")
    pooled = maps.mean((2, 3)) if p is None else maps.clamp(1e-6).pow(p).mean((2, 3)).pow(1 / p)
    return batch_norm(state, neck, pooled)


def torchreid(blocks=SHALLOW, width=4, people=5, projection=0):
    made = resnet_state("", blocks, width)
    if projection:
        made.linear("fc.0", projection, 32 * width)
        made.norm("fc.1", projection)
    made.linear("classifier", people, projection or 32 * width)
    return made.state


def torchreid_rows(state, x):
    has_projection = "fc.0.weight" in state
    stride = 1 if has_projection else 2
    maps = resnet_map(state, "", x, stem_relu=True, stem_pool=PADDED, last_stride=stride)
    rows = maps.mean((2, 3))
    if has_projection:
        rows = F.linear(rows, state["fc.0.weight"], state["fc.0.bias"])
        rows = F.relu(batch_norm(state, "fc.1", rows))
    return rows


def save(folder, state):
    path = folder / "public.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 9}, path)
    return path


def build(imported, *more):
    """The network that a config and its overrides give, with the imported weights."""
    cfg = load_config(imported.config_file, [*imported.overrides, "MODEL.DEVICE", "cpu", *more])
    model = build_model(cfg).eval()
    left = model.load_state_dict(imported.state, strict=False)
    assert set(left.missing_keys) == set(imported.untouched) and not left.unexpected_keys
    return model


@torch.no_grad()
def agreement(tmp_path, state, rows, size=(64, 32), **options):
    """The least cosine of our embeddings to those of the public network's own operations."""
    imported = convert(read_checkpoint(save(tmp_path, state)))
    images = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(1))
    theirs = rows(state, images, **options)
    ours = build(imported).embed(images)
    return imported, cosines(ours, theirs).min().item()


CASES = {
    "strong-baseline": (strong_baseline, strong_baseline_rows, {}, {}),
    "strong-baseline IBN": (strong_baseline, strong_baseline_rows, {"ibn": True}, {"ibn": True}),
    "fast-reid BoT": (fast_reid, fast_reid_rows, {}, {}),
    "fast-reid BoT IBN": (fast_reid, fast_reid_rows, {"ibn": True}, {}),
    "fast-reid SBS": (fast_reid, fast_reid_rows, {"gem": True}, {}),
    "fast-reid of 2020": (fast_reid, fast_reid_rows, *[{"neck": "heads.bnneck"}] * 2),
    "torchreid": (torchreid, torchreid_rows, {}, {}),
    "torchreid fc512": (torchreid, torchreid_rows, {"projection": 24}, {}),
}


@pytest.mark.parametrize(
    "name",
    [
        # What these two have, others have as well.
        pytest.param(n, marks=pytest.mark.slow if n in ("fast-reid BoT IBN", "torchreid") else [])
        for n in CASES
    ],
)
def test_embeddings_are_those_of_the_public_networks_operations(tmp_path, name):
    make, rows, settings, options = CASES[name]
    # An odd number of cells in the stem: padding shows at both edges.
    imported, cosine = agreement(tmp_path, make(**settings), rows, (70, 38), **options)
    assert cosine > 1 - 1e-6
    count = sum(imported.placed.values()) + len(imported.passed_over) - 1  # the epoch
    assert count == len(make(**settings))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_full_size_networks_agree(tmp_path, name, monkeypatch):
    from reid_heads.backbones import resnet

    monkeypatch.setitem(resnet.NUM_BLOCKS, 50, (3, 4, 6, 3))
    make, rows, settings, options = CASES[name]
    if "projection" in settings:
        settings = {"projection": 512}
    state = make((3, 4, 6, 3), 64, 751, **settings)
    imported, cosine = agreement(tmp_path, state, rows, (256, 128), **options)
    print(f"{name}: 1 - cosine at most {1 - cosine:.1e}, {imported.placed}")
    assert "MODEL.RESNETS.DEPTH" not in imported.overrides
    assert cosine > 1 - 1e-6


def test_what_fast_reid_does_otherwise_matters(tmp_path):
    state = fast_reid()
    imported = convert(read_checkpoint(save(tmp_path, state)))
    images = torch.randn(3, 3, 70, 38, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = build(imported, "MODEL.CROP_REID.STEM_POOL", "padded").embed(images)
    assert cosines(ours, fast_reid_rows(state, images)).min() < 0.9999


def test_an_import_says_where_everything_went(tmp_path):
    imported = convert(read_checkpoint(save(tmp_path, fast_reid(gem=True))))
    assert imported.family == "fast-reid SBS or AGW"
    assert imported.placed["head"] == 5 and imported.placed["pooling"] == 1
    assert set(imported.passed_over) == {"epoch", "pixel_mean", "pixel_std", "heads.weight"}
    settings = dict(zip(imported.overrides[::2], imported.overrides[1::2], strict=True))
    assert settings["INPUT.REID.SIZE"] == "(384,128)"
    assert settings["INPUT.REID.INTERPOLATION"] == "bicubic"
    assert any("AGW" in note and "INPUT.REID.SIZE" in note for note in imported.notes)
    assert all(name.startswith("losses.") for name in imported.untouched)


def test_a_classifier_without_bias_is_placed_and_counted(tmp_path):
    imported = convert(read_checkpoint(save(tmp_path, strong_baseline(people=7))))
    assert imported.placed["classifier"] == 1
    assert "losses.losses.SOFTMAX.weights.0" in imported.state
    at = imported.overrides.index("MODEL.REID_HEAD.NUM_IDENTITIES")
    assert imported.overrides[at + 1] == "7"


def renamed(state, old, new):
    return {name.replace(old, new): value for name, value in state.items()}


def without(state, *names):
    return {name: value for name, value in state.items() if name not in names}


BROKEN = {
    "non-local": (lambda: fast_reid() | {"backbone.NL_2.0.g.weight": torch.ones(1)}, "non-local"),
    "reduced": (
        lambda: fast_reid() | {"heads.bottleneck.1.weight": torch.ones(1)},
        "EMBEDDING_DIM",
    ),
    "twice": (
        lambda: fast_reid() | {"heads.bnneck.weight": torch.ones(128)},
        r"both heads\.bottleneck\.0\.weight and heads\.bnneck\.weight",
    ),
    "squeeze": (
        lambda: strong_baseline() | {"base.layer1.0.se.fc.weight": torch.ones(1)},
        r"no place for base\.layer1\.0\.se\.fc\.weight",
    ),
    "lacking": (
        lambda: without(strong_baseline(), "base.layer2.0.conv2.weight"),
        r"nothing for backbone\.res3\.0\.conv2\.weight",
    ),
    "reshaped": (
        lambda: torchreid() | {"layer3.1.bn1.weight": torch.ones(3)},
        r"another shape: layer3\.1\.bn1\.weight is \(3,\) instead of \(16,\)",
    ),
    "another": (lambda: {"visual.conv1.weight": torch.ones(2)}, "no crop network .*visual.conv1"),
    "ImageNet": (lambda: resnet_state("", SHALLOW, 4).state, "no crop network"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_not_all_there_is_refused_by_name(tmp_path, kind):
    make, message = BROKEN[kind]
    with pytest.raises(ValueError, match=message):
        convert(read_checkpoint(save(tmp_path, make())))


def test_own_weights_are_of_nobody_else(tmp_path):
    imported = convert(read_checkpoint(save(tmp_path, strong_baseline())))
    assert recognise(imported.state) is None

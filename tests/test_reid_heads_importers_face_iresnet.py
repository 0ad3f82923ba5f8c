import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling import build_model
from helpers_public_weights import cosines, iresnet_rows, iresnet_state
from PIL import Image
from test_reid_heads_importers_crop_resnets import undrawn_weights  # noqa: F401

from reid_heads.backbones.iresnet import NUM_BLOCKS
from reid_heads.config import load_config
from reid_heads.crop_model import load_crop_model
from reid_heads.faces.command import main
from reid_heads.faces.models import load_face_model
from reid_heads.importers.checkpoint_file import read_checkpoint
from reid_heads.importers.crop_networks import convert, recognise
from reid_heads.training.checkpoint import WeightCopyCheckpointer

pytestmark = pytest.mark.usefixtures("undrawn_weights")


def save(folder, state):
    torch.save({f"module.{name}": value for name, value in state.items()}, folder / "backbone.pth")
    return folder / "backbone.pth"


def build(imported):
    cfg = load_config(imported.config_file, [*imported.overrides, "MODEL.DEVICE", "cpu"])
    model = build_model(cfg).eval()
    left = model.load_state_dict(imported.state, strict=False)
    assert left.missing_keys == imported.untouched == ["losses.losses.COSINE_SOFTMAX.weights.0"]
    assert not left.unexpected_keys
    return model


@torch.no_grad()
def agreement(path, state, count=3):
    imported = convert(read_checkpoint(path))
    assert sum(imported.placed.values()) == len(state) and not imported.passed_over
    images = torch.randn(count, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    rows = build(imported).features(images).embeddings
    return imported, cosines(rows, iresnet_rows(state, images)).min().item()


def test_embeddings_are_those_of_the_public_networks_operations(tmp_path):
    state = iresnet_state()
    imported, cosine = agreement(save(tmp_path, state), state)
    assert recognise(state) == "insightface IResNet" and imported.family == "insightface IResNet-18"
    assert cosine > 1 - 1e-6
    words = "MODEL.IRESNET.DEPTH 18 MODEL.IRESNET.CHANNELS (4,6,8,12) "
    assert " ".join(imported.overrides) == words + "MODEL.REID_HEAD.EMBEDDING_DIM 16"
    (note,) = imported.notes
    assert "aligned" in note


@pytest.mark.slow
@pytest.mark.parametrize("depth", NUM_BLOCKS)
def test_networks_of_every_published_depth_agree(tmp_path, depth):
    state = iresnet_state(NUM_BLOCKS[depth], (64, 128, 256, 512), 512)
    imported, cosine = agreement(save(tmp_path, state), state, count=2)
    print(f"{imported.family}: 1 - cosine at most {1 - cosine:.1e}, {imported.placed}")
    assert imported.family.endswith(f"-{depth}") and "CHANNELS" not in " ".join(imported.overrides)
    assert cosine > 1 - 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s | {"layer1.0.se.fc1.weight": torch.ones(1)}, r"place for layer1\.0\.se\.fc1"),
        (lambda s: s | {"fc.weight": torch.ones(16, 192)}, r"fc\.weight is \(16, 192\) instead of"),
        (lambda s: {k: v for k, v in s.items() if k[:4] != "bn2."}, r"nothing for head\.map_norm"),
    ],
)
def test_what_is_not_all_there_is_refused_by_name(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        convert(read_checkpoint(save(tmp_path, change(iresnet_state()))))


def test_a_depth_that_was_never_published_is_refused(tmp_path):
    state = {name: x for name, x in iresnet_state().items() if "layer3.1" not in name}
    message = r"of \(2, 2, 1, 2\) blocks a stage; expected one of the depths 18, 34, 50, 100"
    with pytest.raises(ValueError, match=message):
        convert(read_checkpoint(save(tmp_path, state)))


@torch.no_grad()
def test_faces_are_embedded_by_a_public_file_as_insightface_does(tmp_path):
    """RGB, (value - 127.5) / 127.5, and the mirror image's features added."""
    state = iresnet_state()
    path = str(save(tmp_path, state))
    faces = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    values = torch.tensor((faces.transpose(0, 3, 1, 2) - 127.5) / 127.5).float()
    expected = F.normalize(iresnet_rows(state, values) + iresnet_rows(state, values.flip(-1)))
    model = load_face_model(None, path, "cpu")
    np.testing.assert_allclose(model.embed(faces), expected, atol=1e-5)
    assert model.is_flip_tested and model.embedding_dim == 16
    # What evaluation and export embed is the same.
    found = load_crop_model(path, device="cpu").embed(list(faces))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_the_command_takes_a_public_file_without_a_config(tmp_path, capsys):
    path = save(tmp_path, iresnet_state())
    face = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    Image.fromarray(face).save(tmp_path / "a.png")
    two = ["--threshold", "0.9", "--device", "cpu", *[str(tmp_path / "a.png")] * 2]
    assert main(["verify", "--weights", str(path), *two]) == 0
    assert capsys.readouterr().out.startswith("the same person: similarity 1.0000")
    torch.save({"x": torch.ones(1)}, path)
    assert main(["verify", "--weights", str(path), *two]) == 2
    assert "is no public checkpoint that is known" in capsys.readouterr().err


@pytest.mark.slow
def test_training_starts_from_a_public_file(tmp_path):
    state = iresnet_state()
    imported = convert(read_checkpoint(save(tmp_path, state)))
    words = [*imported.overrides, "MODEL.DEVICE", "cpu", "MODEL.REID_HEAD.NUM_IDENTITIES", "3"]
    model = build_model(load_config(imported.config_file, words))
    WeightCopyCheckpointer(model).load(str(tmp_path / "backbone.pth"))
    assert torch.equal(model.backbone.res5[1].conv2.weight, state["layer4.1.conv2.weight"])
    assert torch.equal(model.head.project.weight, state["fc.weight"])

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from reid_heads.backbones.iresnet import IResNet, PreNormBlock
from reid_heads.config import load_config
from reid_heads.heads import FlattenHead, build_reid_head

CONFIG = "configs/faces/arcface_iresnet50.yaml"
# PyTorch 2.11 writes where it must not, on the CPU, in the backward pass of a 1x1 convolution of
# stride 2 over 4 channels that come last; over 8 and more it does not.
TINY = ["MODEL.IRESNET.DEPTH", "18", "MODEL.IRESNET.CHANNELS", "(8,8,12,16)"]
TINY += ["MODEL.DEVICE", "cpu"]
TINY += ["MODEL.REID_HEAD.EMBEDDING_DIM", "16", "MODEL.REID_HEAD.NUM_IDENTITIES", "4"]


@pytest.mark.parametrize(("side", "cells"), [(112, 7), (32, 2), (40, 3)])
def test_the_map_is_as_large_as_it_says(side, cells):
    net = IResNet(
        in_channels=3, channels=(4, 4, 4, 6), num_blocks=(1, 1, 1, 1), size=(side, 2 * side)
    ).eval()
    (shape,) = net.output_shape().values()
    given = net(torch.randn(2, 3, side, 2 * side))["res5"]
    assert (2, shape.channels, shape.height, shape.width) == given.shape
    assert (shape.height, shape.stride) == (cells, 16)


def test_a_block_adds_to_what_it_gets_and_has_no_nonlinearity_behind():
    block = PreNormBlock(4, 4, "BN").eval()
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(block(x), x)


def test_the_head_takes_maps_of_one_size_and_any_number():
    head = FlattenHead(in_channels=4, height=3, width=2, embedding_dim=5)
    assert not head.norm.weight.requires_grad and head.norm.bias.requires_grad
    for count in (0, 1, 3):
        maps = torch.randn(count, 4, 3, 2, requires_grad=True)
        rows = head(maps).embeddings
        assert rows.shape == (count, 5) and torch.isfinite(rows).all()
        rows.sum().backward()
        assert maps.grad is not None
    with pytest.raises(ValueError, match=r"got maps of \(2, 3\) cells, expected \(3, 2\)"):
        head(torch.zeros(1, 4, 2, 3))


def test_every_cell_counts_by_its_place():
    head = FlattenHead(in_channels=2, height=2, width=2, embedding_dim=3).eval()
    maps = torch.randn(1, 2, 2, 2)
    # Of a pooled map both would be the same.
    assert (head(maps).embeddings - head(maps.flip(-1)).embeddings).abs().max() > 1e-3


def test_settings_of_another_network_are_refused():
    for words, message in (
        (["MODEL.IRESNET.DEPTH", "20"], r"IRESNET\.DEPTH is 20; expected one of 18, 34, 50, 100"),
        (["MODEL.IRESNET.CHANNELS", "(8,8)"], r"IRESNET\.CHANNELS is \(8, 8\); expected four"),
    ):
        with pytest.raises(ValueError, match=message):
            build_model(load_config(CONFIG, [*TINY, *words]))
    cfg = load_config(CONFIG, TINY)
    with pytest.raises(ValueError, match="needs maps of one known size"):
        build_reid_head(cfg, ShapeSpec(channels=12, stride=16))
    with pytest.raises(ValueError, match=r"MODEL\.IRESNET\.DEPTH is 18, read by"):
        load_config("configs/drawn_faces/arcface.yaml", ["MODEL.IRESNET.DEPTH", "18"])


@pytest.mark.slow
def test_training_lowers_the_loss_of_a_batch():
    torch.manual_seed(0)
    words = [*TINY, "INPUT.REID.SIZE", "(32,32)", "MODEL.REID_HEAD.COSINE_SOFTMAX.SCALE", "8.0"]
    model = build_model(load_config(CONFIG, words)).train()
    generator = torch.Generator().manual_seed(0)
    batch = [
        {"image": torch.randint(256, (3, 32, 32), generator=generator), "person_id": k % 4}
        for k in range(8)
    ]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    with EventStorage():
        for _ in range(8):
            total = sum(model(batch).values())
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            losses.append(total.item())
    assert losses[-1] < 0.5 * losses[0]

import pytest
import torch
from conftest import undrawn
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from reid_heads.backbones.osnet import ChannelGate, OmniScaleBlock, OSNet
from reid_heads.config import load_config
from reid_heads.importers.crop_shapes import crop_net_state

TINY = ["MODEL.OSNET.CHANNELS", "(8,16,16,24)", "MODEL.REID_HEAD.EMBEDDING_DIM", "16"]


@pytest.mark.parametrize(
    ("name", "millions"),
    # Zhou et al., ICCV 2019, table 1 and section 4.3.
    [
        ("x0_25", 0.2),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (("x0_5", 0.6), ("x0_75", 1.3), ("x1_0", 2.2), ("ain_x1_0", 2.2))
        ),
    ],
)
def test_parameters_are_as_many_as_published(name, millions):
    with undrawn():
        state = crop_net_state(f"configs/market1501/osnet_{name}.yaml", [])
    counts = [
        value.numel()
        for key, value in state.items()
        if not key.startswith("losses.") and "running" not in key and "num_batches" not in key
    ]
    assert round(sum(counts) / 1e6, 1) == millions


@pytest.mark.parametrize("instance_norm", ["none", pytest.param("ibn", marks=pytest.mark.slow)])
def test_the_map_is_a_sixteenth(instance_norm):
    net = OSNet(in_channels=3, channels=(8, 16, 16, 24), instance_norm=instance_norm).eval()
    (shape,) = net.output_shape().values()
    given = net(torch.randn(2, 3, 64, 32))["conv5"]
    assert given.shape == (2, shape.channels, 64 // shape.stride, 32 // shape.stride)


def test_streams_see_three_to_nine_cells():
    """The receptive fields that give OSNet its name (section 3.2)."""
    block = OmniScaleBlock(4, 8, "BN").eval()
    x = torch.zeros(1, 2, 21, 21, requires_grad=True)
    seen = []
    for stream in block.streams:
        for layer in stream:
            torch.nn.init.ones_(layer.pointwise.weight)
            torch.nn.init.ones_(layer.depthwise.weight)
        (gradient,) = torch.autograd.grad(stream(x + 1)[0, :, 10, 10].sum(), x)
        seen.append(int((gradient[0, 0] != 0).any(0).sum()))
    assert seen == [3, 5, 7, 9]


def test_a_gate_weighs_whole_channels():
    gate = ChannelGate(4)
    x = torch.rand(2, 4, 5, 3) + 0.1
    shares = gate(x) / x
    assert torch.allclose(shares, shares.mean((2, 3), keepdim=True))
    assert ((shares > 0) & (shares < 1)).all()


@pytest.mark.slow
def test_training_lowers_the_loss_of_a_batch():
    torch.manual_seed(0)
    words = [*TINY, "MODEL.DEVICE", "cpu", "MODEL.REID_HEAD.NUM_IDENTITIES", "4"]
    model = build_model(load_config("configs/market1501/osnet_x0_25.yaml", words)).train()
    generator = torch.Generator().manual_seed(0)
    batch = [
        {"image": torch.randint(256, (3, 32, 16), generator=generator), "person_id": k % 4}
        for k in range(8)
    ]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    with EventStorage():
        for _ in range(12):
            total = sum(model(batch).values())
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            losses.append(total.item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": (8, 16, 18, 24)}, r"OSNET\.CHANNELS is \(8, 16, 18, 24\); expected four"),
        ({"channels": (8, 16, 24)}, "expected four numbers"),
        ({"instance_norm": "in"}, "INSTANCE_NORM is 'in'; expected one of 'none', 'ibn', 'ain'"),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        OSNet(**{"in_channels": 3, "channels": (8, 16, 16, 24)} | settings)

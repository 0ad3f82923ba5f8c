"""Made-up weights under the names of public crop networks, and what those networks make of them.

The forward passes use nothing of this project: torch's functions on the raw state dict, in the
order in which the public code applies them.
"""

import torch
import torch.nn.functional as F


class MadeUpWeights:
    """A state dict that grows: weights that keep the scale of what passes through them."""

    def __init__(self, seed=0):
        self.generator = torch.Generator().manual_seed(seed)
        self.state = {}

    def draw(self, *shape):
        return torch.randn(*shape, generator=self.generator)

    def conv(self, name, channels_out, channels_in, size=1, bias=False):
        spread = (2 / (channels_in * size * size)) ** 0.5
        self.state[f"{name}.weight"] = spread * self.draw(channels_out, channels_in, size, size)
        if bias:
            self.state[f"{name}.bias"] = 0.1 * self.draw(channels_out)

    def linear(self, name, size_out, size_in, bias=True):
        self.state[f"{name}.weight"] = self.draw(size_out, size_in) / size_in**0.5
        if bias:
            self.state[f"{name}.bias"] = 0.1 * self.draw(size_out)

    def norm(self, name, channels, has_statistics=True):
        self.state[f"{name}.weight"] = 1 + 0.2 * self.draw(channels)
        self.state[f"{name}.bias"] = 0.1 * self.draw(channels)
        if has_statistics:
            self.state[f"{name}.running_mean"] = 0.1 * self.draw(channels)
            self.state[f"{name}.running_var"] = 1 + 0.3 * self.draw(channels).abs()
            self.state[f"{name}.num_batches_tracked"] = torch.tensor(1000)

    def ibn(self, name, channels):
        self.norm(f"{name}.IN", channels // 2, has_statistics=False)
        self.norm(f"{name}.BN", channels - channels // 2)


def resnet_state(prefix, blocks=(3, 4, 6, 3), width=64, ibn=False, seed=0):
    """Weights of a ResNet of bottlenecks, as torchvision names them, behind a prefix."""
    made = MadeUpWeights(seed)
    made.conv(f"{prefix}conv1", width, 3, 7)
    made.norm(f"{prefix}bn1", width)
    channels = width
    for number, count in enumerate(blocks, 1):
        middle, out = width * 2 ** (number - 1), width * 2 ** (number + 1)
        for place in range(count):
            block = f"{prefix}layer{number}.{place}"
            sizes = [(middle, channels, 1), (middle, middle, 3), (out, middle, 1)]
            for i, (channels_out, channels_in, size) in enumerate(sizes, 1):
                made.conv(f"{block}.conv{i}", channels_out, channels_in, size)
                has_ibn = ibn and i == 1 and number < 4
                (made.ibn if has_ibn else made.norm)(f"{block}.bn{i}", channels_out)
            if place == 0:
                made.conv(f"{block}.downsample.0", out, channels)
                made.norm(f"{block}.downsample.1", out)
            channels = out
    return made


def batch_norm(state, name, x):
    """BatchNorm at test, IBN-a or instance normalisation, whichever has these names."""
    if f"{name}.IN.weight" in state:
        half = len(state[f"{name}.IN.weight"])
        first = instance_norm(state, f"{name}.IN", x[:, :half])
        return torch.cat([first, batch_norm(state, f"{name}.BN", x[:, half:])], 1)
    if f"{name}.running_mean" not in state:
        return instance_norm(state, name, x)
    weight, bias, mean, var = (
        state[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    return F.batch_norm(x, mean, var, weight, bias)


def instance_norm(state, name, x):
    return F.instance_norm(x, weight=state[f"{name}.weight"], bias=state[f"{name}.bias"])


def resnet_map(state, prefix, x, *, stem_relu, stem_pool, last_stride):
    """The last map of a ResNet; ``stem_pool`` are the arguments of its 3x3 pooling."""
    x = F.conv2d(x, state[f"{prefix}conv1.weight"], stride=2, padding=3)
    x = batch_norm(state, f"{prefix}bn1", x)
    x = F.max_pool2d(F.relu(x) if stem_relu else x, 3, 2, **stem_pool)
    for number in (1, 2, 3, 4):
        place = 0
        while f"{prefix}layer{number}.{place}.conv1.weight" in state:
            block = f"{prefix}layer{number}.{place}"
            stride = {1: 1, 2: 2, 3: 2, 4: last_stride}[number] if place == 0 else 1
            inner = x
            for i in (1, 2, 3):
                weight = state[f"{block}.conv{i}.weight"]
                own = {"stride": stride, "padding": 1} if i == 2 else {}
                inner = batch_norm(state, f"{block}.bn{i}", F.conv2d(inner, weight, **own))
                inner = F.relu(inner) if i < 3 else inner
            if place == 0:
                x = F.conv2d(x, state[f"{block}.downsample.0.weight"], stride=stride)
                x = batch_norm(state, f"{block}.downsample.1", x)
            x = F.relu(inner + x)
            place += 1
    return x


def cosines(ours, theirs):
    """The cosine of each pair of rows, in double precision."""
    return F.cosine_similarity(ours.double(), theirs.double())

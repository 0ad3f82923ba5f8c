"""Made-up weights under the names of public crop networks, and what those networks make of them.

The forward passes use nothing of this project: torch's functions on the raw state dict, in the
order in which the public code applies them.
"""

import itertools

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


# Which blocks of conv2, conv3 and conv4 have an instance normalisation.
_OSNET_INSTANCE_NORMS = {"": ((0, 0), (0, 0), (0, 0)), "ibn": ((1, 1), (0, 0), (0, 0))}
_OSNET_INSTANCE_NORMS["ain"] = ((1, 1), (0, 1), (1, 0))


def _osnet_layers(kind):
    """Of each stream the names of its light convolutions within a block."""
    if kind == "ain":
        return [[f"conv2.{t}.layers.{i}" for i in range(t + 1)] for t in range(4)]
    return [["conv2a"], *([f"conv2{c}.{i}" for i in range(t + 2)] for t, c in enumerate("bcd"))]


def osnet_state(channels=(8, 16, 16, 24), kind="", people=5, size=20, seed=0):
    """Weights of torchreid's OSNet; ``kind`` is "", "ibn" or "ain"."""
    made = MadeUpWeights(seed)
    made.conv("conv1.conv", channels[0], 3, 7)
    made.norm("conv1.bn", channels[0], has_statistics=not kind)
    before = channels[0]
    for number, out in zip((2, 3, 4), channels[1:], strict=True):
        for place in (0, 1):
            block, middle = f"conv{number}.{place}", out // 4
            made.conv(f"{block}.conv1.conv", middle, before)
            made.norm(f"{block}.conv1.bn", middle)
            for layer in itertools.chain(*_osnet_layers(kind)):
                made.conv(f"{block}.{layer}.conv1", middle, middle)
                made.conv(f"{block}.{layer}.conv2", middle, 1, 3)
                made.norm(f"{block}.{layer}.bn", middle)
            made.conv(f"{block}.gate.fc1", max(middle // 16, 1), middle, bias=True)
            made.conv(f"{block}.gate.fc2", middle, max(middle // 16, 1), bias=True)
            made.conv(f"{block}.conv3.conv", out, middle)
            has_instance_norm = _OSNET_INSTANCE_NORMS[kind][number - 2][place]
            if has_instance_norm:
                made.norm(f"{block}.IN", out, has_statistics=False)
            if kind != "ain" or not has_instance_norm:
                made.norm(f"{block}.conv3.bn", out)
            if before != out:
                made.conv(f"{block}.downsample.conv", out, before)
                made.norm(f"{block}.downsample.bn", out)
            before = out
        if number < 4:
            transition = f"pool{number}.0" if kind == "ain" else f"conv{number}.2.0"
            made.conv(f"{transition}.conv", out, out)
            made.norm(f"{transition}.bn", out)
    made.conv("conv5.conv", before, before)
    made.norm("conv5.bn", before)
    made.linear("fc.0", size, before)
    made.norm("fc.1", size)
    made.linear("classifier", people, size)
    return made.state


def osnet_rows(state, x, kind=""):
    """The features (B, D) that torchreid's OSNet compares, of normalised images."""

    def conv_norm_relu(name, x, **options):
        x = F.conv2d(x, state[f"{name}.conv.weight"], **options)
        return F.relu(batch_norm(state, f"{name}.bn", x))

    def gate(name, x):
        weights = x.mean((2, 3), keepdim=True)
        for layer in ("fc1", "fc2"):
            own = state[f"{name}.{layer}.weight"], state[f"{name}.{layer}.bias"]
            weights = F.conv2d(weights, *own)
            weights = F.relu(weights) if layer == "fc1" else weights.sigmoid()
        return weights * x

    x = F.max_pool2d(conv_norm_relu("conv1", x, stride=2, padding=3), 3, 2, 1)
    for number in (2, 3, 4):
        for place in (0, 1):
            block = f"conv{number}.{place}"
            reduced, total = conv_norm_relu(f"{block}.conv1", x), 0
            for layers in _osnet_layers(kind):
                stream = reduced
                for layer in layers:
                    stream = F.conv2d(stream, state[f"{block}.{layer}.conv1.weight"])
                    weight = state[f"{block}.{layer}.conv2.weight"]
                    stream = F.conv2d(stream, weight, padding=1, groups=len(weight))
                    stream = F.relu(batch_norm(state, f"{block}.{layer}.bn", stream))
                total = total + gate(f"{block}.gate", stream)
            total = F.conv2d(total, state[f"{block}.conv3.conv.weight"])
            if f"{block}.conv3.bn.weight" in state:
                total = batch_norm(state, f"{block}.conv3.bn", total)
            else:
                total = instance_norm(state, f"{block}.IN", total)
            if f"{block}.downsample.conv.weight" in state:
                x = F.conv2d(x, state[f"{block}.downsample.conv.weight"])
                x = batch_norm(state, f"{block}.downsample.bn", x)
            x = total + x
            if kind == "ibn" and f"{block}.IN.weight" in state:
                x = instance_norm(state, f"{block}.IN", x)
            x = F.relu(x)
        if number < 4:
            transition = f"pool{number}.0" if kind == "ain" else f"conv{number}.2.0"
            x = F.avg_pool2d(conv_norm_relu(transition, x), 2, 2)
    rows = conv_norm_relu("conv5", x).mean((2, 3))
    rows = F.linear(rows, state["fc.0.weight"], state["fc.0.bias"])
    return F.relu(batch_norm(state, "fc.1", rows))


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


def iresnet_state(blocks=(2, 2, 2, 2), channels=(4, 6, 8, 12), size=16, seed=0):
    """Weights of insightface's IResNet for faces of 112 x 112, as arcface_torch saves them."""
    made = MadeUpWeights(seed)

    def prelu(name, count):
        made.state[f"{name}.weight"] = 0.25 + 0.1 * made.draw(count)

    made.conv("conv1", channels[0], 3, 3)
    made.norm("bn1", channels[0])
    prelu("prelu", channels[0])
    before = channels[0]
    for stage, (own, count) in enumerate(zip(channels, blocks, strict=True), 1):
        for place in range(count):
            block = f"layer{stage}.{place}"
            made.norm(f"{block}.bn1", before)
            made.conv(f"{block}.conv1", own, before, 3)
            made.norm(f"{block}.bn2", own)
            prelu(f"{block}.prelu", own)
            made.conv(f"{block}.conv2", own, own, 3)
            made.norm(f"{block}.bn3", own)
            if place == 0:
                made.conv(f"{block}.downsample.0", own, before)
                made.norm(f"{block}.downsample.1", own)
            before = own
    made.norm("bn2", before)
    made.linear("fc", size, before * 49)
    made.norm("features", size)
    return made.state


def iresnet_rows(state, x):
    """The features (B, D) of insightface's IResNet, of normalised faces (B, 3, 112, 112)."""

    def conv_norm(conv, norm, x, **options):
        return batch_norm(state, norm, F.conv2d(x, state[f"{conv}.weight"], **options))

    x = F.prelu(conv_norm("conv1", "bn1", x, padding=1), state["prelu.weight"])
    for stage in (1, 2, 3, 4):
        place = 0
        while (block := f"layer{stage}.{place}") + ".conv1.weight" in state:
            stride = 1 if place else 2
            y = batch_norm(state, f"{block}.bn1", x)
            y = conv_norm(f"{block}.conv1", f"{block}.bn2", y, padding=1)
            y = F.prelu(y, state[f"{block}.prelu.weight"])
            y = conv_norm(f"{block}.conv2", f"{block}.bn3", y, padding=1, stride=stride)
            if place == 0:
                x = conv_norm(f"{block}.downsample.0", f"{block}.downsample.1", x, stride=2)
            x, place = x + y, place + 1
    x = batch_norm(state, "bn2", x).flatten(1)
    return batch_norm(state, "features", F.linear(x, state["fc.weight"], state["fc.bias"]))

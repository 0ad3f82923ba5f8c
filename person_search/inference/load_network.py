"""Load the network of a model that stands on its own, whatever runs it."""

from pathlib import Path
from typing import Protocol

from person_search.inference.model_card import ModelCard
from person_search.inference.network import Network


class StandaloneNetwork(Network, Protocol):
    """A network that says itself what it is."""

    threshold: float | None
    """Similarity, -1..1, from which on a match is probably right, where known."""

    card: ModelCard | None
    """What the model is, where its file says so."""


def load_network(
    path: Path,
    *,
    device: str | None = None,
    min_score: float | None = None,
    threads: int | None = None,
    max_callers: int = 1,
) -> StandaloneNetwork:
    """Load an export, or two steps.

    Args:
        path: an ONNX file, or ``model.json``.
        device: see `person_search.inference.onnx_network.OnnxNetwork`.
        min_score: least score of the people that a detector of two steps gives.
        threads: see `person_search.inference.onnx_network.OnnxNetwork`.
        max_callers: likewise, of two steps, too; see
            `person_search.inference.two_step.load_two_step`.

    Raises:
        FileNotFoundError: if a file is missing.
        ModuleNotFoundError: without a package that is needed.
        ValueError: if a file is none of these.
    """
    # Slow to import, and one is enough.
    if path.suffix == ".json":
        from person_search.inference.two_step_file import load_two_step_file

        return load_two_step_file(
            path, min_score=min_score, device=device, threads=threads, max_callers=max_callers
        )
    from person_search.inference.onnx_network import OnnxNetwork

    return OnnxNetwork(path, device=device, threads=threads, max_callers=max_callers)

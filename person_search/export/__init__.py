"""Write a trained model as one ONNX or TorchScript file that runs without this code."""

from person_search.export.command import add_arguments, run

__all__ = ["add_arguments", "run"]

"""Write a trained model as one ONNX or TorchScript file that runs without this code."""

"""What finds people's boxes for models of two steps: ONNX files and PyTorch's zoos."""

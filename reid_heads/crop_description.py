"""Where an exported crop net says what it is, for those who write it and those who read it."""

KEY = "reid_heads"
"""Of the ONNX file's metadata property that holds the description, JSON text."""
VERSION = 1
"""Raised when an older reader would misunderstand a file."""

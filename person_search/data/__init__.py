"""Data sets: loaders, search protocols and, in ``builtin``, their registration in detectron2.

Nothing is imported here: protocols are read without PyTorch.
"""

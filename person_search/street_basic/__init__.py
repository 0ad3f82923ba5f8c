"""A model of real people made from two packages of PyPI, without PyTorch."""

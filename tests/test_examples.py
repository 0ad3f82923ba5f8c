"""The examples in docstrings run, and give what stands below them."""

import doctest
import importlib
import inspect

import pytest
from test_layering import MODULES

WITH_EXAMPLES = sorted(n for n, path in MODULES.items() if ">>> " in path.read_text("utf-8"))
FLAGS = doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples(module):
    results = doctest.testmod(importlib.import_module(module), optionflags=FLAGS)
    assert results.attempted and not results.failed


def losses():
    package = importlib.import_module("reid_heads.losses")
    # Built from a config, as the guides show.
    return {n for n in package.__all__ if n != "ReIDLosses"}


def test_public_losses_and_heads_have_one():
    package = importlib.import_module("reid_heads.losses")
    for name in losses():
        assert ">>> " in inspect.getdoc(getattr(package, name)), name
    for name in ("bnneck", "embedding", "mgn", "norm_aware"):
        assert f"reid_heads.heads.{name}" in WITH_EXAMPLES

"""Random numbers of one sample."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def seeded(seed: int, draw: int | None) -> Iterator[None]:
    """Seed the global generators that detectron2's augmentations use, for one sample.

    Args:
        seed: of the training.
        draw: number of the draw (see ``samplers.py``), or None to leave the generators alone.
    """
    if draw is None:
        yield
        return
    numpy_state, python_state = np.random.get_state(), random.getstate()
    np.random.seed(np.random.SeedSequence([seed, draw]).generate_state(4))
    random.seed(f"{seed}/{draw}")
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)

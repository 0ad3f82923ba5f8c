"""The switch that keeps everything from the network."""

import os

VARIABLES = ("PERSON_SEARCH_OFFLINE", "HF_HUB_OFFLINE")
"""Ours, and that of Hugging Face, which other programs respect, too."""
_YES = ("1", "ON", "YES", "TRUE")
"""As Hugging Face reads its own."""


def offline_variable() -> str | None:
    """Return the variable of the environment that switches fetching off; None if none does."""
    return next((name for name in VARIABLES if os.environ.get(name, "").upper() in _YES), None)

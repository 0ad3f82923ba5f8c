"""Demonstrations for newcomers."""

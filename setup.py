"""For tools and people who look for this file; all of it stands in pyproject.toml."""

from setuptools import setup

setup()

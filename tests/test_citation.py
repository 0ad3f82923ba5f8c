"""CITATION.cff has what CFF 1.2.0 asks for, and agrees with pyproject.toml and the README."""

import tomllib

import yaml
from helpers_docs import PAGES, ROOT

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PERSON = {"family-names", "given-names"}


def is_author(author: dict) -> bool:
    """A person has a family name, an entity a name."""
    return set(author) == PERSON or set(author) == {"name"}


def test_the_required_fields_are_there():
    assert CITATION["cff-version"] == "1.2.0" and CITATION["type"] == "software"
    assert CITATION["message"] and CITATION["title"].startswith(PROJECT["name"])
    for work in (CITATION, *CITATION["references"]):
        assert work["title"] and work["authors"]
        assert all(is_author(author) for author in work["authors"]), work["title"]
    for reference in CITATION["references"]:
        assert reference["type"] in {"article", "conference-paper", "software"}
        assert type(reference["year"]) is int


def test_it_agrees_with_the_project():
    # YAML reads 0.10 as a number: a version stays text.
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["license"] == PROJECT["license"]


def test_it_cites_what_the_readme_cites():
    readme = " ".join(PAGES["README.md"].split())
    for reference in CITATION["references"]:
        assert reference["title"].lower() in readme.lower(), reference["title"]

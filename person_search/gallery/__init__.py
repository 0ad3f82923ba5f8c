"""Searching a gallery and showing what was found."""

from person_search.gallery.drawing import Ranking, draw_rankings
from person_search.gallery.match import Match

__all__ = ["Match", "Ranking", "draw_rankings"]

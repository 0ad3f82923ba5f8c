"""Galleries of footage: find and embed its people once, then ask where somebody is.

`index.GalleryIndex` keeps and searches, `searcher.PersonSearcher` runs the model, and
`indexing.index_footage` brings both together. Only what loads at once is imported here.
"""

from person_search.gallery.drawing import Ranking, draw_rankings
from person_search.gallery.match import Match

__all__ = ["Match", "Ranking", "draw_rankings"]

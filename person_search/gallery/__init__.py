"""Galleries of footage: find and embed its people once, then ask where somebody is.

`index.GalleryIndex` keeps and searches; `add_footage.index_footage` fills it with whom a
`person_search.inference.finder.PersonFinder` finds.
"""

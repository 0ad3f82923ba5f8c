"""Person search on detectron2: find a person in a gallery of panoramas, in one pass per frame."""

"""Augmentations of feature maps, inside the network."""

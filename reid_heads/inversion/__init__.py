"""Recover training images from a network's statistics."""

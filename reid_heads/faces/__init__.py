"""Faces: align, embed, verify, identify."""

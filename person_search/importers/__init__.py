"""Public checkpoints of person search networks, mapped to networks of this project."""

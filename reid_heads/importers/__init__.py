"""Public checkpoints of other projects, read safely and mapped to networks of this one."""

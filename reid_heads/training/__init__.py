"""The trainer, its hooks and solvers, checkpoints and launching."""

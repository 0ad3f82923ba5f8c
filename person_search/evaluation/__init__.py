"""Scorers of saved predictions, and the evaluator that writes them.

Nothing is imported here: everything but ``evaluator`` is plain NumPy and starts without torch.
"""

"""Evaluation of crop ReID: ranking, re-ranking, query expansion, and the evaluator that runs them.

Nothing is imported here: everything but ``evaluator`` is plain NumPy and starts without torch.
"""

"""Scorers of saved predictions, and the evaluator that writes them."""

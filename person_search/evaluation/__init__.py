"""Scorers of saved predictions, and the evaluator that writes them."""

from person_search.evaluation.context import ContextMatching
from person_search.evaluation.detection import evaluate_detection
from person_search.evaluation.evaluator import PersonSearchEvaluator
from person_search.evaluation.predictions import Predictions, load_predictions, save_predictions
from person_search.evaluation.rules import SearchRules
from person_search.evaluation.search import evaluate_search, search_each_query

__all__ = [
    "ContextMatching",
    "PersonSearchEvaluator",
    "Predictions",
    "SearchRules",
    "evaluate_detection",
    "evaluate_search",
    "load_predictions",
    "save_predictions",
    "search_each_query",
]

"""What becomes of a visitor's or a caller's mistake."""

from collections.abc import Callable
from functools import wraps
from typing import Any


def told(tell: Callable[[Exception], Any]) -> Callable[[Callable], Callable]:
    """Return a decorator that hands mistakes to ``tell``; other errors go on as they are.

    Args:
        tell: is given the mistake, a ValueError or OSError; what it returns, the decorated function
            returns.
    """

    def decorate(function: Callable) -> Callable:
        @wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except (ValueError, OSError) as error:
                return tell(error)

        # Gradio reads the signature for gr.EventData and gr.Progress; wraps() hands it on.
        return guarded

    return decorate

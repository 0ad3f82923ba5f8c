"""The guard before each function behind the page: it runs for those only whom its rule names."""

import inspect
import logging
from collections.abc import Callable
from functools import wraps
from html import escape
from typing import Any

import gradio as gr

from person_search.accounts.account import Account

from ..gradio_parts import current_scope, events_of
from ..mistakes import plain_message
from .callers import asker_of, calling
from .rules import refusal_of

logger = logging.getLogger(__name__)


def guard_events(app: gr.Blocks) -> None:
    """Let each function behind the page run for those only whom its rule names.

    Args:
        app: the page, with all its events.
    """
    for event in events_of(app):
        if event.fn is not None:
            event.fn = guarded(event.fn)


def name_of(function: Callable) -> str:
    """Return the name by which a function has its rule."""
    return str(getattr(inspect.unwrap(function), "__qualname__", repr(function)))


def guarded(function: Callable) -> Callable:
    """Return a function that runs for those whom its rule names, and says what went wrong.

    Raises:
        TypeError: it is asynchronous or a generator, which would run after the guard has gone.
    """
    inner = inspect.unwrap(function)
    if inspect.iscoroutinefunction(inner) or inspect.isgeneratorfunction(inner):
        raise TypeError(f"{name_of(function)} is asynchronous; expected a plain function")

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        account = _admitted(function)
        try:
            with calling(account):
                return function(*args, **kwargs)
        except gr.Error:
            raise
        except (ValueError, OSError) as error:
            # Browsers are shown it as HTML.
            raise gr.Error(escape(plain_message(error)), print_exception=False) from error
        except Exception as error:
            logger.exception("%s failed", name_of(function))
            raise gr.Error(
                "Something went wrong here; the server's log says what. Try again, or tell whoever "
                "runs this page.",
                print_exception=False,
            ) from error

    return run


def _admitted(function: Callable) -> Account | None:
    scope = current_scope()
    asker = None if scope is None else asker_of(scope)
    if asker is None:
        raise gr.Error("This request did not come through the door.", print_exception=False)
    if not asker.is_current():
        raise gr.Error(
            "You are not signed in any more: load the page again.", print_exception=False
        )
    refusal = refusal_of(name_of(function), asker.account)
    if refusal:
        raise gr.Error(escape(refusal), print_exception=False)
    return asker.account

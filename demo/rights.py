"""What the page offers to whoever looks at it: nothing that would be refused on use."""

from person_search.gallery.camera_groups import ALL_CAMERAS

from .door.callers import current_caller
from .door.rules import refusal_of


def may(function: str) -> bool:
    """Say whether the caller may use a function behind the page.

    Args:
        function: Its name in `demo.door.rules.EVENTS`.
    """
    return not refusal_of(function, current_caller())


def sees_all() -> bool:
    """Say whether the caller may see all cameras."""
    caller = current_caller()
    return caller is None or caller.cameras is None


def may_for_all(function: str) -> bool:
    """Say whether the caller may use a function that changes what is before any camera."""
    return may(function) and sees_all()


def check_sees_all(why: str = ALL_CAMERAS) -> None:
    """Refuse whoever does not see all cameras.

    Raises:
        ValueError: With what is said to them.
    """
    if not sees_all():
        raise ValueError(why)


def marks() -> str:
    """Return which tabs the caller may use, as `assets/style.css` reads it: others are hidden."""
    tabs = (("add", may("Handlers.add_footage")), ("admin", may("AdminHandlers.open")))
    return " ".join(name for name, is_shown in tabs if is_shown)

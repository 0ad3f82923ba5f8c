"""Whether the page can do its work, and what its operator must do where it cannot."""

import threading
import time
from typing import Any

import gradio as gr

from person_search.accounts.users import Users

from .gradio_parts import has_stopped, longest_running, restart_queue
from .mistakes import plain_message
from .service import Service
from .uploads import MODEL

STUCK_AFTER = 300.0
"""Seconds after which a model that works on one picture is said to be stuck."""
_CHECKED_FOR = 2.0
"""Seconds for which what was found of the galleries is said again: anybody may ask."""


class Health:
    """What is well and what is not, of one page.

    Args:
        app: the page.
        service: its model and galleries.
        users: who may come in, None for everybody.
    """

    def __init__(self, app: gr.Blocks, service: Service, users: Users | None) -> None:
        self._app, self._service, self._users = app, service, users
        self._turn = threading.Lock()
        self._checked, self._galleries = -_CHECKED_FOR, {"": "not checked"}
        self.restarts = 0
        """How often the queue had stopped."""

    def report(self, knows_all: bool) -> tuple[bool, dict[str, Any]]:
        """Return whether all is well, and what to say of it.

        Args:
            knows_all: whether whoever asks may know more than that.
        """
        galleries = self._check_galleries()
        faults = [said for said in galleries.values() if said != "ok"]
        if self._users is not None and self._users.fault:
            faults.append("nobody can sign in: the file of users is missing or damaged")
        if has_stopped(self._app):
            faults.append("the queue has stopped; it is started again within seconds")
        busy = longest_running(self._app, MODEL, time.time())
        if busy > STUCK_AFTER:
            faults.append(
                f"the model has worked on one picture for {busy:.0f} s; if that goes on, end the "
                "server and start it again: the galleries are complete"
            )
        said: dict[str, Any] = {"status": "degraded" if faults else "ok"}
        if knows_all:
            said |= {"faults": faults, "galleries": galleries, "queue_restarts": self.restarts}
        return not faults, said

    def keep_going(self) -> None:
        """Start what has stopped; called every second in the thread of the server."""
        if has_stopped(self._app) and self._app.is_running:
            self.restarts += 1
            restart_queue(self._app)

    def _check_galleries(self) -> dict[str, str]:
        with self._turn:
            now = time.monotonic()
            if now - self._checked >= _CHECKED_FOR:
                self._galleries = {label: self._check(label) for label in self._service.galleries}
                self._checked = now
            return self._galleries

    def _check(self, label: str) -> str:
        try:
            self._service.gallery(label)
        except (ValueError, OSError) as error:
            return plain_message(error)
        return "ok"

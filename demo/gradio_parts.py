"""What the page uses of Gradio beyond its public interface."""

import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import gradio as gr

from reid_heads.library_parts import Library

GRADIO = Library(
    "gradio",
    known="6.31.0",
    adapter="demo/gradio_parts.py",
    install="pip install gradio==6.31.0",
)
Take = Callable[[Any], Awaitable[str | None]]
"""What takes an uploaded file, or an address, into Gradio's own folder; gives the path there."""


def typed(hint: Any, default: Any) -> Any:
    """Return an input or output of an endpoint that has no part on the page.

    Args:
        hint: its type, for the description of the API.
        default: of an input.
    """
    schema = GRADIO.part("gradio_client.utils", "python_type_to_json_schema")
    return GRADIO.part("gradio.components.api_component", "Api")(default, schema(hint))


_arriving: ContextVar[list[Path]] = ContextVar("arriving")


@contextmanager
def arriving_files() -> Iterator[list[Path]]:
    """Tell which files an upload that is read within has begun to write."""
    files: list[Path] = []
    token = _arriving.set(files)
    try:
        yield files
    finally:
        _arriving.reset(token)


def separate_uploads() -> None:
    """Give each upload a place of its own.

    Gradio names the place by the content: a picture that two visitors send at once would be one
    file, which the first one's reading deletes.
    """

    class OwnUpload(GRADIO.part("gradio.route_utils", "GradioUploadFile")):
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            _arriving.get().append(Path(GRADIO.part(self, "file").name))
            GRADIO.part(self, "sha").update(secrets.token_bytes(16))

    # The parser of uploads takes the class from its module; there is no other way in.
    gr.route_utils.GradioUploadFile = OwnUpload


def take_files_alone() -> None:
    """Refuse uploads with other fields than files: Gradio keeps those in memory, whatever size."""
    parser = GRADIO.part("gradio.route_utils", "GradioMultiPartParser")
    refusal = GRADIO.part("gradio.route_utils", "MultiPartException")

    class FilesAlone(parser):
        def on_headers_finished(self) -> None:
            super().on_headers_finished()
            if GRADIO.part(self, "_current_part").file is None:
                raise refusal("Expected files alone, each with a name.")

    gr.route_utils.GradioMultiPartParser = FilesAlone


def guard_field(field: gr.File, guard: Callable[[Take], Take]) -> None:
    """Change how a file field takes files, and hand their paths on without a copy.

    Args:
        field: of the page. It is changed in place: Gradio writes a stub file beside the module of
            each subclass.
        guard: gets what takes a file and returns what is to take it instead.
    """
    files = GRADIO.part("gradio.data_classes", "ListFiles")
    take = GRADIO.part(field, "async_move_resource_to_block_cache")

    def take_paths(payload: Any) -> Any:
        # As Gradio does it, but for the empty file that it leaves behind for each upload.
        if isinstance(payload, files):
            return [file.path for file in payload]
        return None if payload is None else payload.path

    field.async_move_resource_to_block_cache = guard(take)
    field.preprocess = take_paths


def current_scope() -> dict[str, Any] | None:
    """Return the request (ASGI scope) that the running event came with, None outside of events."""
    context = GRADIO.part("gradio.context", "LocalContext")
    request = context.request.get(None)
    inner = getattr(request, "request", None)
    return None if inner is None else inner.scope


def events_of(app: gr.Blocks) -> list[Any]:
    """Return the events of a page: each with ``fn``, the function behind it."""
    return list(GRADIO.part(app, "fns").values())


def events_named(app: gr.Blocks, number: Any, api_name: str | None) -> list[Any]:
    """Return the events that a request asks for, as `events_of` does.

    Args:
        app: the page.
        number: Gradio's ``fn_index``, where the request has one.
        api_name: else its name among the endpoints.
    """
    events = GRADIO.part(app, "fns")
    if api_name is not None:
        # Gradio hides what is private from descriptions alone.
        public = [event for event in events.values() if event.api_visibility != "private"]
        return [event for event in public if event.api_name == api_name]
    return [events[number]] if isinstance(number, int) and number in events else []


def waiting_scopes(app: gr.Blocks) -> list[dict[str, Any]]:
    """Return the requests (ASGI scopes) whose events wait for their turn."""
    return [event.request.scope for line in _lines(app) for event in line.queue]


def take_turns(app: gr.Blocks, client: Callable[[dict[str, Any]], str]) -> None:
    """Let clients take turns: the first waiting event of each, then the second of each.

    Args:
        app: the page; to be called in the thread of its server.
        client: of a request (ASGI scope).
    """
    for line in _lines(app):
        seen: dict[str, int] = {}
        ranked = []
        for event in line.queue:
            name = client(event.request.scope)
            seen[name] = seen.get(name, 0) + 1
            ranked.append((seen[name], event))
        ranked.sort(key=lambda pair: pair[0])
        line.queue[:] = [event for _, event in ranked]


def page_of(app: gr.Blocks, event: str) -> str:
    """Return the session of the page that an event belongs to; its id where it stands for one.

    Args:
        app: the page; to be called in the thread of its server.
        event: the id, not heard of yet or unknown.
    """
    pending = GRADIO.part(_queue(app), "pending_event_ids_session")
    found = GRADIO.part(_queue(app), "event_ids_to_events").get(event)
    if found is not None:
        return str(found.session_hash)
    return next((page for page, events in pending.items() if event in events), event)


def forget_page(app: gr.Blocks, page: str, is_over: bool) -> None:
    """Forget a session of the page that nobody listens to any more: Gradio keeps it for ever.

    Args:
        app: the page; to be called in the thread of its server.
        page: Gradio's ``session_hash``, or the id of an event that stands for one. One with events
            that are not answered yet stays.
        is_over: whether nobody comes back to it, so that its state, a fifth of a megabyte, goes.
    """
    queue = _queue(app)
    pending = GRADIO.part(queue, "pending_event_ids_session")
    if pending.get(page):
        return
    pending.pop(page, None)
    GRADIO.part(queue, "pending_messages_per_session").pop(page, None)
    if is_over:
        states = GRADIO.part(app, "state_holder")
        with GRADIO.part(states, "lock"):
            GRADIO.part(states, "session_data").pop(page, None)
            GRADIO.part(states, "time_last_used").pop(page, None)


def has_stopped(app: gr.Blocks) -> bool:
    """Say whether the queue takes no events any more: an error in its own task ends it for good."""
    return bool(GRADIO.part(_queue(app), "stopped"))


def restart_queue(app: gr.Blocks) -> None:
    """Let a queue that has stopped go on; to be called in the thread of its server."""
    queue = _queue(app)
    queue.stopped = False
    for line in _lines(app):
        line.current_concurrency = 0
    queue.start()


def longest_running(app: gr.Blocks, line: str, now: float) -> float:
    """Return for how many seconds the oldest running event of a line has run; 0 if none runs.

    Args:
        app: the page.
        line: its ``concurrency_id``.
        now: seconds since 1970 (UTC).
    """
    found = GRADIO.part(_queue(app), "event_queue_per_concurrency_id").get(line)
    starts = [s for some in found.start_times_per_fn.values() for s in some] if found else []
    return now - min(starts) if starts else 0.0


def _queue(app: gr.Blocks) -> Any:
    return GRADIO.part(app, "_queue")


def _lines(app: gr.Blocks) -> list[Any]:
    return list(GRADIO.part(_queue(app), "event_queue_per_concurrency_id").values())

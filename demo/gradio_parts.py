"""What the page uses of Gradio beyond its public interface."""

import secrets
from collections.abc import Awaitable, Callable
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


def current_request() -> Any:
    """Return the request that an event is being answered for; None outside of one.

    Gradio hands it to handlers that ask for it by their signature; those deep inside ask here.
    """
    return GRADIO.part("gradio.context", "LocalContext").request.get(None)


def separate_uploads() -> None:
    """Give each upload a place of its own.

    Gradio names the place by the content: a picture that two visitors send at once would be one
    file, which the first one's reading deletes.
    """

    class OwnUpload(GRADIO.part("gradio.route_utils", "GradioUploadFile")):
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            GRADIO.part(self, "sha").update(secrets.token_bytes(16))

    # The parser of uploads takes the class from its module; there is no other way in.
    gr.route_utils.GradioUploadFile = OwnUpload


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

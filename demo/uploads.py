"""What may come in as a file: only what was uploaded, never an address to fetch."""

import secrets
from typing import Any

import gradio as gr
from gradio import route_utils
from gradio.data_classes import ListFiles
from starlette.responses import PlainTextResponse

MODEL = "model"
"""Events that run the model queue under this name, one at a time."""


class _OwnUpload(route_utils.GradioUploadFile):
    """An upload with a place of its own.

    Gradio names the place by the content: a picture that two visitors send at once would be one
    file, which the first one's reading deletes.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.sha.update(secrets.token_bytes(16))


# The parser of uploads takes the class from its module; there is no other way in (gradio is
# pinned, and a test sends the same picture fifty times at once).
route_utils.GradioUploadFile = _OwnUpload


def uploaded_file(**options: Any) -> gr.File:
    """Make a file field that refuses addresses, which Gradio would fetch from the internet.

    Args:
        options: of ``gr.File``.
    """
    field = gr.File(**options)
    take = field.async_move_resource_to_block_cache

    async def take_upload(url_or_file_path: Any) -> str | None:
        if "://" in str(url_or_file_path):
            raise gr.Error(
                f"{url_or_file_path} is a URL; expected an uploaded file: download it first",
                print_exception=False,
            )
        return await take(url_or_file_path)

    def take_paths(payload: Any) -> Any:
        # As Gradio does it, but for the empty file that it leaves behind for each upload.
        if isinstance(payload, ListFiles):
            return [file.path for file in payload]
        return None if payload is None else payload.path

    # Not a subclass: Gradio writes a stub file beside the module of each.
    field.async_move_resource_to_block_cache = take_upload
    field.preprocess = take_paths
    return field


class RefuseAddresses:
    """Answer 403 to Gradio's routes that fetch other servers' pages for a visitor."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        """Serve one request (ASGI)."""
        path = str(scope.get("path", ""))
        target = path.partition("/file=")[2] or path.partition("/proxy=")[2]
        if scope["type"] == "http" and (":/" in target or "/proxy=" in path):
            refusal = PlainTextResponse("This server fetches nothing.", status_code=403)
            return await refusal(scope, receive, send)
        return await self.app(scope, receive, send)

"""What may come in as a file: only what was uploaded, never an address to fetch."""

from typing import Any

import gradio as gr
from starlette.responses import PlainTextResponse

from .gradio_parts import Take, guard_field, separate_uploads

MODEL = "model"
"""Events that run the model queue under this name, one at a time."""


separate_uploads()


def uploaded_file(**options: Any) -> gr.File:
    """Make a file field that refuses addresses, which Gradio would fetch from the internet.

    Args:
        options: of ``gr.File``.
    """

    def guard(take: Take) -> Take:
        async def take_upload(url_or_file_path: Any) -> str | None:
            if "://" in str(url_or_file_path):
                raise gr.Error(
                    f"{url_or_file_path} is a URL; expected an uploaded file: download it first",
                    print_exception=False,
                )
            return await take(url_or_file_path)

        return take_upload

    field = gr.File(**options)
    guard_field(field, guard)
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

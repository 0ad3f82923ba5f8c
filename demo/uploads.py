"""What may come in as a file: only what was uploaded, never an address to fetch."""

import atexit
import tempfile
from contextlib import ExitStack
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from reid_heads.unfinished import unfinished

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
                said = escape(str(url_or_file_path))  # browsers are shown it as HTML
                raise gr.Error(
                    f"{said} is a URL; expected an uploaded file: download it first",
                    print_exception=False,
                )
            return await take(url_or_file_path)

        return take_upload

    field = gr.File(**options)
    guard_field(field, guard)
    return field


@cache
def upload_folder() -> str:
    """Return this process's folder of uploads, which goes with the process.

    Uploads lie in it until they are read and deleted. Those of a process that was killed go when
    the next one makes its folder.
    """
    stack = ExitStack()
    # Gradio gives no file out of a hidden folder.
    made = unfinished(Path(tempfile.gettempdir(), "uploads"), is_folder=True, is_hidden=False)
    folder = stack.enter_context(made)
    atexit.register(stack.close)
    return str(folder)

"""The tab that adds footage to a gallery."""

from typing import Any

import gradio as gr

from .handlers import Handlers
from .uploads import uploaded_file


def add_footage_tab(handlers: Handlers, gallery: gr.Dropdown) -> Any:
    """Fill the tab, within its ``with``; return the event after which the gallery is another one.

    Args:
        handlers: What happens.
        gallery: The one that is chosen.
    """
    gr.HTML(
        '<p class="ps-hint">Add images or videos to the gallery chosen above. They are kept on '
        "this computer beside the gallery, because matches show them.</p>",
        apply_default_css=False,
    )
    files = uploaded_file(
        file_count="multiple", file_types=["image", "video"], label="Images and videos", height=160,
        elem_id="footage",
    )  # fmt: skip
    with gr.Row():
        camera = gr.Textbox(
            label="Camera", placeholder="entrance", info="Optional; for filtering.", min_width=180,
            elem_id="camera",
        )  # fmt: skip
        begins = gr.Textbox(
            label="A video begins at", min_width=190, max_lines=1,
            info="Optional; date and time.", elem_id="begins",
        )  # fmt: skip
        every = gr.Number(
            1.0, label="Take a frame every … seconds", minimum=0.04, info="Of a video.",
            min_width=180, elem_id="every",
        )  # fmt: skip
    button = gr.Button("Add to the gallery", variant="primary", elem_id="add-button")
    report = gr.HTML(elem_id="report", min_height=90, apply_default_css=False)
    return button.click(
        handlers.add_footage, [files, gallery, camera, begins, every], [report, files],
        concurrency_id="index", concurrency_limit=1, api_visibility="private",
        show_progress="full", show_progress_on=report,
    )  # fmt: skip

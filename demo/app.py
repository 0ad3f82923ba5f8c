"""The page: choose a picture, click a person, look through the ranked matches.

`build_app` makes it, `launch_app` serves it with the settings that keep it private.
"""

import os
from pathlib import Path
from typing import Any

# Before gradio is imported: it asks its makers' server otherwise.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from fastapi import FastAPI
from starlette.middleware import Middleware

from person_search.accounts.users import Users

from . import actions, markup
from .activity import record_login
from .admin_tab import AdminHandlers, add_admin_tab
from .api import add_api
from .caller_line import show_caller
from .dialogs import Dialogs
from .door.callers import asker_of
from .door.door import Door, House
from .door.guard import guard_events, name_of
from .door.headers import Nonces
from .door.serving import housekeeping, listen, serve
from .door.settings import DoorSettings
from .footage_tab import add_footage_tab
from .gradio_parts import (
    arriving_files,
    events_named,
    forget_page,
    page_of,
    take_turns,
    waiting_scopes,
)
from .handlers import Handlers
from .health import Health
from .mistakes import hide_folder
from .people_tab import add_people_tab
from .pictures import show_whole
from .service import Service
from .uploads import MODEL, upload_folder, uploaded_file

ASSETS = Path(__file__).resolve().parent / "assets"
MAX_WAITING = 128
"""Requests that may wait; more are refused at once."""
FORGET_AFTER = 3600
"""Seconds after which a visitor's picture is forgotten."""
MOST_SESSIONS = 400
"""Visits whose pictures are kept at a time; the oldest are forgotten."""
QUIET = {"api_visibility": "private", "show_progress": "minimal"}
AGAIN = {**QUIET, "trigger_mode": "always_last"}
ON_MODEL = {**QUIET, "concurrency_id": MODEL, "concurrency_limit": 1}


def build_app(service: Service) -> gr.Blocks:
    """Make the page and its API.

    Args:
        service: the model and at least one gallery.
    """
    os.environ["GRADIO_TEMP_DIR"] = upload_folder()
    for shown in service.galleries.values():
        hide_folder(shown.footage.parent)
        if "://" not in shown.index.uri:
            hide_folder(Path(shown.index.uri).parent)
    handlers, dialogs, admin = Handlers(service), Dialogs(service), AdminHandlers(service)
    with gr.Blocks(
        title="Person search", delete_cache=(FORGET_AFTER, FORGET_AFTER), analytics_enabled=False
    ) as app:
        query = gr.State(None, time_to_live=FORGET_AFTER)
        gallery, summary = _head(service)
        blurred = _html(elem_id="blurred")
        caller = _html(elem_id="caller")
        with gr.Tabs():
            with gr.Tab("Search", id="search"), gr.Row(equal_height=False):
                with gr.Column(scale=5, min_width=340):
                    stage, picked = _picture_steps(service)
                with gr.Column(scale=6, min_width=340):
                    settings, clear, results, dialog, case = _match_step(service)
            changes = []
            if not service.blur:  # the tab shows everybody
                with gr.Tab("People", id="people") as people:
                    changes.append(
                        add_people_tab(service, people, gallery, query, dialogs, admin.erase, QUIET)
                    )
            with gr.Tab("Add footage", id="add"):
                changes.append(add_footage_tab(handlers, gallery))
            with gr.Tab("Admin", id="admin") as tab:
                changes.append(add_admin_tab(admin, tab, gallery, QUIET))
        _connect_picture(handlers, query, stage, picked, results, gallery, settings)
        _connect_matches(handlers, query, results, gallery, settings)
        _connect_dialogs(handlers, dialogs, query, results, dialog, gallery, settings)
        asked = [query, gallery, *settings]
        erased = dialog.erase(admin.erase, gallery, dialog, **QUIET, concurrency_limit=1)
        changes.append(erased.then(handlers.ask_again, asked, [query, results], **QUIET))
        gr.on(
            [clear.click, results.clear], handlers.clear, asked,
            [query, results, *settings[2:5]], **QUIET,
        )  # fmt: skip
        settings[-1].input(handlers.blur, asked, [query, results, stage, dialog, blurred], **QUIET)
        results.open(
            handlers.open_link, settings,
            [query, stage, results, gallery, *settings, summary, blurred], **ON_MODEL,
        )  # fmt: skip
        results.seek(handlers.seek, [gallery, *settings], [query, stage, results], **QUIET)
        summary.ask(handlers.ask_again, asked, [query, results], **AGAIN)
        results.export(handlers.export, [query, gallery], case, **QUIET, concurrency_limit=1)
        describe = {"fn": handlers.describe, "inputs": gallery, "outputs": [summary, settings[2]]}
        app.load(**describe, api_visibility="private", show_progress="hidden")
        app.load(show_caller, None, caller, api_visibility="private", show_progress="hidden")
        for change in changes:
            change.then(**describe, **QUIET)
        # Not where a link opens another one: that sets all fields itself.
        gallery.input(handlers.change_gallery, gallery, [summary, *settings[2:5]], **QUIET).then(
            handlers.ask_again, asked, [query, results], **QUIET
        )
        panel, fill_panel = add_api(service)
        app.load(fill_panel, None, panel, api_visibility="private", show_progress="hidden")
    guard_events(app)
    app.service = service
    return app.queue(max_size=MAX_WAITING, default_concurrency_limit=4)


def _head(service: Service) -> tuple:
    with gr.Row(elem_classes="ps-head"):
        with gr.Column(scale=5, min_width=280):
            _html(
                '<div class="ps-title"><h1>Person search</h1><p>Find one person in your own '
                "footage. Everything stays on the computer that runs this page.</p></div>"
            )
        with gr.Column(scale=6, min_width=280):
            labels = list(service.galleries)
            gallery = gr.Dropdown(
                labels, value=labels[0], label="Gallery", visible=len(labels) > 1,
                elem_id="gallery",
            )  # fmt: skip
            summary = _html(js_on_load=_script("times.js"), elem_id="summary")
    card = service.finder.card
    if card is not None and card.is_drawn:
        _html(markup.DRAWN_PEOPLE_ONLY, elem_id="model-note")
    return gallery, summary


def _html(value: str = "", **options: Any) -> gr.HTML:
    # Gradio's own style is for running text, and would restyle the buttons inside.
    return gr.HTML(value, apply_default_css=False, **options)


def _script(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _picture_steps(service: Service) -> tuple:
    _html(markup.step(1, "Picture", "of the person, alone or among others"))
    thumbnails = [show_whole(actions.open_picture(path), 240) for path in service.examples]
    examples = _html(
        markup.examples(thumbnails), js_on_load=_script("examples.js"), elem_id="examples",
        visible=bool(thumbnails),
    )  # fmt: skip
    upload = uploaded_file(
        file_types=["image"], label="Upload a picture (deleted as soon as it is read)", height=100,
        elem_id="upload",
    )  # fmt: skip
    _html(markup.step(2, "Person", "click one, or draw a box"))
    stage = _html(
        markup.NO_PICTURE, js_on_load=_script("stage.js"), elem_id="stage", min_height=100
    )
    with gr.Accordion("Type a box", open=False), gr.Row():
        text = gr.Textbox(
            label="x1, y1, x2, y2 in pixels of the picture", placeholder="420, 96, 500, 310",
            scale=4, min_width=180, elem_id="box",
        )  # fmt: skip
        button = gr.Button("Search this box", scale=1, min_width=120)
    return stage, (examples, upload, text, button)


def _match_step(service: Service) -> tuple:
    _html(markup.step(3, "Matches", "click one to see the whole frame"))
    calibrated = service.finder.threshold is not None
    origin = "from the model's calibration" if calibrated else "not calibrated for this model"
    with gr.Accordion("Filters and settings", open=False, elem_id="filters"):
        cameras = gr.Dropdown(
            [], multiselect=True, label="Cameras", info="None chosen: all.", elem_id="cameras"
        )
        with gr.Row():
            since, until = (
                gr.Textbox(label=label, min_width=190, max_lines=1, elem_id=label.lower())
                for label in ("From", "Until")
            )
        clear = gr.Button("Clear filters", size="sm", elem_id="clear-filters")
        ranked = gr.Radio(
            [("Stays", "appearance"), ("Frames", "frame"), ("Everybody", "person")],
            value="appearance", label="Rank", elem_id="ranked",
            info="A stay is one person before one camera, without a longer break.",
        )  # fmt: skip
        with gr.Row():
            threshold = gr.Slider(
                0, 1, service.threshold_at_start, step=0.001, label="Threshold", min_width=200,
                info=f"Above it a match is probably right; {origin}.", elem_id="threshold",
            )  # fmt: skip
            top = gr.Slider(
                1, actions.MAX_TOP, 12, step=1, label="Matches shown", min_width=200,
                info="At most this many, best first.", elem_id="top",
            )  # fmt: skip
        blur = gr.Checkbox(
            service.blur, label="Blur everybody else", interactive=not service.blur,
            info="Set by whoever runs this page." if service.blur else
            "Pictures and clips show only the person asked for.", elem_id="blur",
        )  # fmt: skip
    results = _html(
        markup.NO_SEARCH, js_on_load=_script("results.js"), elem_id="results", min_height=160
    )
    case = _html("", js_on_load=_script("download.js"), elem_id="case")
    dialog = _html("", js_on_load=_script("dialog.js"), elem_id="dialog")
    return [threshold, top, cameras, since, until, ranked, blur], clear, results, dialog, case


def _connect_picture(handlers, query, stage, picked, results, gallery, settings) -> None:
    examples, upload, text, button = picked
    shown = [query, stage, results]
    where = [gallery, *settings]
    examples.choose(handlers.choose_example, where, shown, **ON_MODEL)
    upload.upload(handlers.take_upload, [upload, *where], [*shown, upload], **ON_MODEL)
    asked = [query, *where]
    stage.pick(handlers.pick, asked, [query, results, stage], **QUIET)
    stage.draw(handlers.draw, asked, [query, results, stage], **ON_MODEL)
    gr.on(
        [button.click, text.submit], handlers.type_box, [query, text, *where],
        [query, results, stage], **ON_MODEL,
    )  # fmt: skip


def _connect_matches(handlers, query, results, gallery, settings) -> None:
    asked = [query, gallery, *settings]
    threshold, top, cameras, _, _, ranked, _ = settings
    # Not when a link or a button sets them: that asks by itself. Times: see assets/times.js.
    gr.on(
        [threshold.input, top.input, cameras.input, ranked.input],
        handlers.ask_again, asked, [query, results], **AGAIN,
    )  # fmt: skip
    results.forget(handlers.forget_added, asked, [query, results], **QUIET)
    results.undo(handlers.undo, asked, [query, results], **QUIET)


def _connect_dialogs(handlers, dialogs, query, results, dialog, gallery, settings) -> None:
    for event, act in (
        (results.show, dialogs.show),
        (dialog.show, dialogs.show),
        (dialog.stay, dialogs.show_stay),
        (dialog.play, dialogs.play),
    ):
        event(act, [query, gallery, settings[-1]], dialog, **QUIET)
    asked = [query, gallery, *settings]
    dialog.same(handlers.add_same, asked, [query, results], **QUIET)
    dialog.judge(handlers.judge, asked, [query, results], **QUIET)


def launch_app(
    app: gr.Blocks,
    *,
    port: int | None = 7860,
    users: Users | None = None,
    settings: DoorSettings | None = None,
) -> str:
    """Serve the page from another thread; return its address.

    Args:
        app: from `build_app`.
        port: None takes a free one.
        users: who may come in; None lets everybody in.
        settings: of the door; by default it is reached from this computer only.

    Raises:
        OSError: the port is taken.
    """
    settings = settings or DoorSettings()
    limits, uploads = settings.limits, Path(upload_folder())
    health = Health(app, app.service, users)
    watch = housekeeping(uploads, limits.kept_seconds, health.keep_going)
    # A visitor's picture stays in memory for an hour; so many at most.
    app.state_session_capacity = MOST_SESSIONS
    listener = listen(settings.host, port)
    port = listener.getsockname()[1]
    page = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=watch), app, path="",
        server_name=settings.host, server_port=port, max_file_size=limits.file_bytes,
        show_error=False, run_history=False, enable_monitoring=False, ssr_mode=False, pwa=False,
        mcp_server=False, allowed_paths=[], footer_links=[],
        theme=gr.themes.Default(
            primary_hue="blue", neutral_hue="slate", font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
        head=f"<style>{_script('style.css')}</style>",
        app_kwargs={
            "docs_url": None, "redoc_url": None, "openapi_url": None,
            "middleware": [Middleware(Nonces)],
        },
    )  # fmt: skip
    house = House(
        page,
        uploads,
        health.report,
        arriving_files,
        lambda number, name: [name_of(e.fn) for e in events_named(app, number, name) if e.fn],
        lambda client: sum(client == _client(scope) for scope in waiting_scopes(app)),
        lambda: take_turns(app, _client),
        lambda page, is_over: forget_page(app, page, is_over),
        lambda event: page_of(app, event),
        lambda user, done: record_login(
            map(app.service.gallery, app.service.galleries), user, done
        ),
    )
    # Gradio's `close` ends it.
    app.server = serve(Door(house, settings, port, users), settings, listener)
    app.is_running = True
    name = "localhost" if settings.host in ("0.0.0.0", "::") else settings.host
    return f"http://{name}:{port}/"


def _client(scope: dict[str, Any]) -> str:
    asker = asker_of(scope)
    return "" if asker is None else asker.client

"""The tab for admins: what is removed from a gallery, and who did what."""

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from person_search.accountability.activity_log import ActivityLog
from person_search.commands.log import entries_csv

from . import activity, admin_markup, removal
from .inputs import parse_optional_time
from .markup import note
from .mistakes import told
from .rights import check_sees_all
from .service import Gallery, Service

UNKNOWN = "camera unknown"
WHOLE_LOG = "the log tells of all cameras: only an admin who sees all of them reads it"
CHANGED = "the gallery has changed since you looked: look again at what would go"
_counter = iter(range(1 << 60))


def _say(error: Exception) -> str:
    return note(str(error), "error")


def _not_removed(error: Exception) -> str:
    gr.Warning(escape(str(error)), title="Not removed")
    return ""


class AdminHandlers:
    """The events of the tab."""

    def __init__(self, service: Service):
        self.service = service

    @told(lambda error: (gr.skip(), note(str(error), "error"), ""))
    def open(self, label: str) -> tuple:
        """Return the cameras to choose from, no removal, and no log."""
        info = self.service.gallery(label).index.info()
        known = sum(info.cameras.values())
        cameras = [*info.cameras, *([UNKNOWN] if known < info.frames else [])]
        return gr.update(choices=cameras, value=None), "", ""

    @told(_say)
    def plan(self, label: str, camera: str | None, until: str) -> str:
        """Say what would be removed, and ask."""
        gallery = self.service.gallery(label)
        names = self._frames(gallery, camera, until)
        what = f"of {camera}" + (f" up to {until.replace('T', ' ')}" if until else "")
        return admin_markup.plan_note(removal.plan(gallery, names), what, camera or "", until or "")

    @told(_say)
    def remove(self, event: gr.EventData, label: str) -> str:
        """Remove frames of a camera, if they are as many as were shown."""
        gallery = self.service.gallery(label)
        names = self._frames(gallery, str(event.camera), str(event.until))
        if len(names) != int(event.count):
            raise ValueError(CHANGED)
        return note(admin_markup.removed_text(removal.remove_frames(gallery, names)), "good")

    @told(_not_removed)
    def erase(self, event: gr.EventData, label: str) -> str:
        """Remove the sights of a stay, or of a group, and say so; returns no dialog."""
        check_sees_all()
        gallery, stays = self.service.gallery(label), [int(event.number)]
        if event.kind == "group":
            group = gallery.index.appearances.groups.get(stays[0])
            stays = [one.id for one in group.appearances]
        gone = removal.remove_stays(gallery, stays)
        gr.Info(escape(admin_markup.removed_text(gone, is_person=True)), title="Done")
        return ""

    @told(_say)
    def log(self, label: str) -> str:
        """Show the last entries of the log; that is logged, too."""
        log = self._log(label)
        entries = log.entries()
        if entries:
            user = activity.current_user()
            log.record("log show", user=user, via=activity.PAGE, entries=len(entries))
        return admin_markup.log_table(entries, log.is_on)

    @told(_say)
    def verify(self, label: str) -> str:
        """Say whether the log is as it was written."""
        return admin_markup.verified(self._log(label).verify())

    @told(_say)
    def export(self, label: str) -> str:
        """Hand the whole log out as a table; that is logged, too."""
        log = self._log(label)
        entries = log.entries()
        if not entries:
            return note(admin_markup.NO_LOG)
        user = activity.current_user()
        log.record("log export", user=user, via=activity.PAGE, entries=len(entries))
        name = f"{log.path.stem}.csv"
        return admin_markup.download(entries_csv(entries), name, len(entries), next(_counter))

    def _log(self, label: str) -> ActivityLog:
        check_sees_all(WHOLE_LOG)
        return ActivityLog(self.service.gallery(label).index)

    def _frames(self, gallery: Gallery, camera: str | None, until: str) -> list[str]:
        if not camera:
            raise ValueError("nothing says which frames: choose a camera first")
        end = parse_optional_time(until, end=True)
        return removal.find_frames(gallery, "" if camera == UNKNOWN else camera, end)


def add_admin_tab(handlers: AdminHandlers, tab: gr.Tab, gallery: gr.Dropdown, quiet: dict) -> Any:
    """Fill the tab, within its ``with``; return the event after which the gallery is another one.

    Args:
        handlers: What happens.
        tab: It is filled when it is selected.
        gallery: The one that is chosen.
        quiet: Options of events.
    """
    assets = Path(__file__).resolve().parent / "assets"
    scripts = {n: (assets / f"{n}.js").read_text(encoding="utf-8") for n in ("admin", "download")}
    plain: dict[str, Any] = {"apply_default_css": False}
    gr.HTML('<h2 class="ps-step">Remove</h2>', **plain)
    with gr.Row():
        camera = gr.Dropdown([], value=None, label="Camera", elem_id="remove-camera", min_width=180)
        until = gr.Textbox(
            label="Up to", placeholder="2026-05-04 or 2026-05-04T18:00:00", min_width=190,
            max_lines=1, info="Optional; frames without a time stay then.", elem_id="remove-until",
        )  # fmt: skip
    look = gr.Button("Show what would go", size="sm", elem_id="remove-plan")
    said = gr.HTML("", js_on_load=scripts["admin"], elem_id="removal", **plain)
    gr.HTML(
        '<p class="ps-hint">One person is removed in the dialog of a stay, or of a group of the '
        "tab People.</p>"
        '<h2 class="ps-step">Activity</h2><p class="ps-hint">Who did what with this gallery.</p>',
        **plain,
    )
    with gr.Row():
        buttons = [
            gr.Button(text, size="sm", min_width=120, elem_id=f"log-{name}")
            for name, text in (
                ("show", "Show the log"), ("verify", "Verify"), ("export", "Export as CSV"),
            )
        ]  # fmt: skip
    log = gr.HTML("", js_on_load=scripts["download"], elem_id="log", min_height=60, **plain)
    opened = [camera, said, log]
    gr.on([tab.select, gallery.change], handlers.open, gallery, opened, **quiet)
    look.click(handlers.plan, [gallery, camera, until], said, **quiet)
    # "/remove" and "/log" are the API's.
    acts = {"show_log": handlers.log, "verify": handlers.verify, "export": handlers.export}
    for button, (name, act) in zip(buttons, acts.items(), strict=True):
        button.click(act, gallery, log, **quiet, api_name=f"admin_{name}")
    return said.remove(
        handlers.remove, gallery, said, **quiet, concurrency_limit=1, api_name="admin_remove"
    )

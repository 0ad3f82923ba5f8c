"""The tab of people whom nobody asked about: its parts, and what happens on it."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from person_search.accountability.uses import Use
from person_search.people import Match

from . import activity
from .groups import MOST_STAYS, NOBODY, group_dialog, group_rows, nobody_dialog
from .markup import escape, note
from .mistakes import plain_message, told
from .rights import may_for_all
from .service import Service

if TYPE_CHECKING:
    from person_search.gallery.groups import GalleryGroups
    from person_search.gallery.index import GalleryIndex
    from person_search.gallery.rows import Group

PAGE = 24
"""Groups that are shown at first, and more at a time: each is a picture cut from its frame."""
_serials = itertools.count()


def _warn(error: Exception) -> Any:
    gr.Warning(escape(str(error)), title="Not done")
    return gr.skip()


class PeopleHandlers:
    """The events of the tab. ``shown`` is how many groups are shown."""

    def __init__(self, service: Service):
        self.service = service

    def open(self, label: str, shown: int) -> tuple:
        """Group what is new; return the rows, and how the gallery is grouped."""
        index = self.service.gallery(label).index
        if not index.has_appearances:
            return note("A gallery on a server keeps no stays, and cannot group them."), *[
                gr.skip()
            ] * 2
        try:
            groups = index.appearances.groups
            groups.refresh(None if groups.options else self.service.threshold)
            options = groups.options
            if options is None:
                return NOBODY, gr.skip(), gr.skip()
            fields = _settings(round(options.threshold, 2), options.across_days)
            return self._rows(index, shown), *fields
        except (ValueError, OSError) as error:
            return note(plain_message(error), "error"), gr.skip(), gr.skip()

    @told(_warn)
    def group(self, label: str, shown: int, threshold: float, across_days: bool) -> str:
        """Group everything with other settings."""
        index = self.service.gallery(label).index
        index.appearances.groups.refresh(float(threshold), across_days=across_days)
        return self._rows(index, shown)

    @told(lambda error: (_warn(error), gr.skip()))
    def more(self, label: str, shown: int) -> tuple:
        """Show more groups."""
        return self._rows(self.service.gallery(label).index, shown + PAGE), shown + PAGE

    @told(_warn)
    def show(self, event: gr.EventData, label: str) -> str:
        """Show one group."""
        return self._dialog(self.service.gallery(label).index, int(event.group))

    @told(lambda error: (_warn(error), gr.skip()))
    def name(self, event: gr.EventData, label: str, shown: int) -> tuple:
        """Name a group."""
        number, name = int(event.group), str(event.name)
        use = self._use(label, "name", number)
        return self._after(label, shown, use, lambda groups: groups.name(number, name))

    @told(lambda error: (_warn(error), gr.skip()))
    def split(self, event: gr.EventData, label: str, shown: int) -> tuple:
        """Split stays from a group."""
        number, stays = int(event.group), [int(i) for i in event.stays]
        use = self._use(label, "split", number, *stays)
        return self._after(
            label, shown, use, lambda groups: (groups.split(number, stays), number)[1]
        )

    @told(lambda error: (_warn(error), gr.skip()))
    def move(self, event: gr.EventData, label: str, shown: int) -> tuple:
        """Move stays to another group, and show that."""
        into, stays = int(event.into), [int(i) for i in event.stays]
        use = self._use(label, "move", *stays, into)
        return self._after(label, shown, use, lambda groups: groups.move(stays, into))

    @told(_warn)
    def merge(self, event: gr.EventData, label: str, shown: int) -> str:
        """Merge groups."""
        index = self.service.gallery(label).index
        numbers = [int(number) for number in event.groups]
        with self._use(label, "merge", *numbers):
            index.appearances.groups.merge(numbers)
        return self._rows(index, shown)

    @told(_warn)
    def call_nobody(self, event: gr.EventData, label: str, shown: int) -> str:
        """Say that groups are not people."""
        index, numbers = self.service.gallery(label).index, [int(one) for one in event.groups]
        with self._use(label, "nobody", *numbers):
            index.appearances.groups.call_nobody(numbers)
        return self._rows(index, shown)

    @told(lambda error: (_warn(error), gr.skip()))
    def call_stays_nobody(self, event: gr.EventData, label: str, shown: int) -> tuple:
        """Say that stays of a group are not people; show what is left of it."""
        index, number = self.service.gallery(label).index, int(event.group)
        with self._use(label, "nobody", number):
            index.appearances.groups.call_stays_nobody([int(i) for i in event.stays])
        is_left = any(group.number == number for group in index.appearances.groups.all())
        return self._rows(index, shown), self._dialog(index, number) if is_left else ""

    @told(_warn)
    def show_nobody(self, label: str) -> str:
        """Show what was called nobody."""
        activity.begin(self.service.gallery(label), "view people").end()
        return self._nobody_dialog(self.service.gallery(label).index)

    @told(lambda error: (_warn(error), gr.skip()))
    def call_somebody(self, event: gr.EventData, label: str, shown: int) -> tuple:
        """Say that a group is a person after all."""
        index = self.service.gallery(label).index
        with self._use(label, "somebody", int(event.group)):
            index.appearances.groups.call_nobody([int(event.group)], False)
        return self._rows(index, shown), self._nobody_dialog(index)

    @told(_warn)
    def undo(self, label: str, shown: int) -> str:
        """Undo what was done last by hand."""
        index = self.service.gallery(label).index
        with self._use(label, "undo"):
            done = index.appearances.groups.undo()
        gr.Info("Nothing to undo" if done is None else f"Undone: {escape(done)}")
        return self._rows(index, shown)

    def _use(self, label: str, action: str, *numbers: int) -> Use:
        """Begin a use; what is refused within it is logged as failed."""
        use = activity.begin(self.service.gallery(label), f"people {action}")
        return use.said(words=[str(number) for number in numbers])

    def _after(
        self, label: str, shown: int, use: Use, act: "Callable[[GalleryGroups], int]"
    ) -> tuple:
        """Do something; return the rows, and the dialog of the group that it gave."""
        index = self.service.gallery(label).index
        with use:
            number = act(index.appearances.groups)
        return self._rows(index, shown), self._dialog(index, number)

    def _rows(self, index: "GalleryIndex", shown: int) -> str:
        # Whoever was seen in one frame only comes after all others but the doubtful.
        groups = sorted(
            index.appearances.groups.all(),
            key=lambda g: (g.is_doubtful, g.frames < 2 and not g.is_said),
        )
        sure = [group for group in groups if not group.is_doubtful]
        pictures = _pictures(index, [*sure[:shown], *groups[len(sure) :][:shown]])
        use = activity.begin_on(index, "view people").showed(pictures.values())
        use.said(groups=list(pictures)).end()
        is_calibrated = self.service.finder.threshold is not None
        hidden = len(index.appearances.groups.all(nobody=True))
        return group_rows(groups, pictures, shown, is_calibrated, hidden)

    def _nobody_dialog(self, index: "GalleryIndex") -> str:
        groups = index.appearances.groups.all(nobody=True)
        if not groups:
            return ""
        return nobody_dialog(groups, _pictures(index, groups[:MOST_STAYS]), next(_serials))

    def _dialog(self, index: "GalleryIndex", number: int) -> str:
        group = index.appearances.groups.get(number)
        others = [g for g in index.appearances.groups.all() if g.number != number]
        stays = [index.appearances.get(one.id) for one in group.appearances[:MOST_STAYS]]
        activity.begin_on(index, "people show").showed_stays(stays).said(words=[str(number)]).end()
        return group_dialog(group, stays, others, next(_serials))


def _settings(threshold: float, across_days: bool) -> tuple:
    """Show how the gallery is grouped; whoever may not change that cannot."""
    if may_for_all("PeopleHandlers.group"):
        return threshold, across_days
    return tuple(
        gr.update(value=value, interactive=False, info="For editors who see all cameras.")
        for value in (threshold, across_days)
    )


def _pictures(index: "GalleryIndex", groups: "Sequence[Group]") -> dict[int, Match]:
    return {group.number: index.appearances.get(group.best).best for group in groups}


def add_people_tab(
    service: Service,
    tab: gr.Tab,
    gallery: gr.Dropdown,
    query: gr.State,
    stays: Any,
    erase: Callable,
    quiet: dict,
) -> Any:
    """Fill the tab, within its ``with``; return the event after which somebody was removed.

    Args:
        service: the model and the galleries.
        tab: it groups and lists when it is selected.
        gallery: the one that is chosen.
        query: of the search, which the dialog of a stay is handed.
        stays: handlers with ``show_stay`` and ``play``.
        erase: handler that removes the person of a dialog from the gallery.
        quiet: options of events.
    """
    assets = Path(__file__).resolve().parent / "assets"
    scripts = {n: (assets / f"{n}.js").read_text(encoding="utf-8") for n in ("groups", "dialog")}
    plain: dict[str, Any] = {"apply_default_css": False}
    gr.HTML('<p class="ps-hint">Who was here, how often, when and with whom.</p>', **plain)
    with gr.Accordion("How stays are grouped", open=False), gr.Row():
        threshold = gr.Slider(
            0, 1, round(service.threshold, 2), step=0.01, label="Least similarity",
            info="Lower: fewer, larger groups. What you said of groups stays.",
            elem_id="group-threshold",
        )  # fmt: skip
        across_days = gr.Checkbox(
            False, label="Join days", info="Off: each day by itself, as clothes change.",
            elem_id="across-days",
        )  # fmt: skip
    shown = gr.State(PAGE)
    rows = gr.HTML(NOBODY, js_on_load=scripts["groups"], elem_id="groups", min_height=160, **plain)
    dialog = gr.HTML(
        "", js_on_load=scripts["dialog"] + scripts["groups"], elem_id="group-dialog", **plain
    )
    handlers = PeopleHandlers(service)
    opened = [rows, threshold, across_days]
    tab.select(handlers.open, [gallery, shown], opened, **quiet)
    gallery.change(lambda: NOBODY, None, rows, **quiet)
    gr.on(
        [threshold.input, across_days.input], handlers.group,
        [gallery, shown, threshold, across_days], rows, trigger_mode="always_last", **quiet,
    )  # fmt: skip
    rows.more(handlers.more, [gallery, shown], [rows, shown], **quiet)
    rows.group(handlers.show, gallery, dialog, **quiet)
    rows.merge(handlers.merge, [gallery, shown], rows, **quiet)
    rows.nobody(handlers.call_nobody, [gallery, shown], rows, **quiet)
    rows.hidden(handlers.show_nobody, gallery, dialog, **quiet)
    rows.undo(handlers.undo, [gallery, shown], rows, **quiet)
    for event, act in (
        (dialog.name, handlers.name),
        (dialog.split, handlers.split),
        (dialog.move, handlers.move),
        (dialog.nobody, handlers.call_stays_nobody),
        (dialog.somebody, handlers.call_somebody),
    ):
        event(act, [gallery, shown], [rows, dialog], **quiet)
    dialog.stay(stays.show_stay, [query, gallery], dialog, **quiet)
    dialog.play(stays.play, [query, gallery], dialog, **quiet)
    removed = dialog.erase(erase, gallery, dialog, **quiet, concurrency_limit=1)
    return removed.then(handlers.open, [gallery, shown], opened, **quiet)

"""What happens on the page: thin functions between Gradio's events and `demo.actions`."""

from dataclasses import fields, replace
from typing import Any

import gradio as gr
import numpy as np

from person_search.footage.files import FootageOptions
from person_search.gallery.summary import GalleryInfo

from . import actions, activity, additions, case_download, gallery_markup, markup, results_markup
from .actions import Query, SearchSettings, Source
from .dialogs import match_at, needed, serials, warn
from .inputs import Fields, parse_box, parse_filter, parse_optional_time
from .links import open_person, open_query, parse_link
from .mistakes import plain_message, told
from .service import Service


def _not_exported(error: Exception) -> str:
    """Show a mistake as a warning, and make the button ready again."""
    gr.Warning(markup.escape(str(error)), title="Not exported")
    return case_download.nothing_to_download(next(serials))


def _no_link(error: Exception) -> tuple:
    """Say in place of the results why a link cannot be opened."""
    said = markup.note(f"This link cannot be opened: {error}.", "error")
    return None, markup.NO_PICTURE, said, *[gr.skip()] * 10


class Handlers:
    """The page's events, for one set of galleries.

    Gradio hands an event's data over by place: it comes before ``*settings``.
    """

    def __init__(self, service: Service):
        self.service = service

    # Step 1.

    @told(warn)
    def choose_example(self, event: gr.EventData, label: str, *settings: Any) -> tuple:
        """Take one of the example pictures."""
        number = int(event.number)
        if not 0 <= number < len(self.service.examples):
            raise ValueError(f"no example {number}")
        path = self.service.examples[number]
        source = Source("example", path.name)
        return self._look_at(actions.open_picture(path), label, settings, source)

    def take_upload(self, file: str | None, label: str, *settings: Any) -> tuple:
        """Take an uploaded picture; its file is gone afterwards.

        Returns:
            The query, the stage, the results, and None, which empties the upload field.
        """
        if file is None:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        try:
            image = actions.open_picture(actions.read_upload(file))
        except (ValueError, OSError) as error:
            return None, markup.note(plain_message(error), "error"), markup.NO_SEARCH, None
        return (*self._look_at(image, label, settings), None)

    def _look_at(
        self, image: np.ndarray, label: str, settings: tuple, source: Source | None = None
    ) -> tuple:
        """Show who is in a picture, and search for them where only one person can be meant."""
        query, results = actions.look_at(self.service.finder, image), markup.NO_SEARCH
        query = replace(query, source=source)
        if query.box is not None:
            try:
                query, results = self._ask(query, label, settings)
            except ValueError as error:  # in the settings; the picture stays
                results = markup.note(plain_message(error), "error")
        return query, markup.stage(query), results

    # Step 2.

    @told(warn)
    def pick(self, event: gr.EventData, query: Query | None, label: str, *settings: Any) -> tuple:
        """Search for one of the people found.

        Returns:
            The query, the results, and the stage, where that shows others blurred.
        """
        query = needed(query)
        query = query.asking_for(query.people.numbered(int(event.number)))
        query, results = self._ask(query, label, settings)
        return query, results, self._stage(query, settings)

    @told(warn)
    def draw(self, event: gr.EventData, query: Query | None, label: str, *settings: Any) -> tuple:
        """Search for whoever is in a box drawn on the picture; returns as `pick` does."""
        query = needed(query)
        person = actions.choose_one(self.service.finder, query.image, box=event.box)
        query, results = self._ask(query.asking_for(person), label, settings)
        return query, results, self._stage(query, settings)

    def _stage(self, query: Query, settings: tuple) -> Any:
        """Show the picture anew where others on it are blurred, as they are others now."""
        is_blurred = self.service.is_blurred(Fields(*settings).blur)
        is_own = query.source is None or query.source.kind != "frame"
        return gr.skip() if is_own or not is_blurred else markup.stage(query, True)

    @told(warn)
    def type_box(self, query: Query | None, text: str, label: str, *settings: Any) -> tuple:
        """Search for whoever is in a box typed as numbers.

        Returns:
            The query, the results, and the stage, which shows the box.
        """
        query = needed(query)
        person = actions.choose_one(self.service.finder, query.image, box=parse_box(text))
        chosen = query.asking_for(person)
        is_blurred = self.service.is_blurred(Fields(*settings).blur)
        return (*self._ask(chosen, label, settings), markup.stage(chosen, is_blurred))

    # Step 3.

    @told(warn)
    def ask_again(self, query: Query | None, label: str, *settings: Any) -> tuple:
        """Search again with other settings or in another gallery."""
        if query is None or query.box is None:
            return gr.skip(), gr.skip()
        return self._ask(query, label, settings)

    @told(warn)
    def clear(self, query: Query | None, label: str, *settings: Any) -> tuple:
        """Look at all cameras and times again.

        Returns:
            The query, the results, and no cameras, no beginning and no end.
        """
        cleared = replace(Fields(*settings), cameras=[], since="", until="")
        settings = tuple(getattr(cleared, field.name) for field in fields(cleared))
        return (*self.ask_again(query, label, *settings), [], "", "")

    @told(warn)
    def blur(self, query: Query | None, label: str, *settings: Any) -> tuple:
        """Show all pictures anew, with others blurred or not.

        Returns:
            The query, the results, the stage, no dialog, and the mark that hides the tab of people
            nobody asked about.
        """
        query, results = self.ask_again(query, label, *settings)
        is_blurred = self.service.is_blurred(Fields(*settings).blur)
        shown = query if isinstance(query, Query) else None
        stage = gr.skip() if shown is None else markup.stage(shown, is_blurred)
        return query, results, stage, "", markup.BLURRED if is_blurred else ""

    @told(warn)
    def seek(self, event: gr.EventData, label: str, *settings: Any) -> tuple:
        """Search for the person of a stay.

        Returns:
            The query, the stage and the results.
        """
        gallery = self.service.gallery(label)
        best = gallery.index.appearances.get(int(event.stay)).best
        blur = self.service.hiding(label, Fields(*settings).blur)
        query = open_person(gallery, best.image, actions.row_of(gallery, best), blur)
        query, results = self._ask(query, label, settings)
        return query, markup.stage(query, blur is not None), results

    @told(_no_link)
    def open_link(self, event: gr.EventData, *settings: Any) -> tuple:
        """Open a search by its link.

        Returns:
            The query, the stage, the results, the gallery, the settings, the gallery's summary,
            and the mark that others are blurred.
        """
        link = parse_link(
            str(event.link), Fields(self.service.threshold_at_start, blur=self.service.blur)
        )
        info = self.service.gallery(link.gallery).index.info()
        for camera in link.fields.cameras:
            if camera not in info.cameras:
                raise ValueError(f"the gallery has no camera {camera} any more")
        query, told = open_query(self.service, link), markup.LINK_WITHOUT_PICTURE
        asked = tuple(getattr(link.fields, field.name) for field in fields(link.fields))
        stage = markup.NO_PICTURE
        if query is not None:
            query, told = self._ask(query, link.gallery, asked)
            stage = markup.stage(query, self.service.is_blurred(link.fields.blur))
        threshold, top, cameras, *others = asked
        chosen = gr.update(choices=list(info.cameras), value=cameras)
        ends = (self._summary(info, link.gallery), markup.BLURRED if link.fields.blur else "")
        return query, stage, told, link.gallery, threshold, top, chosen, *others, *ends

    @told(warn)
    def judge(self, event: gr.EventData, query: Query | None, label: str, *settings: Any) -> tuple:
        """Keep that a match is right, wrong, or no person at all, and search again."""
        query, match = needed(query), match_at(query, int(event.place), label)
        gallery = self.service.gallery(label)
        if event.verdict == "nobody" and match.appearance is not None:
            with activity.begin(gallery, "people nobody").showed([match]):
                gallery.index.appearances.groups.call_stays_nobody([match.appearance.id])
            return self._ask(query, label, settings)
        is_right = event.verdict == "right"
        judged = replace(match, judgement=is_right)
        with activity.begin(gallery, "judge").showed([judged]).said(subject=query.subject):
            maker = activity.current_user() or ""
            gallery.index.judgements.judge(query.subject, [match], is_right=is_right, maker=maker)
        return self._ask(query, label, settings)

    @told(warn)
    def undo(self, event: gr.EventData, query: Query | None, label: str, *settings: Any) -> tuple:
        """Take the last judgement back, or all of them, and search again."""
        query = needed(query)
        count = None if event.count == "all" else 1
        with activity.begin(self.service.gallery(label), "undo judgements") as use:
            undone = self.service.gallery(label).index.judgements.undo(query.subject, count)
            use.said(subject=query.subject, judgements=undone)
        return self._ask(query, label, settings)

    @told(warn)
    def add_same(
        self, event: gr.EventData, query: Query | None, label: str, *settings: Any
    ) -> tuple:
        """Search with a confirmed match, too."""
        match = match_at(query, int(event.place), label)
        more = actions.with_match(self.service.gallery(label), needed(query), match)
        return self._ask(more, label, settings)

    @told(warn)
    def forget_added(self, query: Query | None, label: str, *settings: Any) -> tuple:
        """Search with the first picture alone again."""
        query = needed(query)
        alone = replace(query, embeddings=query.embeddings[:1], also=(), also_stays=frozenset())
        return self._ask(alone, label, settings)

    @told(_not_exported)
    def export(self, query: Query | None, label: str) -> str:
        """Make a case of the matches above the threshold, to be downloaded."""
        asked = case_download.ask_for_case(needed(query), self.service.finder.threshold)
        use = activity.begin(self.service.gallery(label), "export case").showed(asked.matches)
        use.asked(needed(query).image, asked.queries[0].box).said(others="blurred").end()
        return case_download.download(self.service.gallery(label), asked, next(serials))

    def _ask(self, query: Query, label: str, settings: tuple) -> tuple:
        chosen = Fields(*settings)
        asked = SearchSettings(
            top=int(chosen.top),
            frames=parse_filter(chosen.cameras, chosen.since, chosen.until),
            threshold=self.service.said_threshold(chosen.threshold),
            by=str(chosen.ranked),
        )
        gallery = self.service.gallery(label)
        with activity.begin(gallery, "search") as use:
            answer = actions.search_gallery(
                self.service, gallery, query.embeddings, asked, query.subject
            )
            if query.box is not None:
                use.asked(query.image, query.box, len(query.embeddings)).showed(answer.matches)
        query = query.with_answer(answer)
        is_empty = not answer.matches and gallery.index.info().people == 0
        blur = self.service.hiding(label, chosen.blur)
        return query, results_markup.results(query, label, is_empty, fields=chosen, blur=blur)

    # Galleries.

    def describe(self, label: str) -> tuple:
        """Return a gallery's summary and its cameras as choices."""
        try:
            info = self.service.gallery(label).index.info()
        except (ValueError, OSError) as error:  # gone while it is served
            return markup.note(plain_message(error), "error"), gr.skip()
        return self._summary(info, label), gr.update(choices=list(info.cameras))

    def change_gallery(self, label: str) -> tuple:
        """Return as `describe` does, and the fields of filters, emptied: they were another's."""
        summary, cameras = self.describe(label)
        return summary, {**cameras, "value": []}, "", ""

    def _summary(self, info: GalleryInfo, label: str) -> str:
        summary = gallery_markup.gallery_summary(info, label, len(self.service.galleries) == 1)
        return summary + activity.notice(self.service.gallery(label))

    def add_footage(
        self,
        files: list[str] | None,
        label: str,
        camera: str,
        begins: str,
        every: float,
        # Gradio finds this default and puts the visitor's progress bar in its place.
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple:
        """Index uploaded images and videos.

        Returns:
            A report, and None, which empties the upload field.
        """
        try:
            options = FootageOptions(
                camera=camera.strip() or None,
                every=float(every or 0),
                start=parse_optional_time(begins),
                time_from="exif",
            )
            report = additions.index_uploads(
                self.service, self.service.gallery(label), files or [], options,
                lambda done, total: progress((done, total), desc="frames", unit="frames"),
            )  # fmt: skip
        except (ValueError, OSError) as error:
            return markup.note(plain_message(error), "error"), None
        finally:
            additions.discard(files or [])
        return gallery_markup.index_report(report, label), None

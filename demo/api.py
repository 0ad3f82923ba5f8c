"""The page's API, for programs: `docs/api.md` describes it.

Each endpoint answers with plain JSON. Pictures come in as uploads and are deleted once read;
pictures go out as base64 inside the answer, cut from the frames of a match, never as files.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import gradio as gr

from person_search.cases.blur import Blur
from person_search.commands.output import appearance_to_dict
from person_search.footage.files import FootageOptions
from person_search.footage.time_text import format_time
from person_search.gallery.add_footage import IndexReport
from person_search.inference.queries import find_people
from person_search.people import Match

from . import actions, activity, additions
from .actions import SearchSettings
from .admin_api import AdminEndpoints
from .api_panel import api_panel
from .frame_names import frame_label
from .gradio_parts import typed
from .inputs import parse_filter, parse_optional_time
from .mistakes import told
from .pictures import show_match
from .rights import may
from .service import Gallery, Service
from .uploads import MODEL, uploaded_file

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryInfo


def add_api(service: Service) -> tuple[gr.HTML, Callable[[], str]]:
    """Add the endpoints, and the panel that describes them, to the page that is being built.

    Args:
        service: the model and the galleries.

    Returns:
        The panel, and what fills it for whoever looks at the page.
    """
    endpoints = _Endpoints(service)
    upload = uploaded_file(visible=False, label="image")
    uploads = uploaded_file(visible=False, label="files", file_count="multiple")
    gr.api(told(_fail)(endpoints.galleries), api_name="galleries")
    _add(endpoints.find_people, [upload], on_model=True)
    _add(
        endpoints.search,
        [
            upload, typed(list[float] | None, None), typed(int | None, None),
            typed(str | None, None), typed(int, 10), typed(list[str] | None, None),
            typed(str | float | None, None), typed(str | float | None, None),
            typed(float | None, None), typed(str, "appearance"), typed(bool, False),
        ],
        on_model=True,
    )  # fmt: skip
    _add(
        endpoints.index,
        [
            uploads, typed(str | None, None), typed(str | None, None), typed(float, 1.0),
            typed(str | float | None, None),
        ],
        on_model=False,
    )  # fmt: skip
    _add(
        endpoints.admin.remove,
        [
            typed(str | None, None), typed(str | None, None), typed(str | float | None, None),
            typed(list[str] | None, None), typed(list[int] | None, None), typed(bool, True),
        ],
        on_model=False,
    )  # fmt: skip
    _add(endpoints.admin.log, [typed(str | None, None), typed(int, 100)], on_model=False)
    script = (Path(__file__).parent / "assets" / "page.js").read_text(encoding="utf-8")
    panel = gr.HTML("", apply_default_css=False, js_on_load=script, elem_id="api")
    return panel, endpoints.describe


def _fail(error: Exception) -> NoReturn:
    """Send a caller's mistake as the error's message instead of an unnamed failure."""
    raise gr.Error(str(error), print_exception=False) from error


def _add(function: Callable, inputs: list, on_model: bool) -> None:
    queue = (MODEL, 1) if on_model else ("index", 1)
    gr.Button(visible=False).click(
        told(_fail)(function), inputs, typed(dict[str, Any], None), api_name=function.__name__,
        concurrency_id=queue[0], concurrency_limit=queue[1], show_progress="hidden",
    )  # fmt: skip


class _Endpoints:
    """The functions behind the endpoints; their docstrings are what clients are shown."""

    def __init__(self, service: Service):
        self.service = service
        self.admin = AdminEndpoints(service)

    def describe(self) -> str:
        """Return the panel with the endpoints that the caller may use."""
        admin = (self.admin.remove, self.admin.log)
        all_of_them = (self.galleries, self.find_people, self.search, self.index, *admin)
        return api_panel([one for one in all_of_them if may(one.__qualname__)])

    def galleries(self) -> dict[str, Any]:
        """List the galleries: name, frames, people, cameras, first and last time."""
        listed = [
            gallery_to_json(gallery, gallery.index.info())
            for gallery in map(self.service.gallery, self.service.galleries)
        ]
        return {"galleries": listed, "threshold": self.service.finder.threshold}

    def find_people(self, image: str) -> dict[str, Any]:
        """Find the people of a picture: number, box (x1, y1, x2, y2) in pixels and score."""
        pixels = actions.read_upload(_given(image, "image"))
        found = find_people(self.service.finder, pixels)
        people = [
            {"number": i + 1, "box": _rounded(box), "score": round(float(score), 4)}
            for i, (box, score) in enumerate(zip(found.boxes, found.scores, strict=True))
        ]
        return {"width": pixels.shape[1], "height": pixels.shape[0], "people": people}

    def search(
        self,
        image: str,
        box: list[float] | None = None,
        person: int | None = None,
        gallery: str | None = None,
        top: int = 10,
        cameras: list[str] | None = None,
        since: str | float | None = None,
        until: str | float | None = None,
        threshold: float | None = None,
        by: str = "appearance",
        pictures: bool = False,
    ) -> dict[str, Any]:
        """Search a gallery for one person of a picture; best match first."""
        service = self.service
        # First: whatever else is wrong, the upload is deleted.
        pixels = actions.read_upload(_given(image, "image"))
        settings = SearchSettings(
            top=top,
            frames=parse_filter(cameras, since, until),
            threshold=None if threshold is None else float(threshold),
            by=by,
        )
        found = actions.choose_one(service.finder, pixels, box=box, number=person)
        with activity.begin(service.gallery(gallery), "search", activity.API) as use:
            answer = actions.search_gallery(
                service, service.gallery(gallery), found.embeddings, settings
            )
            use.asked(pixels, found.box(0)).showed(answer.matches).said(frames_sent=pictures)
        blur = service.hiding(gallery, False)
        return {
            "box": _rounded(found.box(0)),
            "threshold": answer.threshold if answer.is_known else None,
            "is_probably_absent": answer.is_probably_absent if answer.is_known else None,
            "not_people": answer.not_people,
            "matches": [
                match_to_json(match, rank, pictures, blur and blur.only(answer.shows(match)))
                for rank, match in enumerate(answer.matches, start=1)
            ],
        }

    def index(
        self,
        files: list[str],
        gallery: str | None = None,
        camera: str | None = None,
        every: float = 1.0,
        start: str | float | None = None,
    ) -> dict[str, Any]:
        """Add images and videos to a gallery; they are kept on the server."""
        files = files or []
        try:
            options = FootageOptions(
                camera, every=every, start=parse_optional_time(start), time_from="exif"
            )
            report = additions.index_uploads(
                self.service, self.service.gallery(gallery), files, options, via=activity.API
            )
        finally:
            additions.discard(files)
        return report_to_json(report)


def _given(value: Any, name: str) -> Any:
    if value is None:
        raise ValueError(f"{name} is missing; expected an uploaded file, see handle_file")
    return value


def _rounded(box: Sequence[float]) -> list[float]:
    return [round(float(v), 2) for v in box]


def gallery_to_json(gallery: Gallery, info: "GalleryInfo") -> dict[str, Any]:
    """Write what a gallery holds as plain values."""
    return {
        "name": gallery.label,
        "frames": info.frames,
        "people": info.people,
        "cameras": list(info.cameras),
        "first": info.first_timestamp,
        "last": info.last_timestamp,
    }


def match_to_json(
    match: Match, rank: int, with_pictures: bool = False, blur: Blur | None = None
) -> dict[str, Any]:
    """Write a match as plain values.

    Args:
        match: from a search.
        rank: from 1.
        with_pictures: add ``person`` and ``frame``, JPEG pictures as data addresses.
        blur: What hides others in the pictures.
    """
    written = {
        "rank": rank,
        # Not "path": Gradio takes a dictionary with that key for a file of its own.
        "image": frame_label(match.image),
        "box": _rounded(match.box_xyxy),
        "score": round(float(match.score), 4),
        "similarity": round(float(match.similarity), 6),
        "camera": match.camera,
        "timestamp": match.timestamp,
        "time": None if match.timestamp is None else format_time(match.timestamp),
        "appearance": appearance_to_dict(match.appearance),
    }
    if with_pictures:
        written["person"], written["frame"] = show_match(match, blur)
    return written


def report_to_json(report: IndexReport) -> dict[str, Any]:
    """Write what indexing did as plain values."""
    return {
        "frames_added": report.frames_added,
        "people_added": report.people_added,
        "frames_unchanged": report.frames_unchanged,
        "broken": [{"image": b.name, "reason": b.reason} for b in report.broken],
        "seconds": round(report.seconds, 3),
    }

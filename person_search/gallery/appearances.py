"""Who stayed how long before which camera, of one gallery.

Letters: K embeddings of one person, D embedding size.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from person_search.gallery.errors import GalleryError
from person_search.gallery.forgetting import Forgotten
from person_search.gallery.groups import GalleryGroups
from person_search.gallery.ranking import check_embeddings, cut_besides, fuse_embeddings
from person_search.gallery.rows import Linked, StoredAppearance, StoredPerson, Thinned, to_match
from person_search.gallery.search_options import ALL_FRAMES, FrameFilter
from person_search.gallery.searching import check_model, check_range, to_matches
from person_search.gallery.store import Store
from person_search.people import Appearance, Match
from person_search.tracking.linker import LinkOptions

MAX_RANKED_FRAMES = 1_000


class GalleryAppearances:
    """The appearances of a gallery; get it from `GalleryIndex.appearances`."""

    def __init__(self, store: Store) -> None:
        """Use `GalleryIndex.appearances` instead.

        Raises:
            GalleryError: If the gallery is on a server.
        """
        if store.appearances is None:
            raise GalleryError(
                f"a server such as {store.uri} keeps no appearances; search its frames, or keep "
                "the gallery in a file"
            )
        self._store, self._rows = store, store.appearances

    @property
    def groups(self) -> GalleryGroups:
        """Which of them look like one person, whom nobody asked about."""
        return GalleryGroups(self._rows)

    def told(self, query: str) -> list[Appearance]:
        """Return those that an alert was told of (`keep_told`), as far as they are still there.

        Args:
            query: Text that stands for who was waited for.
        """
        ids = self._rows.alerts.told(query)
        return [one.appearance for one in self._rows.by_id(ids).values()]

    def keep_told(self, told: Sequence[tuple[str, Match]]) -> None:
        """Keep that alerts were told of people, until their frames are removed.

        Args:
            told: Each query, see `told`, with a match of this gallery.
        """
        self._rows.alerts.keep([(query, match.person) for query, match in told])

    def link(
        self,
        options: LinkOptions | None = None,
        *,
        on_progress: Callable[[Linked], None] | None = None,
    ) -> Linked:
        """Link people who are not linked yet, from frame to frame of each camera.

        Frames are linked that lie in time: of a video, or of a camera that is known, at a date that
        is known. A picture without stays alone. May be stopped at any moment; the same again goes
        on.

        Args:
            options: How; the defaults where None. What is linked already stays as it is.
            on_progress: Called with what was done so far.

        Returns:
            What was done; nothing the second time.

        Raises:
            GalleryError: On a full disk, or a file that was moved or damaged.
        """
        options, done = options or LinkOptions(), Linked()
        while some := self._rows.link_some(options):
            done = done.plus(some)
            if on_progress is not None:
                on_progress(done)
        return done

    def keep_best(
        self, count: int, options: LinkOptions | None = None, *, purge: bool = True
    ) -> Thinned:
        """Keep a few best people of each appearance that has ended, and delete the others.

        Of each the first and the last are kept, ``count`` of the others that show the person best
        (see `person_search.tracking.view_quality`), and whoever was judged, or is what a group is
        known by. Start, end and number of frames stay as they are, and so does the mean embedding.
        What was deleted cannot be brought back but by indexing the footage anew: such an appearance
        is never linked anew, whatever footage comes late, and the gallery cannot be merged into
        another one. May be stopped at any moment; the same again goes on.

        Args:
            count: At least 1.
            options: How the people were linked, which says when an appearance has ended: a camera's
                that may still go on is left as it is.
            purge: Leave no byte of them in the gallery's file, which is written anew for that.

        Returns:
            How many people were deleted, and of how many appearances.

        Raises:
            GalleryError: On a count below 1, a full disk, or a file that was moved or damaged.
        """
        if count < 1:
            raise GalleryError(f"the number of people to keep is {count}; expected at least 1")
        max_gap, done, last = (options or LinkOptions()).max_gap, Thinned(), 0
        while found := self._rows.thin_some(count, max_gap, last):
            some, last = found
            done = done.plus(some)
        if purge and done.people:
            self._store.purge()
        return done

    def search(
        self,
        embeddings: np.ndarray,
        *,
        top: int = 10,
        frames: FrameFilter = ALL_FRAMES,
        min_similarity: float | None = None,
        ranked_frames: int | None = 1,
        fingerprint: str | None = None,
        with_nobody: bool = False,
    ) -> list[Match]:
        """Find the appearances most similar to one person.

        Args:
            embeddings: (D,), or (K, D) of several pictures of the same person, which are fused.
            top: At most so many, 1 to 16,384.
            frames: Which to look at.
            min_similarity: Only appearances at least this similar, -1..1.
            ranked_frames: An appearance is as similar as the mean of so many of its most similar
                people, or of all that it has; 1 to 1,000, None for all.
            fingerprint: Of the model that made the embeddings, to be checked.
            with_nobody: Also return, marked and besides ``top``, those that somebody called nobody
                (`GalleryGroups.call_nobody`).

        Returns:
            The most similar person of each, best appearance first, with that appearance and its
            similarity; ties by name of the frame, then by place in it. People who belong to no
            appearance come as those of still pictures do: the best of each frame, without one.
            Exact.

        Raises:
            GalleryError: On embeddings of another model or size or not of unit norm, values out of
                range.
        """
        check_model(self._store, fingerprint)
        rows = check_embeddings(embeddings, self._store.embedding_dim, "query embeddings")
        query = fuse_embeddings(rows)
        check_range(top, min_similarity)
        if ranked_frames is not None and not 1 <= ranked_frames <= MAX_RANKED_FRAMES:
            raise GalleryError(
                f"ranked_frames is {ranked_frames}; expected 1 to {MAX_RANKED_FRAMES}, or None"
            )
        if ranked_frames == 1:
            people = self._rows.nearest(query, frames, top)
        else:
            people = self._nearest_by_mean(query, frames, top, ranked_frames)
        return to_matches(people, top, min_similarity, with_nobody)

    def within(
        self,
        since: float | None = None,
        until: float | None = None,
        cameras: Sequence[str] | None = None,
        min_score: float = 0.0,
    ) -> Iterator[StoredAppearance]:
        """Yield the appearances that lie in a time, or overlap it, by their start.

        Args:
            since: Seconds, None for the beginning; dates and times since the start of a video do
                not overlap.
            until: Seconds, None for the end.
            cameras: Only of these; "" stands for an unknown one. None for all.
            min_score: Only those whose best sight has at least this score, 0..1: a detector that
                takes benches for people is seldom sure of it.

        Raises:
            GalleryError: On values that cannot be.
        """
        if not 0 <= min_score <= 1:
            raise GalleryError(f"min_score is {min_score}; expected 0 to 1")
        FrameFilter(cameras=cameras, since=since, until=until)  # refuses what cannot be
        first = -math.inf if since is None else since
        last = math.inf if until is None else until
        for one in self._rows.within(first, last):
            is_wanted = cameras is None or (one.appearance.camera or "") in cameras
            if is_wanted and one.best.score >= min_score:
                yield one

    def get(self, appearance: int) -> StoredAppearance:
        """Return an appearance by its id.

        Raises:
            GalleryError: If there is none.
        """
        found = self._rows.by_id([appearance]).get(appearance)
        if found is None:
            raise GalleryError(
                f"there is no appearance {appearance} in the gallery {self._store.name!r} of "
                f"{self._store.uri}; its footage may have been linked anew, or removed: search "
                "again"
            )
        return found

    def neighbors(self, appearance: int) -> tuple[StoredAppearance | None, StoredAppearance | None]:
        """Return whose appearances before the same camera begin next before and after this one.

        Raises:
            GalleryError: If there is no such appearance.
        """
        self.get(appearance)
        return self._rows.neighbors(appearance)

    def beside(self, appearance: int) -> list[StoredAppearance]:
        """Return the appearances of others before the same camera that overlap in time.

        Of a video without camera or date those in the same video: what happened in another one at
        the same second since its start, did not happen then. Those that were called nobody
        (`GalleryGroups.call_nobody`) are left out.

        Raises:
            GalleryError: If there is no such appearance.
        """
        self.get(appearance)
        left_out = self._rows.nobodies()
        return [one for one in self._rows.beside(appearance) if one.appearance.id not in left_out]

    def sights(self, appearance: int) -> list[Match]:
        """Return the people of an appearance, one a frame, by time.

        Raises:
            GalleryError: If there is no such appearance.
        """
        found = self._rows.people_of(appearance)
        if not found:
            self.get(appearance)  # says that there is none
        return [to_match(person) for person in found]

    def forget(
        self, appearances: Sequence[int], people: Sequence[tuple[str, int]] = ()
    ) -> Forgotten:
        """Remove a person from the gallery: sights, embeddings, judgements, groups and names.

        The frames stay, with everybody else in them; so do the pictures and videos themselves,
        from which indexing would find the person again if they changed, or in another gallery.
        No byte of what is removed is left in the gallery's files, which are written anew.

        Args:
            appearances: Whose sights are all the person's.
            people: Others, of pictures that belong to no stay: name of the frame and number in it,
                from 0 as `People` has them.

        Raises:
            GalleryError: If one is not there; then nothing is removed.
        """
        forgotten = self._rows.forget(appearances, people)
        self._store.purge()
        return forgotten

    def boxes_not_kept(self, frame_name: str) -> np.ndarray:
        """Return where in a frame people were whom `keep_best` has deleted.

        Args:
            frame_name: Of the gallery; of another one nobody is known.

        Returns:
            (N, 4) float32, (x1, y1, x2, y2) in original pixels.
        """
        return self._rows.boxes_not_kept(frame_name)

    def _nearest_by_mean(
        self, query: np.ndarray, frames: FrameFilter, top: int, ranked_frames: int | None
    ) -> list[StoredPerson]:
        """Rank by the mean of the best, or all, similarities; it is at most the best one."""
        count = max(2 * top, 32)
        while True:
            best = self._rows.nearest(query, frames, count)
            ids = [p.appearance.id for p in best if p.appearance is not None]
            similar = self._rows.similarities(ids, query, frames)
            ranked = []
            for person in best:
                values = np.array([person.similarity])
                if person.appearance is not None:
                    values = np.sort(similar[person.appearance.id])[::-1]
                ranked.append((float(values[:ranked_frames].mean()), person))
            ranked.sort(key=lambda pair: (-pair[0], pair[1].frame_name, pair[1].number))
            found = cut_besides([replace(p, similarity=value) for value, p in ranked], top)
            # Whoever was not looked at is at most as similar as the last best.
            is_all = sum(not p.is_nobody for p in best) < count
            if is_all or found[-1].similarity >= best[-1].similarity:
                return found
            count *= 4

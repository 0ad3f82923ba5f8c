"""Who was here, how often, when and with whom, of one gallery: people whom nobody asked about."""

import unicodedata
from collections.abc import Sequence

from person_search.gallery.errors import GalleryError
from person_search.gallery.group_rows import GroupRows, Options
from person_search.gallery.rows import Group
from person_search.gallery.store import Appearances

MOST_LETTERS = 100
"""Of a name."""


class GalleryGroups:
    """The groups of a gallery; get it from `GalleryAppearances.groups`.

    A group is a look, not a proven identity: people who are dressed alike may share one, and one
    person may have several.
    """

    def __init__(self, appearances: Appearances) -> None:
        """Use `GalleryAppearances.groups` instead."""
        self._appearances, self._groups = appearances, appearances.groups

    @property
    def options(self) -> Options | None:
        """How the gallery was grouped; None if it was not."""
        return self._groups.options()

    def refresh(
        self, threshold: float | None = None, *, across_days: bool | None = None, anew: bool = False
    ) -> int:
        """Group the appearances that are in no group yet.

        They join a group, or make new ones; whatever is in a group stays there, so that numbers
        keep their meaning. With other options than the last time, or ``anew``, everything is
        grouped at once, but for what somebody said; a group keeps its number where most of its
        appearances stay together.

        Args:
            threshold: Groups are joined whose mean similarity is at least this, -1..1; the model's
                calibration is right. None for that of the last time.
            across_days: Whether people are grouped from one day (local date) to the next. None for
                as the last time, at first False: clothes change.
            anew: Group everything at once.

        Returns:
            How many appearances were put into groups.

        Raises:
            GalleryError: If the threshold is out of range, or None the first time.
        """
        last = self._groups.options()
        if threshold is None:
            if last is None:
                raise GalleryError(
                    "the gallery was not grouped yet, and nothing says how similar appearances of "
                    "one person are; give a threshold, such as the model's calibrated one"
                )
            threshold = last.threshold
        if not -1 <= threshold <= 1:
            raise GalleryError(f"threshold is {threshold}; expected -1 to 1")
        if across_days is None:
            across_days = last is not None and last.across_days
        return self._groups.refresh(Options(float(threshold), across_days), anew)

    def all(self, *, nobody: bool = False) -> list[Group]:
        """Return all groups: who came most often first, ties by the number, the doubtful last.

        Doubtful is what never moves (`Group.motionless`), or looks like what was called nobody, at
        the same place (`Group.like_nobody`).

        Args:
            nobody: Return those that somebody called nobody (`call_nobody`), in place of all
                others.
        """
        found = [group for group in self._groups.listed() if group.is_nobody is nobody]
        return sorted(
            found, key=lambda g: (g.is_doubtful, -len(g.appearances), -g.frames, g.number)
        )

    def get(self, number: int) -> Group:
        """Return a group by its number.

        Raises:
            GalleryError: If there is none.
        """
        return self._find([number])[0]

    def name(self, number: int, name: str) -> int:
        """Name a group, and keep its appearances together for ever; "" takes the name.

        Returns:
            Its number.

        Raises:
            GalleryError: If there is no such group, another one has the name, or it is none.
        """
        (group,) = self._find([number])
        name = " ".join(name.split())
        if len(name) > MOST_LETTERS:
            raise GalleryError(f"a name has at most {MOST_LETTERS} letters; got {len(name)}")
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
            raise GalleryError(
                f"the name {name!r} has letters that cannot be printed; leave them out"
            )
        namesake = [g for g in self._groups.listed() if name and g.name == name]
        if namesake and namesake[0].number != number:
            raise GalleryError(
                f"group {namesake[0].number} is named {name!r} already; merge the two, or choose "
                "another name"
            )
        said = f"name group {number} {name!r}" if name else f"take the name of group {number}"
        with self._groups.acting() as rows:
            action = rows.add_action(said)
            rows.set_name(action, number, name)
            if name:
                _put(rows, action, [one.id for one in group.appearances], number)
        return number

    def merge(self, numbers: Sequence[int]) -> int:
        """Put groups together into the first of them; it keeps its name, or gets theirs.

        Returns:
            Its number.

        Raises:
            GalleryError: If there are not two of them, or one of them is not there.
        """
        if len(set(numbers)) != len(numbers) or len(numbers) < 2:
            raise GalleryError(f"got groups {list(numbers)}; expected two different ones at least")
        found = self._find(numbers)
        first = found[0]
        names = [group.name for group in found if group.name]
        with self._groups.acting() as rows:
            action = rows.add_action(f"merge groups {', '.join(map(str, numbers))}")
            for group in found:
                _put(rows, action, [one.id for one in group.appearances], first.number)
            if names and not first.name:
                rows.set_name(action, first.number, names[0])
        return first.number

    def split(self, number: int, appearances: Sequence[int]) -> int:
        """Take appearances out of a group, into a new one.

        Returns:
            The number of the new group.

        Raises:
            GalleryError: If there is no such group, or they are not in it, or are all of it.
        """
        (group,) = self._find([number])
        there = {one.id for one in group.appearances}
        strange = sorted(set(appearances) - there)
        if strange:
            raise GalleryError(
                f"appearance {strange[0]} is not in group {number}, which has {len(there)}; "
                "see person-search people show"
            )
        if not appearances or set(appearances) == there:
            raise GalleryError(
                f"a part of group {number} can be split from it; got {len(set(appearances))} of "
                f"its {len(there)} appearances"
            )
        with self._groups.acting() as rows:
            action = rows.add_action(f"split {len(set(appearances))} from group {number}")
            new = rows.add_group()
            _put(rows, action, appearances, new)
            # Else what stays, which nobody put there, could be grouped with it again.
            _put(rows, action, sorted(there - set(appearances)), number)
        return new

    def move(self, appearances: Sequence[int], number: int | None) -> int:
        """Move appearances to another group, or out, to a group of their own.

        Returns:
            The number of the group that they are in.

        Raises:
            GalleryError: If there is no such appearance or group, or none is given.
        """
        self._check_there(appearances)
        if number is not None:
            self._find([number])
        with self._groups.acting() as rows:
            where = "out" if number is None else f"to group {number}"
            moved = ", ".join(map(str, appearances))
            action = rows.add_action(f"move appearance {moved} {where}")
            group = rows.add_group() if number is None else number
            _put(rows, action, appearances, group)
        return group

    def call_nobody(self, numbers: Sequence[int], is_nobody: bool = True) -> None:
        """Say that groups are not people: benches, signs, that the detector took for some.

        Searches, alerts and `all` leave them out from then on, whatever is linked or grouped anew;
        nobody joins them, so that what looks like them later is asked about again.

        Args:
            numbers: Of the groups.
            is_nobody: False takes it back, whenever it was said.

        Raises:
            GalleryError: If there is no such group, or none is given.
        """
        if not numbers:
            raise GalleryError("no group is given; expected one at least")
        found = self._find(list(dict.fromkeys(numbers)))
        listed = ", ".join(str(group.number) for group in found)
        what = f"group{'s' * (len(found) > 1)} {listed}"
        with self._groups.acting() as rows:
            action = rows.add_action(_verdict(what, is_nobody))
            for group in found:
                _call(rows, action, group, is_nobody)

    def call_stays_nobody(self, appearances: Sequence[int]) -> list[int]:
        """Say that appearances are not people, as `call_nobody` does of groups.

        Groups all of whose appearances are given are called nobody; others are split.

        Returns:
            The numbers of the groups that the appearances are in.

        Raises:
            GalleryError: If there is no such appearance, or none is given.
        """
        self._check_there(appearances)
        left = set(appearances)
        whole = [g for g in self._groups.listed() if {one.id for one in g.appearances} <= left]
        left -= {one.id for group in whole for one in group.appearances}
        with self._groups.acting() as rows:
            given = sorted(set(appearances))
            what = f"appearance{'s' * (len(given) > 1)} {', '.join(map(str, given))}"
            action = rows.add_action(_verdict(what, True))
            for group in whole:
                _call(rows, action, group, True)
            numbers = [group.number for group in whole]
            if left:
                numbers.append(rows.add_group())
                _put(rows, action, sorted(left), numbers[-1], with_best=True)
                rows.set_nobody(action, numbers[-1], True)
        return numbers

    def undo(self) -> str | None:
        """Undo what was done last to the groups by hand; again undoes what was done before.

        Returns:
            What it was; None if there is nothing.

        Raises:
            GalleryError: If it is there again when read back.
        """
        return self._groups.undo()

    def add_said(self, other: "GalleryGroups") -> int:
        """Take over what was said about groups in another gallery whose frames are here, too.

        What was said here of the same sights stays. Groups of one name become one.

        Returns:
            How many groups were taken over.
        """
        theirs = other._groups.said()
        if not theirs:
            return 0
        with self._groups.acting() as rows:
            return rows.add_said(theirs)

    def _check_there(self, appearances: Sequence[int]) -> None:
        there = self._appearances.by_id(appearances)
        missing = [i for i in appearances if i not in there]
        if missing or not appearances:
            which = f"there is no appearance {missing[0]}" if missing else "no appearance is given"
            raise GalleryError(
                f"{which}; list them again, as footage may have been linked anew, or removed"
            )

    def _find(self, numbers: Sequence[int]) -> list[Group]:
        there = {group.number: group for group in self._groups.listed()}
        missing = [number for number in numbers if number not in there]
        if missing:
            raise GalleryError(
                f"there is no group {missing[0]}; list them again, as groups that nobody named are "
                "made anew with another threshold"
            )
        return [there[number] for number in numbers]


def _verdict(what: str, is_nobody: bool) -> str:
    return f"call {what} {'nobody' if is_nobody else 'somebody'}"


def _call(rows: GroupRows, action: int, group: Group, is_nobody: bool) -> None:
    _put(rows, action, [one.id for one in group.appearances], group.number, with_best=True)
    rows.set_nobody(action, group.number, is_nobody)


def _put(
    rows: GroupRows, action: int, appearances: Sequence[int], group: int, with_best: bool = False
) -> None:
    """Put appearances into a group.

    With the best sight, a part that is linked anew, and that only the grouping's own row still
    ties to the group, is put there, too.
    """
    best = rows.best_anchors(list(appearances)) if with_best else {}
    for appearance in appearances:
        anchors = set(rows.anchors(appearance))
        anchors |= {best[appearance]} if appearance in best else set()
        rows.place(action, sorted(anchors), group)

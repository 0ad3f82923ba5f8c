"""The book-keeping of an importer: every tensor goes somewhere, and none is lacking."""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from reid_heads.importers.checkpoint_file import CheckpointFile, listed
from reid_heads.importers.imported import ImportedModel

_COUNTER = ".num_batches_tracked"


class Placement:
    """Where the tensors of a file go."""

    def __init__(self, file: CheckpointFile):
        """Start with all of the file's tensors to be placed."""
        self.file = file
        self.left = dict(file.state)
        """The file's tensors that have no place yet."""
        self._state: dict[str, Tensor] = {}
        self._placed: Counter[str] = Counter()
        self._passed_over = dict(file.passed_over)
        self._sources: dict[str, str] = {}

    def place(self, theirs: str, ours: str, group: str, value: Tensor | None = None) -> None:
        """Give a tensor of the file its place.

        Args:
            theirs: its name in the file.
            ours: its name in this project's network.
            group: of names, under which it is counted.
            value: what becomes of it; None: it is taken as it is.

        Raises:
            ValueError: if the place is taken.
        """
        if ours in self._state:
            raise ValueError(
                f"{self.file.path} has both {self._sources[ours]} and {theirs}, which are the same "
                f"layer ({ours}) in two versions of a network; expected one of them"
            )
        own = self.left.pop(theirs)
        self._state[ours] = own if value is None else value
        self._sources[ours] = theirs
        self._placed[group] += 1

    def fold(self, theirs: str, group: str) -> Tensor:
        """Return a tensor of the file that becomes part of another's value.

        It has found its place: it is counted under ``group``, and is left no longer.
        """
        self._placed[group] += 1
        return self.left.pop(theirs)

    def pass_over(self, theirs: str, why: str) -> None:
        """Leave a tensor of the file out, which embeddings do not need, and say why."""
        del self.left[theirs]
        self._passed_over[theirs] = why

    def finish(
        self,
        *,
        family: str,
        config_file: str,
        overrides: Sequence[str],
        expected: Mapping[str, Tensor],
        optional: tuple[str, ...] = (),
        notes: Sequence[str] = (),
    ) -> ImportedModel:
        """Check that nothing is left over or lacking, and return the model.

        Args:
            family: whose network it is.
            config_file: one of this project's configs.
            overrides: keys and values on top of it.
            expected: the state of the network that this config builds; only names and shapes count.
            optional: beginnings of this project's names that embeddings do not need.
            notes: what a user must be told.

        Raises:
            ValueError: that names tensors of the file without a place, or with another shape than
                the network's, or what the network needs and the file does not have.
        """
        state: dict[str, Tensor] = {}
        lacking = []
        for name in expected:
            if name in self._state:
                state[name] = self._state[name]
            elif name.endswith(_COUNTER) and not name.startswith(optional):
                # Files of before PyTorch 0.4.1 lack the counts, which are not used.
                state[name] = torch.zeros((), dtype=torch.int64)
            else:
                lacking.append(name)
        missing = [name for name in lacking if not name.startswith(optional)]
        if problems := self._problems(expected, missing):
            raise ValueError(
                f"{self.file.path} has the names of {family}, but is not that network: "
                f"{'; '.join(problems)}. Every tensor must find its place; expected a checkpoint "
                f"that fits {config_file}"
            )
        return ImportedModel(
            family=family,
            config_file=config_file,
            overrides=list(overrides),
            state=state,
            placed=dict(self._placed),
            passed_over=self._passed_over,
            notes=list(notes),
            untouched=lacking,
        )

    def _problems(self, expected: Mapping[str, Tensor], missing: list[str]) -> list[str]:
        """Say what keeps the placed tensors from being the network's."""
        strangers = [theirs for ours, theirs in self._sources.items() if ours not in expected]
        reshaped = [
            f"{theirs} is {tuple(self._state[ours].shape)} instead of {tuple(expected[ours].shape)}"
            for ours, theirs in self._sources.items()
            if ours in expected and self._state[ours].shape != expected[ours].shape
        ]
        found = {
            "it has no place for": [*self.left, *strangers],
            "the file has nothing for": missing,
            "of another shape:": reshaped,
        }
        return [f"{what} {listed(names)}" for what, names in found.items() if names]

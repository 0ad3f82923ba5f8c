"""Find and embed people in pictures: set up once, ask many times.

Letters: H, W height and width in original pixels, N people of one picture, D embedding size.

Example:
    finder = PersonFinder.load()
    (people,) = finder.find(["street.jpg"])
    query = finder.embed("street.jpg", [(310, 120, 355, 240)])
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from person_search.footage.images import ImageSource, read_image
from person_search.inference.checked_people import checked, in_original_pixels
from person_search.inference.crowds import Crowds
from person_search.inference.join_parts import find_boxes_in_parts, join_people
from person_search.inference.load_network import load_network
from person_search.inference.model_card import ModelCard
from person_search.inference.models import CONFIG_NAME, default_model, find_model
from person_search.inference.network import FindsBoxes, FindsCrowds, Network, one_caller
from person_search.inference.packed_file import check_fingerprint, check_version
from person_search.inference.packed_model import find_pretrained, write_packed_model
from person_search.inference.parts import Parts, embed_in_parts, plan_parts
from person_search.inference.threshold_file import read_threshold
from person_search.people import People, check_boxes
from reid_heads.safetensors_file import SUFFIX

__all__ = ["People", "PersonFinder"]


class PersonFinder:
    """A model that finds people in pictures and embeds them.

    Pictures are whatever `person_search.footage.images.read_image` reads: files, RGB uint8 arrays
    (H, W, 3), Pillow images. All boxes are in original pixels. Threads may share a finder; as many
    as its network allows are at the model at once, the others wait.
    """

    def __init__(
        self,
        network: Network,
        *,
        min_score: float | None = None,
        threshold: float | None = None,
        card: ModelCard | None = None,
        parts: bool | None = None,
    ):
        """Wrap a model; `load` and `from_config` load one.

        Args:
            network: runs the model.
            min_score: least detector score, 0..1, of the people that `find` returns; None for the
                one that the model's benchmark searches by (``TEST.SEARCH.SCORE_THRESHOLD``). The
                detector drops people below its own ``MODEL.ROI_HEADS.SCORE_THRESH_TEST`` whatever
                this is.
            threshold: similarity, -1..1, from which on a match is probably right, where known.
            card: what the model is, where known.
            parts: what `find` and `embed` do where they are not told.

        Raises:
            ValueError: if ``min_score`` is not in 0..1, or nobody may call the network.
        """
        self.network = network
        self.parts = parts
        self.min_score = network.min_score if min_score is None else min_score
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score is {self.min_score}; expected 0..1")
        if network.max_callers < 1:
            # All would wait for ever.
            raise ValueError(f"max_callers is {network.max_callers}; expected 1 or more")
        self.threshold = threshold
        self.card = card
        self._turns = threading.BoundedSemaphore(network.max_callers)
        self._crowds = Crowds(network)

    @classmethod
    def from_config(
        cls,
        config_file: str | Path,
        weights: str | Path,
        *,
        device: str | None = None,
        half: bool | None = None,
        overrides: Sequence[str] = (),
        min_score: float | None = None,
    ) -> "PersonFinder":
        """Load a trained model.

        Args:
            config_file: YAML file that the weights were trained with.
            weights: checkpoint. The similarity threshold is read from ``NAME.threshold.json``
                beside it, where that is and was made with this very model, and the card from
                ``NAME.card.json``.
            device: ``cuda``, ``mps`` or ``cpu``; None or ``auto`` is the GPU if there is one.
            half: compute in half precision; None does so on a GPU, and True is refused without one.
            overrides: alternating keys and values on top of the config.
            min_score: see `PersonFinder`.

        Raises:
            FileNotFoundError: if a file does not exist.
            KeyError: if the config or ``overrides`` name an unknown key.
            ValueError: if config and weights do not fit each other, or the device is not there.
        """
        # Slow to import, and not needed where an export runs.
        from person_search.inference.torch_network import TorchNetwork, load_trained_model

        cfg, model = load_trained_model(config_file, weights, overrides)
        network = TorchNetwork(cfg, model, device=device, half=half)
        threshold = read_threshold(weights, network.fingerprint)
        card = ModelCard.find(weights)
        return cls(network, min_score=min_score, threshold=threshold, card=card)

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        device: str | None = None,
        min_score: float | None = None,
        threads: int | None = None,
        max_callers: int = 1,
    ) -> "PersonFinder":
        """Load a model that stands on its own: an export, an installed model, two steps.

        Args:
            model: see `person_search.inference.models.find_model`; None is the default model. An
                export runs in onnxruntime, without PyTorch. A calibration ``NAME.threshold.json``
                beside it goes before the similarity threshold inside it, a card
                ``NAME.card.json`` before the one inside it.
            device: ``cuda``, ``mps`` or ``cpu``; None or ``auto`` is the GPU if there is one.
            min_score: see `PersonFinder`.
            threads: of ONNX files; see `person_search.inference.onnx_network.OnnxNetwork`.
            max_callers: likewise; what PyTorch runs has one, and the log says so.

        Raises:
            FileNotFoundError: if there is no such model.
            ModuleNotFoundError: without the package ``onnxruntime``; for a trained model without
                PyTorch or detectron2.
            ValueError: if the file is no model, or none of ours, or the device is not there.
        """
        path = default_model() if model is None else find_model(model)
        if path.suffix in (".pth", SUFFIX):
            one_caller(str(path), max_callers)
            check_version(path)
            own = cls.from_config(
                path.parent / CONFIG_NAME, path, device=device, min_score=min_score
            )
            check_fingerprint(path, own.fingerprint)
            return own
        network = load_network(
            path, device=device, min_score=min_score, threads=threads, max_callers=max_callers
        )
        threshold = read_threshold(path, network.fingerprint)
        if threshold is None:
            threshold = network.threshold
        card = ModelCard.find(path) or network.card
        return cls(network, min_score=min_score, threshold=threshold, card=card)

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, device: str | None = None, min_score: float | None = None
    ) -> "PersonFinder":
        """Load a model that somebody passed on, after comparing its files with what they were.

        It is a folder, an installed model, or ``hf:OWNER/NAME`` on Hugging Face; for errors see
        `person_search.inference.packed_model.find_pretrained` and `load`, for arguments `load`.
        """
        return cls.load(find_pretrained(name), device=device, min_score=min_score)

    def save_pretrained(self, folder: str | Path, card: ModelCard | None = None) -> Path:
        """Write a trained model as a new folder for `from_pretrained`; return its weights' file.

        ``card`` is that of the model, by default the finder's own; for errors see
        `person_search.inference.packed_model.write_packed_model`.
        """
        return write_packed_model(self, Path(folder), card or self.card)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of what decides embeddings: the same model has the same one anywhere."""
        return self.network.fingerprint

    @property
    def max_callers(self) -> int:
        """How many threads are at the model at once, at most."""
        return self.network.max_callers

    @property
    def crops_need_room(self) -> bool:
        """Whether a person who fills the picture is given room; see `InputSettings`."""
        return self.network.settings.crops_need_room

    @property
    def embedding_dim(self) -> int:
        """D."""
        return self.network.embedding_dim

    def find(
        self, images: Sequence[ImageSource], batch_size: int = 4, parts: bool | None = None
    ) -> list[People]:
        """Find and embed the people of pictures.

        Only pictures of one size in resized pixels go through the model together, so that a picture
        gives the same people whatever its neighbours are.

        Args:
            images: pictures, read ``batch_size`` at a time.
            batch_size: how many go through the model together at most.
            parts: whether a picture is searched in overlapping parts as well, each of which costs
                as much as a picture; None: where people in it would be too small for the model
                (panoramas, and most pictures for small detectors; see `plan_parts`), or where
                they are more than the model finds at once, see `Limits`; those views are looked at
                again with raised limits, see `FindsCrowds`.

        Returns:
            For each picture its people with a score of at least ``min_score``, as the detector
            ranks them, from parts by falling score; none where nobody was found.

        Raises:
            OSError: if a file cannot be read.
            ValueError: if something is no picture, or the model gives NaN.
        """
        if isinstance(images, str | Path | np.ndarray | Image.Image):
            raise ValueError(
                f"find takes a list of pictures, but got one {type(images).__name__}; write "
                "find([picture])"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; expected 1 or more")
        found: list[People] = []
        for start in range(0, len(images), batch_size):
            batch = [read_image(x) for x in images[start : start + batch_size]]
            plans = [self._plan(image, parts) for image in batch]
            uncut = [image for image, plan in zip(batch, plans, strict=True) if plan is None]
            whole = iter(self._find_batch(uncut))
            found += [
                self._find_in_parts(image, plan, batch_size)
                if plan is not None
                else self._or_crowd(next(whole), image, parts, batch_size)
                for image, plan in zip(batch, plans, strict=True)
            ]
        return found

    def embed(
        self, image: ImageSource, boxes: np.ndarray | Sequence[object], parts: bool | None = None
    ) -> np.ndarray:
        """Embed the people in given boxes, as the benchmark's protocols embed their queries.

        Args:
            image: the picture.
            boxes: (N, 4) or (4,), (x1, y1, x2, y2) in original pixels. What lies outside the
                picture is cut off.
            parts: whether each is embedded from the part, as `find` cuts it, that shows it best.

        Returns:
            (N, D) float32 of unit norm.

        Raises:
            OSError: if the file cannot be read.
            ValueError: if a box is empty or outside the picture, or the model gives NaN.
        """
        pixels = read_image(image)
        height, width = pixels.shape[:2]
        known = check_boxes(boxes, width, height)
        if not len(known):
            return np.zeros((0, self.embedding_dim), np.float32)
        # What is cut out and embedded alone is the same in all parts.
        plan = None if isinstance(self.network, FindsBoxes) else self._plan(pixels, parts)
        if plan is None:
            return self._embed_boxes(pixels, known)
        return embed_in_parts(plan, pixels, known, self._embed_boxes)

    def _embed_boxes(self, pixels: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Embed boxes (N, 4) that are inside a picture; N is not 0."""
        height, width = pixels.shape[:2]
        prepared = self.network.settings.prepare(pixels)
        new_height, new_width = prepared.shape[:2]
        scale = np.array([new_width / width, new_height / height] * 2, np.float32)
        with self._turns:
            (people,) = self.network.run([prepared], [known * scale])
        return checked(people, self.embedding_dim).embeddings

    def _plan(self, image: np.ndarray, wanted: bool | None) -> Parts | None:
        wanted = self.parts if wanted is None else wanted
        height, width = image.shape[:2]
        return plan_parts(self.network.settings.sight, height, width, wanted)

    def _or_crowd(
        self, people: People, image: np.ndarray, wanted: bool | None, batch_size: int
    ) -> People:
        """Return a picture's people, looking closer where the model's limits cut them off."""
        reached = self._crowds.limit_reached(people)
        if not reached:
            return people
        if (self.parts if wanted is None else wanted) is False:
            self._crowds.warn_once(reached, "it was not searched in parts as well")
            return people
        plan = self._plan(image, True)
        how = ["with raised limits"] if isinstance(self.network, FindsCrowds) else []
        how += [] if plan is None else ["in parts as well"]
        done = f"such pictures are searched {' and '.join(how)}" if how else "some may be missing"
        self._crowds.warn_once(reached, done)
        if plan is None:
            return self._or_raised(people, image)
        return self._find_in_parts(image, plan, batch_size)

    def _or_raised(self, people: People, image: np.ndarray) -> People:
        """Return the people of a view, with raised limits where the model's cut them off."""
        if not isinstance(self.network, FindsCrowds) or not self._crowds.limit_reached(people):
            return people
        (people,) = self._find_batch([image], self.network.run_crowd)
        if reached := self._crowds.limit_reached(people, is_raised=True):
            self._crowds.warn_once(reached, "the limits are raised already, so some may be missing")
        return people

    def _find_in_parts(self, image: np.ndarray, plan: Parts, batch_size: int) -> People:
        if isinstance(self.network, FindsBoxes):
            with self._turns:
                boxes, scores = find_boxes_in_parts(self.network, image, plan, self.min_score)
                (people,) = self.network.run([image], [boxes])
            return checked(People(boxes, scores, people.embeddings), self.embedding_dim)
        views, found = plan.cut(image), []
        for start in range(0, len(views), batch_size):
            found += self._find_batch(views[start : start + batch_size])
        found = [self._or_raised(x, view) for x, view in zip(found, views, strict=True)]
        return join_people(plan, found)

    def _find_batch(
        self,
        images: Sequence[np.ndarray],
        run: Callable[[Sequence[np.ndarray]], list[People]] | None = None,
    ) -> list[People]:
        """Find the people of pictures, boxes in their pixels, by ``run`` or the network's own."""
        prepared = [self.network.settings.prepare(image) for image in images]
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for row, image in enumerate(prepared):
            by_shape.setdefault(image.shape, []).append(row)
        found: dict[int, People] = {}
        for rows in by_shape.values():
            with self._turns:
                results = (run or self.network.run)([prepared[row] for row in rows])
            for row, people in zip(rows, results, strict=True):
                seen = checked(people, self.embedding_dim)
                found[row] = in_original_pixels(seen, images[row], prepared[row], self.min_score)
        return [found[row] for row in range(len(images))]

"""How large a model sees people, which decides whether a picture is searched in parts.

Letters: H, W height and width in original pixels, h, w in resized pixels.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sight:
    """The largest picture that a model looks at, and the smallest person that it sees."""

    height: int
    """h of a picture that fills the model's input."""

    width: int
    """w of it."""

    smallest_person: float
    """Height of a person, resized pixels, below which the model is not expected to find them."""

    turns: bool = False
    """Whether an upright picture is given the input turned by a quarter, w x h."""

    def scale(self, height: int, width: int) -> float:
        """Return how many resized pixels an original pixel of a picture (H, W) becomes.

        Where height and width are scaled differently, it is the smaller of both scales: a person of
        a fraction of the width is as hard to see as one of that fraction of the height.
        """
        fits = self.height / height, self.width / width
        if self.turns:
            short, long = sorted((self.height, self.width))
            fits = short / min(height, width), long / max(height, width)
        return min(fits)

"""Notice where a model's limits cut people off, and say so."""

import logging

from person_search.inference.network import Limits, Network
from person_search.people import People

logger = logging.getLogger(__name__)


class Crowds:
    """What is known of pictures that show more people than a network finds at once."""

    def __init__(self, network: Network):
        """Watch what a network finds; one without ``limits`` reaches none."""
        self._limits: Limits | None = getattr(network, "limits", None)
        self._min_score = network.min_score
        self._warned: set[str] = set()

    def limit_reached(self, people: People, is_raised: bool = False) -> str | None:
        """Say which limit may have cut off people of a picture; None: neither.

        Args:
            people: as found in it.
            is_raised: whether with raised limits.
        """
        if self._limits is None:
            return None
        # A lower score shows more boxes, not more people.
        count = int((people.scores >= self._min_score).sum())
        return (self._limits.raised() if is_raised else self._limits).reached_by(count)

    def warn_once(self, reached: str, consequence: str) -> None:
        """Log that a limit was reached, the first time that it has this consequence."""
        if consequence not in self._warned:
            self._warned.add(consequence)
            logger.warning("a picture shows %s; %s", reached, consequence)

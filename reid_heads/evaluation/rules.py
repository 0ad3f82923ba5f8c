"""The rules that crops are scored by, beside the protocol of their data set."""

from dataclasses import dataclass

from reid_heads.evaluation.retrieval import RECALL_RANKS


@dataclass(frozen=True)
class Reranking:
    """Set the sizes of neighbourhoods; the defaults are the paper's for Market-1501.

    Raises:
        ValueError: If a value is out of its range.
    """

    k1: int = 20
    """Neighbours of a k-reciprocal set, at least 1."""

    k2: int = 6
    """Neighbours, the crop itself among them, whose sets are averaged; 1 averages nothing."""

    lambda_value: float = 0.3
    """Share of the original distance, 0..1."""

    def __post_init__(self) -> None:
        if self.k1 < 1 or self.k2 < 1 or not 0 <= self.lambda_value <= 1:
            raise ValueError(
                f"re-ranking: got k1 {self.k1}, k2 {self.k2}, lambda_value {self.lambda_value}; "
                "expected k1 >= 1, k2 >= 1 and lambda_value in 0..1"
            )


@dataclass(frozen=True)
class QueryExpansion:
    """Set how queries are expanded.

    Raises:
        ValueError: If a value is out of its range.
    """

    neighbours: int = 5
    """Gallery crops that are added, at least 1; a smaller gallery is added whole."""

    alpha: float = 3.0
    """Exponent of the weights, at least 0."""

    def __post_init__(self) -> None:
        if self.neighbours < 1 or not self.alpha >= 0:
            raise ValueError(
                f"query expansion: got neighbours {self.neighbours}, alpha {self.alpha}; expected "
                "neighbours >= 1 and alpha >= 0"
            )


@dataclass(frozen=True)
class ReIDRules:
    """Say how crops are ranked; the defaults are the protocols' own numbers and no more.

    Raises:
        ValueError: If a value is out of its range.
    """

    reranking: Reranking | None = None
    """Rank by k-reciprocal re-ranking as well; None leaves it out."""

    query_expansion: QueryExpansion | None = None
    """Rank with expanded queries as well; None leaves it out."""

    single_shot_repeats: int = 10
    """Random galleries of ``cuhk03_classic``."""

    gallery_trials: int = 10
    """Drawn galleries of ``sysu_mm01``."""

    multi_shots: int = 10
    """Crops of each person in each camera in the multi-shot galleries of ``sysu_mm01``."""

    recall_ranks: tuple[int, ...] = RECALL_RANKS
    """K of the Recall@K of metric learning."""

    def __post_init__(self) -> None:
        for name in ("single_shot_repeats", "gallery_trials", "multi_shots"):
            number = getattr(self, name)
            if number < 1:
                raise ValueError(f"{name}: got {number}, expected at least 1")
        if not self.recall_ranks or min(self.recall_ranks) < 1:
            raise ValueError(
                f"recall_ranks: got {self.recall_ranks}, expected whole numbers of at least 1"
            )

    @property
    def reorders(self) -> bool:
        """Whether queries are expanded or the gallery is re-ranked."""
        return self.reranking is not None or self.query_expansion is not None


PLAIN = ReIDRules()

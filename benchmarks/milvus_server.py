"""Measure a gallery on a Milvus server: writing, exact search, and what an approximate index takes.

Run:  milvus-server --data output/milvus --proxy-port 19777      (pip install milvus==2.3.5)
      python benchmarks/milvus_server.py http://127.0.0.1:19777 [--people 100000] [--queries 50]

Made-up people, 256 numbers each and four to a frame, are put into one gallery for each kind of
index, asked through the store, and compared with exact search in numpy in the same run. The
galleries are left on the server; the next run replaces them. The table goes to
`benchmarks/results/milvus_server.md`.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np
from gallery_speed_worker import (
    FINGERPRINT,
    FRAMES_A_PUT,
    PEOPLE_PER_FRAME,
    NumpyGallery,
    make_entries,
)
from vector_store_rows import DIM, make_questions

from person_search.gallery.approximate import IndexOptions
from person_search.gallery.milvus_server import MilvusServer
from person_search.gallery.milvus_store import MilvusStore, list_names
from person_search.gallery.search_options import ALL_FRAMES, FrameFilter

RESULTS = Path(__file__).parent / "results" / "milvus_server.md"
KINDS = ("FLAT", "HNSW", "IVF_FLAT")
TOPS = (10, 100)
SMALL_PUTS = 20

Answer = set[tuple[str, int]]


def measure(address: str, kind: str, size: int, truth: dict) -> dict:
    """Fill a gallery with `size` people, wait for its index, and ask it."""
    options = IndexOptions.parse(None if kind == "FLAT" else {"index_type": kind})
    name = f"speed_{kind.lower()}"
    if name in list_names(address):
        server = MilvusServer(address)
        for part in ("frames", "people"):
            server.call("drop_collection", f"{name}_{part}")
        server.close()
    store = MilvusStore.create(address, name, FINGERPRINT, DIM, options, None, is_new=True)
    seconds, entries = 0.0, make_entries(size, DIM)
    while some := list(islice(entries, FRAMES_A_PUT)):
        begin = time.perf_counter()
        store.put(some)
        seconds += time.perf_counter() - begin
    small = []
    for entry in islice(make_entries(PEOPLE_PER_FRAME * SMALL_PUTS, DIM, size), SMALL_PUTS):
        begin = time.perf_counter()
        store.put([entry])
        small.append(time.perf_counter() - begin)
        store.delete([entry[0].name])
    before = ask(store, truth) if options.as_dict() else None
    begin = time.perf_counter()
    store.prepare()
    built = time.perf_counter() - begin
    result = {
        "kind": kind,
        "rows_per_second": size / seconds,
        "small_put_ms": 1000 * float(np.median(small)),
        "build_seconds": built,
        "before": before,
        **ask(store, truth),
        "camera_ms": time_searches(store, truth, FrameFilter(cameras=["camera 07"])),
    }
    begin = time.perf_counter()
    counts = store.counts()
    result["counts_seconds"] = time.perf_counter() - begin
    assert counts[:2] == (size // PEOPLE_PER_FRAME, size)
    store.close()
    begin = time.perf_counter()
    store = MilvusStore.open(address, name)
    store.nearest(truth["queries"][0], ALL_FRAMES, TOPS[0], True)
    result["open_seconds"] = time.perf_counter() - begin
    store.close()
    return result


def ask(store: MilvusStore, truth: dict) -> dict:
    """Return recall of the best 10 and 100 people, and the median time of 10 best frames."""
    found: dict = {f"recall_{top}": [] for top in TOPS}
    for query, wanted in zip(truth["queries"], truth["answers"], strict=True):
        people = store.nearest(query, ALL_FRAMES, max(TOPS), False)
        for top in TOPS:
            got = {(p.frame_name, p.number) for p in people[:top]}
            found[f"recall_{top}"].append(len(got & wanted[top]) / top)
    found = {name: float(np.mean(values)) for name, values in found.items()}
    return {**found, "p50_ms": time_searches(store, truth, ALL_FRAMES)}


def time_searches(store: MilvusStore, truth: dict, frames: FrameFilter) -> float:
    """Return the median ms of asking for the 10 best frames, of the least disturbed of 5 rounds."""
    return time_calls(
        [lambda q=q: store.nearest(q, frames, TOPS[0], True) for q in truth["queries"]]
    )


def time_calls(calls: list[Callable]) -> float:
    """Return the median ms of calls, of the round of 5 where it is least."""
    medians = []
    for _ in range(5):
        times = []
        for call in calls:
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
        medians.append(1000 * float(np.median(times)))
    return min(medians)


def find_truth(size: int, count: int) -> dict:
    """Rank everybody in numpy: the queries, the true answers, and the time of an answer."""
    gallery = NumpyGallery(size, DIM)
    questions = make_questions("no filter", count, size)
    answers = []
    for question in questions:
        matches = gallery.search(question, max(TOPS), False)
        people = [(m.image, int(m.person.rpartition("_")[2])) for m in matches]
        answers.append({top: set(people[:top]) for top in TOPS})
    ms = time_calls([lambda q=q: gallery.search(q, TOPS[0], True) for q in questions])
    return {"queries": [q.vector for q in questions], "answers": answers, "ms": ms}


def write_table(results: list[dict], truth: dict, arguments: argparse.Namespace, run: str) -> str:
    """Return the results as a page."""
    head = (
        "index | ingest people/s | put of one frame ms | index built after s | p50 ms, 10 best "
        "frames | of one camera ms | recall@10 | recall@100 | open to first answer s | counts s"
    )
    lines = [
        "# A gallery on a Milvus server",
        "",
        f"`{' '.join(['python', *sys.argv])}`: {arguments.people:,} made-up people of {DIM} "
        f"numbers, {PEOPLE_PER_FRAME} to a frame, {FRAMES_A_PUT} frames a put, each put counted "
        "back from the server. *Index built*: from the end of writing until the server searches "
        "with it (`prepare`); in brackets recall@10 before. Numpy in memory, in the same run: p50 "
        f"{truth['ms']:.1f} ms.",
        "",
        f"| {head} |",
        f"|{'---|' * (head.count('|') + 1)}",
    ]
    for r in results:
        before = "" if r["before"] is None else f" ({r['before']['recall_10']:.3f})"
        built = "-" if r["before"] is None else f"{r['build_seconds']:.0f}"
        cells = [
            r["kind"], f"{r['rows_per_second']:,.0f}", f"{r['small_put_ms']:.0f}", built,
            f"{r['p50_ms']:.1f}", f"{r['camera_ms']:.1f}", f"{r['recall_10']:.3f}{before}",
            f"{r['recall_100']:.3f}", f"{r['open_seconds']:.1f}", f"{r['counts_seconds']:.1f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", run, ""])


def main() -> None:
    """Measure the kinds of index that are asked for, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", help="http://host:port of a server with nothing to lose")
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    arguments = parser.parse_args()
    server = MilvusServer(arguments.address)
    version = server.call("get_server_version")
    server.close()
    truth = find_truth(arguments.people, arguments.queries)
    results, loads = [], []
    for kind in arguments.kinds:
        loads.append(os.getloadavg()[0])
        results.append(measure(arguments.address, kind, arguments.people, truth))
        print(json.dumps(results[-1]), file=sys.stderr, flush=True)
    run = (
        f"{datetime.now(UTC):%Y-%m-%d}; Milvus {version}; {os.cpu_count()} cores, "
        f"{platform.machine()}, shared by server, client and numpy; {arguments.queries} queries in "
        "5 rounds, the least median counts; load average before each kind and at the end: "
        f"{', '.join(f'{x:.1f}' for x in [*loads, os.getloadavg()[0]])}."
    )
    RESULTS.write_text(write_table(results, truth, arguments, run))
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()

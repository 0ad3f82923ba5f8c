"""One step of measuring a vector store, in a process and an environment of its own.

Called by `vector_stores.py`: `python vector_store_worker.py STEP STORE FOLDER JSON`, with the
step's options as JSON; the result is the last line of the output, as JSON.
"""

import json
import os
import re
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from vector_store_adapters import STORES
from vector_store_baseline import Store
from vector_store_rows import (
    BLOCK,
    KINDS,
    Question,
    camera_of,
    frame_of,
    make_questions,
    make_rows,
    recall,
    timestamps_of,
)

WARM_UP = 3
# Spread over some seconds or minutes: the one that was disturbed least counts.
ROUNDS = 5
# Rows drawn ahead of the clock; more would not fit beside a million rows.
AHEAD = 10_000
FETCH = 500


def fill(store: Store, options: dict) -> dict:
    """Load `size` rows: seconds without drawing them, and of `finish`."""
    store.create()
    seconds = 0.0
    for first in range(0, options["size"], max(AHEAD, store.batch)):
        rows = [
            make_rows(start, store.batch)
            for start in range(first, first + max(AHEAD, store.batch), store.batch)
        ]
        begin = time.perf_counter()
        for batch in rows:
            store.insert(batch)
        seconds += time.perf_counter() - begin
    begin = time.perf_counter()
    store.finish()
    finish_seconds = time.perf_counter() - begin
    memory = read_memory(store)
    store.close()
    return {
        "batch": store.batch,
        "rows_per_second": options["size"] / (seconds + finish_seconds),
        "finish_seconds": finish_seconds,
        "memory_mb": memory,
    }


def query(store: Store, options: dict) -> dict:
    """Open what was filled, and time the first query and all kinds of queries, in rounds."""
    size, count = options["size"], options["queries"]
    questions = {kind: make_questions(kind, count, size) for kind in KINDS}
    with open(options["truth"]) as file:
        truth = json.load(file)
    begin = time.perf_counter()
    store.open()
    opened = time.perf_counter()
    store.search(questions[KINDS[0]][0])
    answered = time.perf_counter()
    even_priorities(find_engine_pids(store))
    result: dict = {
        "open_seconds": opened - begin,
        "open_and_first_query_seconds": answered - begin,
        "rows": store.count(),
        "queries": count,
    }
    rounds: dict[str, list[dict]] = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        for kind in KINDS:
            rounds[kind].append(ask(store, questions[kind], truth[kind]))
    result["kinds"] = {kind: choose_round(parts) for kind, parts in rounds.items()}
    result["memory_mb"] = read_memory(store)
    store.close()
    return result


def ask(store: Store, questions: list[Question], truth: list[dict]) -> dict:
    """Time questions, and compare the answers with the true ones."""
    for question in questions[:WARM_UP]:
        store.search(question)
    pids = find_engine_pids(store)
    times, recalls, wrong, cpu = [], [], 0, 0.0
    for question, best in zip(questions, truth, strict=True):
        begin, cpu_begin = time.perf_counter(), read_cpu_seconds(pids)
        answer = store.search(question)
        times.append(1000 * (time.perf_counter() - begin))
        cpu += read_cpu_seconds(pids) - cpu_begin
        known = {int(row): similarity for row, similarity in best.items()}
        recalls.append(recall([row for row, _, _ in answer], known))
        wrong += sum(not is_payload(row, payload) for row, _, payload in answer)
    return {
        "p50_ms": float(np.percentile(times, 50)),
        "p95_ms": float(np.percentile(times, 95)),
        "cpu_ms": 1000 * cpu / len(times),
        "recall": float(np.mean(recalls)),
        "wrong_payloads": wrong,
    }


def choose_round(rounds: list[dict]) -> dict:
    """Return the times of the round that others disturbed least, and the worst of the answers."""
    best = min(rounds, key=lambda part: part["p50_ms"])
    return {
        "p50_ms": best["p50_ms"],
        "p95_ms": best["p95_ms"],
        "cpu_ms": statistics.median(part["cpu_ms"] for part in rounds),
        "p50_ms_of_rounds": [part["p50_ms"] for part in rounds],
        "recall": min(part["recall"] for part in rounds),
        "wrong_payloads": sum(part["wrong_payloads"] for part in rounds),
    }


def insert(store: Store, options: dict) -> dict:
    """Insert batches until killed or told to stop; one byte of FOLDER/acks for each acknowledged.

    The processes of the engine are named in FOLDER/pids before.
    """
    folder, batch = store.folder, options["batch"]
    store.create()
    pids = [*find_children(os.getpid()), *store.engine_pids()]
    (folder / "pids").write_text(json.dumps(pids))
    acks = os.open(folder / "acks", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    done = 0
    while not (folder / "stop").exists():
        store.insert(make_rows(done * batch, batch))
        os.write(acks, b".")
        done += 1
        time.sleep(options.get("pause", 0.0))
    store.close()
    return {"batches": done}


def check(store: Store, options: dict) -> dict:
    """Compare what is there after a kill with what was acknowledged, then write once more."""
    batch, acked = options["batch"], options["acked"]
    begin = time.perf_counter()
    store.open()
    opened = time.perf_counter() - begin
    count = store.count()
    blocks = sorted({*range(min(acked, 10)), *range(max(acked - 20, 0), acked)})
    present = {block: compare_batch(store, block * batch, batch) for block in [*blocks, acked]}
    in_flight = present.pop(acked)[0]
    extra = store.search(make_questions(KINDS[0], 1, BLOCK)[0])
    store.insert(make_rows((acked + 10) * batch, batch))
    written = compare_batch(store, (acked + 10) * batch, batch)[0]
    store.close()
    return {
        "open_seconds": opened,
        "lost": max(acked * batch + in_flight - count, sum(batch - n for n, _ in present.values())),
        "doubled": max(count - acked * batch - in_flight, 0),
        "corrupt": sum(wrong for _, wrong in present.values()),
        "in_flight": in_flight,
        "answers": len(extra),
        "writes_again": written == batch,
    }


def compare_batch(store: Store, first: int, count: int) -> tuple[int, int]:
    """Return how many rows of a batch are there, and how many of them are wrong."""
    rows, found = make_rows(first, count), {}
    for start in range(first, first + count, FETCH):
        found.update(store.fetch(list(range(start, min(start + FETCH, first + count)))))
    wrong = sum(
        not np.allclose(vector, rows.vectors[row - first], atol=1e-6)
        or not is_payload(row, payload)
        for row, (vector, payload) in found.items()
    )
    return len(found), wrong


def answer(store: Store, options: dict) -> dict:
    """Fill a small store, and return the answers to questions of all kinds."""
    fill(store, options)
    store.open()
    answers = [
        [(row, similarity) for row, similarity, _ in store.search(question)]
        for kind in KINDS
        for question in make_questions(kind, options["questions"], options["size"])
    ]
    store.close()
    return {"answers": answers}


def read(store: Store, options: dict) -> dict:
    """Open beside a writer, and count twice: a live reader sees what was added in between."""
    store.open()
    counts = [store.count()]
    time.sleep(options["wait"])
    counts.append(store.count())
    answers = len(store.search(make_questions(KINDS[0], 1, BLOCK)[0]))
    store.close()
    return {"counts": counts, "answers": answers}


def is_payload(row: int, payload: dict) -> bool:
    """Say whether what is stored beside a vector belongs to its row."""
    rows = make_payload(row)
    return all(
        payload[key] == value if isinstance(value, str) else np.isclose(payload[key], value)
        for key, value in rows.items()
    )


def make_payload(row: int) -> dict:
    """Return what is stored beside a row's vector."""
    x, y = row % 900, row % 400
    values = {"frame": frame_of(row), "camera": camera_of(row)}
    values["timestamp"] = float(timestamps_of(np.array([row]))[0])
    return values | {"x1": x, "y1": y, "x2": x + 40, "y2": y + 110, "score": row % 997 / 997}


def read_memory(store: Store) -> dict:
    """Return MB of this process and of its engine's processes, shared pages counted once."""
    engine = sum(read_resident(pid) for pid in find_engine_pids(store))
    return {"client": read_resident(os.getpid()), "engine": engine}


def find_engine_pids(store: Store) -> list[int]:
    """Return all processes of a store but this one."""
    pids = {*find_children(os.getpid())}
    for pid in store.engine_pids():
        pids |= {pid, *find_children(pid)}
    return sorted(pids)


def even_priorities(pids: list[int]) -> None:
    """Give all threads of an engine this process's priority.

    The search threads of Milvus Lite 2.5 lower theirs to nice 10, and would hardly get their turn
    beside the jobs that run on this machine.
    """
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), os.getpriority(os.PRIO_PROCESS, 0))


def read_cpu_seconds(pids: list[int]) -> float:
    """Return the CPU time of this process and of others so far, all threads together."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # Also of children that have ended: PostgreSQL starts processes for a single query.
        ticks += sum(map(int, fields[11:15]))
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def read_resident(pid: int) -> float:
    """Return the proportional resident set of a process in MB; 0 of one that has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def find_children(pid: int) -> list[int]:
    """Return all descendants of a process."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


STEPS = {
    "fill": fill, "query": query, "insert": insert, "check": check, "read": read, "answer": answer,
}  # fmt: skip

if __name__ == "__main__":
    step, name, folder, options = sys.argv[1:]
    print(json.dumps(STEPS[step](STORES[name](Path(folder)), json.loads(options))))

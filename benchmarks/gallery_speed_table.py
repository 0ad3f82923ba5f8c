"""The tables of the gallery's benchmark."""

from pathlib import Path

from vector_store_rows import CAMERAS, KINDS, PEOPLE_PER_FRAME, WINDOW_SHARE

INTRO = """`nice -n -5 python benchmarks/gallery_speed.py`. The machine has two cores and was
not quiet: other people's jobs ran beside this. Every kind of query was asked in five rounds,
gallery and numpy one after the other, and p50 and p95 are those of the round with the least p50, of
each for itself. Take p50 seriously, p95 with a grain of salt. The CPU time, in brackets, is hardly
changed by others; where a query uses both cores, the wall time of a quiet machine is about half of
it.
"""
QUERIES = f"""People are made up: unit vectors around 2,000 centres, {PEOPLE_PER_FRAME} people to a
frame, {CAMERAS} cameras. *camera* lets {100 // CAMERAS} % of the people through, *time*
{WINDOW_SHARE:.0%}, both 0.5 %. Times are p50 / p95 in ms of `GalleryIndex.search`, in brackets the
CPU time; *numpy* answers the same question with the same matches from float32 arrays in memory (a
product of matrix and vector, `argpartition`), which are loaded and stay loaded. Recall is against
numpy. Galleries are filled 200 frames to a put, in brackets people per second of CPU time; indexing
puts 4 frames at a time. *First answer* is from opening to the first ten people found, in a new
process: without the matrix beside the file, which it then makes of a large gallery, and with it.
Memory is that of the process before numpy's arrays are made, with the matrix that it maps from its
file; *own* is the rest. *Most* is the highest while the matrix is made. Removing a frame is given
without and with the removal of its bytes, which writes the file anew. Bytes are those of the file
after all puts, and of the matrix."""


def write_table(content: dict, path: Path) -> str:
    """Write Markdown beside the JSON, and return it."""
    lines = ["# Speed of the gallery", "", INTRO]
    if "indexing" in content:
        lines += ["## Indexing", "", *describe_indexing(content["indexing"]), ""]
    cases = {key: case for key, case in content.items() if key.startswith("queries")}
    order = sorted(cases.values(), key=lambda case: (case["size"], case["dim"]))
    if order:
        lines += ["## Queries", "", QUERIES, "", *gallery_table(order), ""]
        names = list(order[0]["kinds"])
        for name in names:
            lines += [f"### {name}", "", *query_table(order, name), ""]
        lines += [describe_runs([case["run"] for case in order]), ""]
    text = "\n".join(lines)
    path.with_suffix(".md").write_text(text)
    return text


def describe_indexing(case: dict) -> list[str]:
    """Lay out the rates of indexing and its shares."""
    frames, seconds = case["frames"], case["seconds"]
    rest = seconds - case["model_seconds"] - case["store_seconds"]
    rows = {
        "model": case["model_seconds"],
        "store": case["store_seconds"],
        "waiting for frames, and the rest": rest,
        "**end to end**": seconds,
        "reading and decoding alone (in threads, beside the model)": case["reading_alone_seconds"],
        "the same footage again, nothing new": case["again_seconds"],
    }
    lines = ["| part | ms per frame | frames/s | share |", "|---|---|---|---|"]
    for name, value in rows.items():
        share = f"{value / seconds:.0%}" if value <= seconds else ""
        rate = f"{frames / value:.1f}" if value > 0 else ""
        lines.append(f"| {name} | {1000 * value / frames:.1f} | {rate} | {share} |")
    memory = case["memory_mb"]
    return [
        f"{frames} drawn frames, {case['people']} people found, batches of 4, the model that comes "
        f"with the code, on the CPU. {describe_runs([case['run']])}",
        "",
        *lines,
        "",
        f"Memory at the end: {memory['resident']:.0f} MB with the model. The gallery takes "
        f"{case['disk_bytes'] / 1e6:.1f} MB on the disk.",
    ]


def gallery_table(cases: list[dict]) -> list[str]:
    """Lay out what does not depend on the query."""
    lines = [
        "| people | D | people/s put (CPU) | put of 4 frames ms | bytes a person: file + matrix "
        "| first answer s: without, with matrix | memory MB (own), most | numpy's arrays MB "
        "| `info` ms | removing a frame s: deleted, purged |",
        "|---" * 10 + "|",
    ]
    for case in cases:
        fill, memory, size = case["fill"], case["memory_mb"], case["size"]
        first, without, removed = case["first"], case["without_matrix"], case["remove"]["seconds"]
        cells = [*describe_case(case)]
        cells.append(f"{fill['rows_per_second']:,.0f} ({fill['rows_per_cpu_second']:,.0f})")
        cells.append(f"{fill['small_put_ms']:.0f}")
        cells.append(f"{fill['disk'] / size:,.0f} + {first['matrix'] / size:.0f}")
        cells.append(f"{without['seconds']:.1f}, {first['seconds']:.1f}")
        most = without["memory_mb"]["most"]
        cells.append(f"{memory['resident']:.0f} ({memory['own']:.0f}), {most:.0f}")
        cells.append(f"{case['numpy_memory_mb']:.0f}")
        cells.append(f"{case['info_ms']:.1f}")
        cells.append(f"{removed['deleted']:.2f}, {removed['purged']:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def query_table(cases: list[dict], name: str) -> list[str]:
    """Lay out the latencies of one kind of question."""
    heads = ["people", "D"]
    for kind in KINDS:
        heads += [kind, "numpy"]
    lines = ["| " + " | ".join([*heads, "recall"]) + " |", "|---" * (len(heads) + 1) + "|"]
    for case in cases:
        cells = describe_case(case)
        for kind in KINDS:
            times = case["kinds"][name][kind]
            cells += [pair(times["gallery_ms"]), pair(times["numpy_ms"])]
        recalls = [case["kinds"][name][kind]["recall"] for kind in KINDS]
        cells.append(describe_recalls(recalls))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def describe_recalls(recalls: list[float]) -> str:
    """Return 1 where all is found, else the recall of each kind of query."""
    if min(recalls) == 1:
        return "1"
    return ", ".join(f"{value:.3f}" for value in recalls)


def describe_case(case: dict) -> list[str]:
    """Lay out the first cells of a row."""
    return [f"{case['size']:,}", str(case["dim"])]


def pair(times: dict) -> str:
    """Return p50, p95 and CPU time."""
    p50, p95, cpu = (
        f"{times[key]:.{2 if times[key] < 10 else 1}f}" for key in ("p50", "p95", "cpu")
    )
    return f"{p50} / {p95} ({cpu})"


def describe_runs(runs: list[dict]) -> str:
    """Name dates and machine."""
    dates = ", ".join(sorted({run["date"] for run in runs}))
    loads = [run["load"] for run in runs]
    load = f"{min(loads)}" if len(set(loads)) == 1 else f"{min(loads)}-{max(loads)}"
    return (
        f"{dates}; {runs[0]['machine']}, {runs[0]['threads']} threads, nice {runs[0]['nice']}, "
        f"load average {load}."
    )

"""Measure the page under load: many clients at once, what stays in memory, and slow clients.

Run:  PYTHONPATH=. python benchmarks/page_load.py [--clients 30] [--searches 300] [--frames 60]

A small drawn gallery is served by `person-search serve` in a process of its own. Clients, each from
an address of 127.0.0.0/8, upload a picture and search, one search after the other: once by
themselves and once beside slow ones, which send uploads by drips, never read their answers, or
leave heads unfinished. Resident memory is read before and after, once the first searches have
warmed the server up. Exits with 1 where memory grew by more than 5 % or the median search took more
than 20 % longer beside slow clients.

No results are kept: what is measured depends on what else the machine does.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np

from demo.start_gallery import draw_footage
from person_search.footage.files import FootageOptions
from person_search.gallery.add_footage import index_footage
from person_search.gallery.index import GalleryIndex
from person_search.inference.finder import PersonFinder
from person_search.inference.models import BUILTIN, find_model

ROOT = Path("output/page_load")
MOST_GROWTH = 0.05
MOST_SLOWDOWN = 0.20
FIRST, FIRST_SLOW = 10, 100
"""Last part of the first client's address, and of the first slow one's."""


def prepare(frames: int) -> tuple[Path, Path]:
    """Draw and index a gallery, as far as that is not done; return its file and a query."""
    footage, examples = draw_footage(ROOT / f"drawn{frames}", frames, num_examples=1)
    path = ROOT / f"g{frames}.db"
    if not path.exists():
        finder = PersonFinder.load(find_model(BUILTIN))
        made = {"fingerprint": finder.fingerprint, "embedding_dim": finder.embedding_dim}
        with GalleryIndex.create(path, **made, card=finder.card) as index:
            options = FootageOptions(camera_from="folder", time_from="exif")
            index_footage(index, finder, [footage], options, progress=False)
    return path, examples[0]


@contextmanager
def served(gallery: Path):
    """Serve a gallery in another process; yields its address and its process id."""
    command = [sys.executable, "-m", "person_search.cli", "serve", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--gallery", str(gallery), "--model", BUILTIN],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    try:
        found = re.search(r"ready: (\S+)", process.stdout.readline())
        if found is None:
            raise SystemExit("the page did not start")
        yield found[1], process.pid
    finally:
        process.terminate()
        process.wait(30)


def resident(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


def address(number: int) -> str:
    """Return an address of this computer for a client."""
    return f"127.0.0.{number}"


def search(client: httpx.Client, picture: bytes) -> float:
    """Upload a picture and search for the first person in it; return the seconds that it took."""
    begin = time.perf_counter()
    files = {"files": ("query.jpg", picture)}
    (path,) = client.post("gradio_api/upload", files=files).raise_for_status().json()
    taken = {"path": path, "meta": {"_type": "gradio.FileData"}}
    data = [taken, None, 1, None, 10, None, None, None, None, "appearance", True]
    joined = client.post("gradio_api/call/search", json={"data": data}).raise_for_status()
    told = client.get(f"gradio_api/call/search/{joined.json()['event_id']}").text
    if "event: complete" not in told or not json.loads(told.rpartition("data: ")[2])[0]["matches"]:
        raise RuntimeError(f"a search failed: {told[:300]}")
    return time.perf_counter() - begin


def load(url: str, picture: bytes, clients: int, searches: int) -> list[float]:
    """Search from many clients at once; return the seconds of each search."""

    def one(number: int) -> list[float]:
        transport = httpx.HTTPTransport(local_address=address(FIRST + number))
        with httpx.Client(base_url=url, transport=transport, timeout=600) as client:
            return [search(client, picture) for _ in range(searches // clients)]

    with ThreadPoolExecutor(clients) as pool:
        return [seconds for some in pool.map(one, range(clients)) for seconds in some]


@contextmanager
def slow_clients(url: str, count: int):
    """Let clients send by drips, read nothing, or not end their heads, until the context ends."""
    place, is_over = urlsplit(url), threading.Event()
    length = "content-length: 10000000\r\n\r\n"
    heads = (
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: {place.netloc}\r\n"
        f"content-type: multipart/form-data; boundary=XX\r\n{length}"
        '--XX\r\ncontent-disposition: form-data; name="files"; filename="a.png"\r\n\r\n',
        f"GET /config HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: ",
    )

    def drip(number: int) -> None:
        while not is_over.is_set():
            try:
                source = (address(FIRST_SLOW + number), 0)
                goal = (place.hostname, place.port)
                with socket.create_connection(goal, 10, source) as sent:
                    sent.sendall(heads[number % len(heads)].encode())
                    while not is_over.wait(0.2):
                        # The second waits with its answer unread.
                        sent.sendall(b"" if number % len(heads) == 1 else b"x")
            except OSError:
                is_over.wait(0.2)  # thrown out: come again

    threads = [threading.Thread(target=drip, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join(15)


def main() -> int:
    """Measure; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=30)
    parser.add_argument("--searches", type=int, default=300, help="of all clients")
    parser.add_argument("--slow", type=int, default=9, help="slow clients")
    parser.add_argument("--frames", type=int, default=60, help="of the gallery")
    args = parser.parse_args()
    gallery, query = prepare(args.frames)
    picture = query.read_bytes()
    with served(gallery) as (url, pid):
        load(url, picture, args.clients, max(args.clients, args.searches // 3))  # warms up
        before = resident(pid)
        alone = load(url, picture, args.clients, args.searches)
        after = resident(pid)
        with slow_clients(url, args.slow):
            beside = load(url, picture, args.clients, args.searches)
        again = resident(pid)
    growth = after / before - 1
    slowdown = float(np.median(beside) / np.median(alone)) - 1
    print(f"{len(alone)} searches of {args.clients} clients: none failed")
    for name, seconds in (("alone", alone), ("beside slow clients", beside)):
        middle, late = np.percentile(seconds, [50, 95])
        print(f"  {name}: median {middle:.2f} s, 95 % within {late:.2f} s")
    print(
        f"memory: {before:.0f} MB, {after:.0f} MB after ({growth:+.1%}), {again:.0f} MB at the end"
    )
    print(f"beside {args.slow} slow clients the median search took {slowdown:+.1%}")
    return int(growth > MOST_GROWTH or slowdown > MOST_SLOWDOWN)


if __name__ == "__main__":
    sys.exit(main())

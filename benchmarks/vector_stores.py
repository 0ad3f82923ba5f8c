"""Measure the vector stores that could hold a gallery, each in an environment of its own.

Run:  nice -n -5 python benchmarks/vector_stores.py [--stores milvus2 numpy ...] [--million]
          [--parts speed_100000 ...] [--work /tmp/folder]

Needs uv, Linux and a package index: every store is installed from PyPI, in the version named in
`vector_store_candidates.py`; the gallery itself is that of this checkout. A measurement that is
done is kept in `output/vector_stores/`, and a later start continues with the next; remove a file
there to measure that again. Of a store that has none there, the tables show what
`benchmarks/results/vector_stores.json` knows, with its date. Data lies in the working folder only
while it is measured. As root, PostgreSQL needs a user to run as: the package that brings it makes
one named `pgserver`.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from vector_store_agreement import QUESTIONS_A_KIND, SIZE, compare_answers
from vector_store_candidates import CANDIDATES, Candidate
from vector_store_rows import TOP, true_answers
from vector_store_table import RESULTS, write_table
from vector_store_worker import find_children

KEPT = Path("output/vector_stores")
WORKER = Path(__file__).with_name("vector_store_worker.py")
THREADS = 2
QUERIES = {100_000: 50, 1_000_000: 20}
# Of each kind: of the client alone, and with its engine where that is another process.
CRASH_TRIALS = 8
CRASH_BATCH = 1000
# A store may be locked by an engine that outlived its client: seconds to go on trying.
REOPEN_LIMIT = 120
STEP_LIMIT = 1800
PARTS = ("life", "speed_100000", "crash", "beside", "agreement")


class StepError(RuntimeError):
    """A step in another process failed; has the end of what it said."""


class Bench:
    """Measures one candidate; each method returns what is written down of it."""

    def __init__(self, candidate: Candidate, work: Path) -> None:
        """Use a folder of the candidate's own below `work`."""
        self.candidate = candidate
        self.environment = work / "environments" / candidate.name
        self.data = work / candidate.name

    def install(self) -> dict:
        """Install into a fresh environment: seconds, MB and what the packages say of themselves."""
        shutil.rmtree(self.environment, ignore_errors=True)
        uv = [shutil.which("uv") or "uv"]
        subprocess.run([*uv, "venv", "-q", "-p", sys.executable, self.environment], check=True)
        begin = time.perf_counter()
        install = [*uv, "pip", "install", "-q", "--link-mode=copy", "-p", self.environment]
        subprocess.run([*install, *self.candidate.packages], check=True)
        seconds = time.perf_counter() - begin
        folder = next(self.environment.glob("lib/python3*/site-packages"))
        found = {d.name: d for d in importlib.metadata.distributions(path=[str(folder)])}
        named = [package.split("[")[0].split("=")[0] for package in self.candidate.packages]
        return {
            "install_seconds": seconds,
            "megabytes": measure_folder(self.environment),
            "packages": len(found),
            "licences": {name: read_licence(found[name]) for name in named if name in found},
            "versions": {name: found[name].version for name in named if name in found},
        }

    def life(self) -> dict:
        """Ask PyPI for the releases of the store's packages."""
        result = {}
        pinned = dict(package.split("==") for package in self.candidate.packages if "==" in package)
        used = {name.split("[")[0]: version for name, version in pinned.items()}
        for package in self.candidate.tracked:
            with urllib.request.urlopen(
                f"https://pypi.org/pypi/{package}/json", timeout=60
            ) as page:
                releases = json.load(page)["releases"]
            dates = {
                version: files[0]["upload_time"][:10]
                for version, files in releases.items()
                if files
            }
            newest = max(dates, key=lambda version: dates[version])
            year_ago = f"{datetime.now(UTC).year - 1}{datetime.now(UTC):-%m-%d}"
            result[package] = {
                "first": min(dates.values()),
                "used": used[package],
                "used_date": dates[used[package]],
                "newest": newest,
                "newest_date": dates[newest],
                "releases": len(dates),
                "releases_last_year": sum(date >= year_ago for date in dates.values()),
            }
        return result

    def speed(self, size: int, work: Path) -> dict:
        """Fill, reopen in a new process, and query."""
        truth = work / f"truth-{size}-{QUERIES[size]}.json"
        if not truth.exists():
            truth.write_text(json.dumps(true_answers(size, QUERIES[size])))
        folder = self.empty("speed")
        filled = self.step("fill", folder, {"size": size})
        megabytes = measure_folder(folder)
        options = {"size": size, "queries": QUERIES[size], "truth": str(truth)}
        asked = self.step("query", folder, options)
        shutil.rmtree(folder)
        return {"fill": filled, "disk_mb": megabytes, "query": asked, "run": describe_run()}

    def crash(self) -> dict:
        """Kill the process, or it and its engine, at random moments while it inserts."""
        delays = random.Random(1)
        trials = []
        while len(trials) < CRASH_TRIALS * len({trial["killed"] for trial in trials} or "1"):
            trials.append(self.crash_once(delays.uniform(0.2, 3.0), len(trials) % 2 == 1))
        return {"batch": CRASH_BATCH, "trials": trials, "run": describe_run()}

    def crash_once(self, delay: float, with_engine: bool) -> dict:
        """Kill `delay` seconds after the first acknowledgement, and look at what is left."""
        folder = self.empty("crash")
        process = self.start("insert", folder, {"batch": CRASH_BATCH})
        wait_for(lambda: count_acks(folder) > 0, process)
        time.sleep(delay)
        engine = find_engine(process.pid, folder)
        # The engine first: it must not have a chance to finish its client's request.
        for pid in [*(engine if with_engine else []), process.pid]:
            kill(pid)
        process.wait()
        acked = count_acks(folder)
        result = self.check(folder, {"batch": CRASH_BATCH, "acked": acked})
        for pid in find_engine(process.pid, folder):
            kill(pid)
        shutil.rmtree(folder, ignore_errors=True)
        killed = "process" if not engine else "client and engine" if with_engine else "client"
        return {"killed": killed, "acked": acked, **result}

    def check(self, folder: Path, options: dict) -> dict:
        """Open what a killed process left, again and again while it is locked."""
        begin = time.perf_counter()
        while True:
            waited = time.perf_counter() - begin
            try:
                return {**self.step("check", folder, options), "locked_seconds": waited}
            except StepError as error:
                if waited > REOPEN_LIMIT:
                    return {"error": str(error), "locked_seconds": waited}
                time.sleep(0.5)

    def beside(self) -> dict:
        """Read from a second process while a first one writes."""
        folder = self.empty("beside")
        process = self.start("insert", folder, {"batch": 100, "pause": 0.2})
        wait_for(lambda: count_acks(folder) > 2, process)
        try:
            result = self.step("read", folder, {"wait": 3.0})
        except StepError as error:
            result = {"error": str(error).strip().splitlines()[-1]}
        before = count_acks(folder)
        time.sleep(2)
        result["writer_went_on"] = count_acks(folder) > before and process.poll() is None
        (folder / "stop").touch()
        process.wait(120)
        shutil.rmtree(folder, ignore_errors=True)
        return result

    def agreement(self, old: "Bench") -> dict:
        """Ask this and the old engine the same questions on the same rows."""
        answers = []
        for bench, store in ((self, "sqlite"), (old, "milvus2_inner")):
            folder = bench.empty("agreement")
            options = {"size": SIZE, "questions": QUESTIONS_A_KIND}
            answers.append(bench.step("answer", folder, options, store)["answers"])
            shutil.rmtree(folder)
        found = compare_answers(*answers)
        return {**found, "size": SIZE, "top": TOP, "run": describe_run()}

    def empty(self, name: str) -> Path:
        """Return an empty folder."""
        shutil.rmtree(self.data / name, ignore_errors=True)
        (self.data / name).mkdir(parents=True)
        return self.data / name

    def command(self, step: str, folder: Path, options: dict, store: str = "") -> list[str]:
        """Return the command line of a step in the candidate's environment."""
        python = str(self.environment / "bin" / "python")
        name, values = store or self.candidate.name, json.dumps(options)
        return [python, "-W", "ignore", str(WORKER), step, name, str(folder), values]

    def step(self, step: str, folder: Path, options: dict, store: str = "") -> dict:
        """Run a step to its end; of the candidate's own store, unless another is named."""
        command = self.command(step, folder, options, store)
        done = subprocess.run(
            command, env=make_environment(), capture_output=True, text=True, timeout=STEP_LIMIT
        )
        if done.returncode:
            raise StepError(done.stderr[-2000:] or f"{step} ended with {done.returncode}")
        return json.loads(done.stdout.splitlines()[-1])

    def start(self, step: str, folder: Path, options: dict) -> subprocess.Popen:
        """Start a step that runs until it is stopped."""
        command, log = self.command(step, folder, options), folder.with_suffix(".log")
        with log.open("w") as output:
            return subprocess.Popen(
                command, env=make_environment(), stdout=output, stderr=subprocess.STDOUT
            )


def find_engine(client: int, folder: Path) -> list[int]:
    """Return the processes of the engine that still serve a folder."""
    try:
        named = json.loads((folder / "pids").read_text())
    except OSError:
        named = []
    pids = set(find_children(client))
    for pid in named:
        pids |= {pid, *find_children(pid)}
    # A number may have gone to somebody else's process since: the folder is on its command line,
    # or on its parent's.
    return [pid for pid in pids if is_of_folder(pid, folder)]


def is_of_folder(pid: int, folder: Path) -> bool:
    """Say whether a process or its parent was started for a folder."""
    try:
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        lines = [Path(f"/proc/{number}/cmdline").read_bytes() for number in (pid, parent)]
    except OSError:
        return False
    return any(str(folder).encode() in line for line in lines)


def kill(pid: int) -> None:
    """Send SIGKILL to a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    """Wait until something holds, while a process lives."""
    begin = time.perf_counter()
    while not condition():
        if process.poll() is not None or time.perf_counter() - begin > 60:
            raise StepError("the inserting process ended or acknowledged nothing in 60 s")
        time.sleep(0.01)


def count_acks(folder: Path) -> int:
    """Return the number of acknowledged batches."""
    acks = folder / "acks"
    return acks.stat().st_size if acks.exists() else 0


def make_environment() -> dict[str, str]:
    """Return the variables that hold the libraries to as many threads, and name this checkout."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
    checkout = {"PYTHONPATH": str(WORKER.parent.parent)}
    return {**os.environ, **checkout, **dict.fromkeys(names, str(THREADS))}


def measure_folder(folder: Path) -> float:
    """Return the MB that files take on the disk."""
    blocks = (path.lstat().st_blocks for path in folder.rglob("*") if not path.is_dir())
    return sum(blocks) * 512 / 1e6


def read_licence(distribution: importlib.metadata.Distribution) -> str:
    """Return the licence that a package's metadata names."""
    fields = distribution.metadata
    for name in ("License-Expression", "License"):
        if fields.get(name):
            return fields[name].splitlines()[0]
    kinds = [c for c in fields.get_all("Classifier", []) if c.startswith("License ::")]
    if kinds:
        return kinds[0].rpartition(":: ")[2]
    said = re.search(r"under the ([\w. -]{1,30}) licen[sc]e", fields.get_payload() or "")
    return f"{said[1]}, by its description" if said else "none named in the wheel"


def describe_run() -> dict:
    """Name what the numbers depend on."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "python": platform.python_version(),
        "threads": THREADS,
        "nice": os.nice(0),
        "load": os.getloadavg()[0],
    }


def measure(candidate: Candidate, parts: list[str], work: Path) -> None:
    """Measure what is not yet known of a candidate; what cannot run is written down as such."""
    path = KEPT / f"{candidate.name}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    bench = Bench(candidate, work)
    if "install" not in known or not bench.environment.exists():
        known["install"] = bench.install()
    steps: dict[str, Callable[[], dict]] = {
        "life": bench.life,
        "speed_100000": lambda: bench.speed(100_000, work),
        "crash": bench.crash,
        "beside": bench.beside,
        "speed_1000000": lambda: bench.speed(1_000_000, work),
        "agreement": lambda: bench.agreement(Bench(CANDIDATES["milvus2"], work)),
    }
    for part in parts:
        if part == "agreement" and candidate.name != "sqlite":
            continue
        if part not in known and part in candidate.not_run:
            known[part] = {"not_run": candidate.not_run[part]}
        elif part not in known:
            print(f"{candidate.name}: {part}", file=sys.stderr, flush=True)
            try:
                known[part] = steps[part]()
            except (StepError, OSError, subprocess.SubprocessError) as error:
                print(f"{candidate.name}: {part} failed: {error}", file=sys.stderr)
                continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known, indent=2) + "\n")


def main() -> None:
    """Measure all candidates, part by part, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stores", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    parser.add_argument("--million", action="store_true", help="also with 1,000,000 rows")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--work", type=Path, default=KEPT / "work", help="10 GB free are needed")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    for name in args.stores:
        measure(CANDIDATES[name], args.parts, args.work.resolve())
    for name in args.stores if args.million else []:
        measure(CANDIDATES[name], ["speed_1000000"], args.work.resolve())
    kept = {name: KEPT / f"{name}.json" for name in CANDIDATES}
    content = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, path in kept.items():
        if path.exists():
            content[name] = content.get(name, {}) | json.loads(path.read_text())
    print(write_table(content))


if __name__ == "__main__":
    main()

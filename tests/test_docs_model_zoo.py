"""MODEL_ZOO.md has every config, and no number but those of the files that it names."""

import functools
import hashlib
import json
import re
from pathlib import Path

import pytest
from conftest import CONFIGS, root_config
from helpers_docs import PAGES, ROOT

import person_search.config
import reid_heads.config

ZOO = PAGES["MODEL_ZOO.md"]
NOT_RUN = "not run here"
SCORES = ("detection AP", "mAP", "top-1", "10-fold accuracy", "TAR at FAR 1 %")
LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)\)")
# A folder of configs that a benchmark alone reads.
FOLDERS = re.findall(r"^\| \[[\w/]+/\]\(configs/([\w/]+)\)", ZOO, re.MULTILINE)


def list_rows() -> list[dict[str, str]]:
    """Return the rows about a config as dictionaries, by the heads of their columns."""
    rows, heads = [], []
    for line in ZOO.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| config |"):
            heads = cells
        elif line.startswith("| [") and ".yaml)" in cells[0]:
            rows.append(dict(zip(heads, cells, strict=True)))
    return rows


ROWS = list_rows()


def config_of(row: dict[str, str]) -> str:
    return LINK.findall(row["config"])[0].removeprefix("configs/").removesuffix(".yaml")


def test_every_config_is_there_and_every_row_has_its_config():
    leaves = {
        path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.glob("*/**/*.yaml")
    }
    in_folders = {leaf for leaf in leaves if str(Path(leaf).parent) in FOLDERS}
    named = set(re.findall(r"\(configs/([\w/]+)\.yaml\)", ZOO))
    assert len(FOLDERS) == 7 and len(in_folders) > 30
    assert named | in_folders == leaves
    assert not named & in_folders
    assert {config_of(row) for row in ROWS} <= named
    for row in ROWS:
        assert row["config"].startswith(f"[{config_of(row)}]"), row


def test_published_sets_alone_have_not_been_run():
    for row in ROWS:
        is_drawn = config_of(row).startswith("drawn_")
        assert is_drawn == ("measured in" in row) and is_drawn != (row.get("result") == NOT_RUN)


@functools.cache
def statements(file: str) -> list[str]:
    """Return what a file says in one breath: each row of a table, each paragraph."""
    text = (ROOT / file).read_text(encoding="utf-8")
    tables = [line for line in text.splitlines() if line.startswith("|")]
    return tables + [" ".join(part.split()) for part in text.split("\n\n")]


def says(statement: str, number: str) -> bool:
    return bool(re.search(rf"(?<![\d.]){re.escape(number)}(?!\d| ±)", statement))


MEASURED = [row for row in ROWS if "measured in" in row]


@pytest.mark.parametrize("row", MEASURED, ids=config_of)
def test_the_numbers_of_a_row_stand_together_in_its_file(row):
    scores = [row[head] for head in SCORES if head in row]
    assert len(scores) >= 2
    (file,) = LINK.findall(row["measured in"])
    assert any(all(says(s, score) for score in scores) for s in statements(file)), row
    for minutes in re.findall(r"\d+(?:\.\d+)?", row.get("minutes", "")):
        assert any(says(s, minutes) for s in statements(file)), row


def find_schedule(config: str) -> str:
    """Return how long a config trains, as the tables write it."""
    path = CONFIGS / f"{config}.yaml"
    is_person_search = root_config(path) == "Base-PersonSearch"
    package = person_search if is_person_search else reid_heads
    solver = package.config.load_config(str(path)).SOLVER
    if not is_person_search and solver.REID.EPOCHS:
        return f"{solver.REID.EPOCHS} epochs x {solver.IMS_PER_BATCH}"
    return f"{solver.MAX_ITER:,} x {solver.IMS_PER_BATCH}"


@pytest.mark.parametrize("row", ROWS, ids=config_of)
def test_a_row_trains_as_long_as_its_config_or_its_benchmark(row):
    written = row.get("iterations x batch") or row["epochs x batch"]
    if "person_search_methods.md" in row.get("measured in", ""):
        path = ROOT / "benchmarks/results/person_search_methods.json"
        iterations = json.loads(path.read_text(encoding="utf-8"))["iterations"]
        assert written == f"{iterations[config_of(row).split('/')[0]]} x 4"
    else:
        assert written == find_schedule(config_of(row))


def test_the_benchmarks_of_the_folders_read_them():
    sources = [p.read_text(encoding="utf-8") for p in (ROOT / "benchmarks").glob("*.py")]
    for folder in FOLDERS:
        # drawn_market.py names its folders within that of the set.
        parent, _, name = folder.rpartition("/")
        assert any(
            f'"configs/{folder}"' in source
            or (f'"configs/{parent}"' in source and f'"{name}/' in source)
            for source in sources
        ), folder


def test_the_file_of_the_shipped_model_is_the_one_that_is_meant():
    ((file, digest),) = re.findall(r"\]\((demo/weights/\S+)\) \| (\w{8}) \|", ZOO)
    assert hashlib.sha256((ROOT / file).read_bytes()).hexdigest().startswith(digest)

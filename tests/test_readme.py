"""The README's and the guides' commands and examples, run in their order as a newcomer would."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from helpers_docs import PAGES, ROOT, blocks, shell_lines

from person_search.synthetic.world import World
from person_search.synthetic.world_spec import PRESETS


def write_pictures(folder, *names):
    """Frames of a drawn world: one is called a and someone, another one b."""
    world = World(PRESETS["tiny-cuhk"])
    for name in names:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), world.draw(int(path.stem == "b")).image)


def run_examples(page, monkeypatch, folder):
    """Run the Python examples of a page in a folder; return what each has left in its names."""
    monkeypatch.chdir(folder)
    results = []
    for example in blocks(PAGES[page], "python"):
        names: dict = {}
        for folder_name in ("configs", "demo"):
            example = example.replace(f'"{folder_name}/', f'"{ROOT}/{folder_name}/')
        exec(example, names)
        results.append(names)
    return results


def test_the_examples_of_getting_started_and_readme_run(tmp_path, monkeypatch, capsys):
    write_pictures(tmp_path, "a.jpg", "b.jpg", "someone.jpg", "footage/a.jpg", "footage/b.jpg")
    compared, _, predicted = run_examples("docs/getting_started.md", monkeypatch, tmp_path)
    assert compared["a"].embeddings.shape[1] == predicted["a"].embeddings.shape[1] == 128
    printed = capsys.readouterr().out
    assert "tensor" in printed
    (found,) = [line for line in printed.splitlines() if "footage/a.jpg" in line]
    assert float(found.split()[0]) > 0.999
    # The gallery that `person-search index` makes in the README.
    run_examples("README.md", monkeypatch, tmp_path)
    first = capsys.readouterr().out.splitlines()[0].split()
    assert float(first[0]) > 0.999 and first[1] == str(tmp_path / "footage/a.jpg")


def test_the_losses_example_runs(tmp_path, monkeypatch):
    (names,) = run_examples("docs/crop_reid.md", monkeypatch, tmp_path)
    assert names["features"].grad.abs().sum() > 0


# Another end of a README's command: smaller sets, a shorter training, and the paths of the test.
SHORTER = {
    "draw --set drawn-cuhk": " --scale 0.05",
    "person_search.train_net": " MODEL.REID_HEAD.NUM_IDENTITIES 15 SOLVER.MAX_ITER 2",
}
# The targets of make are what CI runs; the page is served by tests/test_demo_serve.py; models are
# made of files that only a user has by tests/test_person_search_commands_models.py.
ELSEWHERE = (
    "git clone",
    "make ",
    ".venv/bin/person-search serve",
    ".venv/bin/person-search models",
)


@pytest.mark.slow
def test_the_readmes_commands_run(tmp_path):
    """In their order, in one folder. Who is in the query is asked first: status 3."""
    write_pictures(tmp_path, "someone.jpg", "street.jpg", "hall/a.jpg", "hall/b.jpg")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    statuses = []
    for line in shell_lines(PAGES["README.md"]):
        if line.startswith(ELSEWHERE):
            continue
        command = line.replace(".venv/bin/", "").replace("/path/to/footage", "hall")
        command += "".join(end for part, end in SHORTER.items() if part in command)
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        print(f"$ {command}\n{done.stdout}")
        assert done.returncode in (0, 3), f"{command}\n{done.stderr}"
        statuses.append(done.returncode)
    assert statuses == [0, 3, 0, 0, 0, 0, 0, 0]
    assert (tmp_path / "matches.png").stat().st_size

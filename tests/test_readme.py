import re
from pathlib import Path

import cv2

from person_search.synthetic.world import World
from person_search.synthetic.world_spec import PRESETS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?DefaultPredictor.*?)```", README, re.DOTALL)
    world = World(PRESETS["tiny-cuhk"])
    for index, name in enumerate(("a.jpg", "b.jpg")):
        cv2.imwrite(str(tmp_path / name), world.draw(index).image)
        assert f'"{name}"' in example
        example = example.replace(f'"{name}"', repr(str(tmp_path / name)))
    monkeypatch.chdir(ROOT)
    names: dict = {}
    exec(example, names)
    assert names["a"].embeddings.shape[1] == 128
    assert "tensor" in capsys.readouterr().out


def test_the_gallery_example_runs(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(from person_search.gallery.*?)```", README, re.DOTALL)
    world = World(PRESETS["tiny-cuhk"])
    (tmp_path / "footage").mkdir()
    for index, name in enumerate(("footage/a.jpg", "footage/b.jpg")):
        cv2.imwrite(str(tmp_path / name), world.draw(index).image)
    (tmp_path / "someone.jpg").write_bytes((tmp_path / "footage/a.jpg").read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    first = capsys.readouterr().out.splitlines()[0].split()
    assert float(first[0]) > 0.999 and first[1] == str(tmp_path / "footage/a.jpg")


def test_the_losses_example_runs():
    (example,) = re.findall(r"```python\n(import torch\n.*?)```", README, re.DOTALL)
    names: dict = {}
    exec(example, names)
    assert names["features"].grad.abs().sum() > 0


def test_linked_files_and_named_configs_exist():
    linked = re.findall(r"\]\(((?!http)[^)#]+)\)", README)
    named = re.findall(r"configs/[\w/]+\.yaml", README)
    assert linked and named
    missing = [name for name in {*linked, *named} if not (ROOT / name).exists()]
    assert not missing


def test_nothing_is_left_to_fill_in():
    assert "@@" not in README

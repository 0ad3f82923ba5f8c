import json
import os
import subprocess
import sys
from pathlib import Path

import av
import pytest
from helpers_docs import PAGES, ROOT, blocks, shell_lines
from helpers_streams import HttpServer, RtspServer, encode_h264, serving

GUIDE = PAGES["docs/live.md"]
CAMERA = "rtsp://user:password@10.0.0.5/stream1"
HOOK = "https://example.com/hooks/door"


@pytest.mark.slow
def test_every_command_of_the_guide_runs(tmp_path):
    """In the order of the guide, in one folder; the drawn station stands before the camera."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}

    def run(line, addresses):
        for written, real in addresses.items():
            line = line.replace(written, real)
        done = subprocess.run(
            ["bash", "-ec", line],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert "password@" not in done.stdout + done.stderr
        return done.stdout

    draw, *lines = shell_lines(GUIDE)
    assert draw.startswith("person-search draw") and all(" watch " in line for line in lines)
    run(draw, {})
    clip = next((tmp_path / "town").rglob("station/*.mp4"))
    with av.open(str(clip)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with (
        serving(RtspServer(encode_h264(frames, 10), rate=10)) as camera,
        serving(HttpServer()) as hook,
    ):
        addresses = {CAMERA: camera.address, HOOK: hook.address("/hooks/door")}
        said = [run(line, addresses) for line in lines]
        (example,) = blocks(GUIDE, "python")
        (tmp_path / "example.py").write_text(example.replace(CAMERA, camera.address))
        seen, added, _ = run("python example.py", {}).splitlines()[-1].split()
    assert 0 < int(added) <= int(seen)
    assert ": stored " in said[0] and ": stored " in said[1] and said[2] == ""
    alerts = [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_text().splitlines()]
    assert alerts and {alert["alert"] for alert in alerts} == {"yellow coat"}
    assert [json.loads(body) for _, _, body in hook.posted] == alerts
    assert json.loads((tmp_path / "alert.json").read_text()) == alerts[-1]
    # What the page lists of an alert is what there is.
    (written,) = map(json.loads, blocks(GUIDE, "json"))
    assert written.keys() == alerts[0].keys()
    assert written["appearance"].keys() == alerts[0]["appearance"].keys()

import json

import numpy as np
import pytest
import torch
from helpers_public_weights import osnet_state
from test_reid_heads_crop_model import CONFIG, SMALL, TINY, make_crops, own  # noqa: F401
from test_reid_heads_importers_crop_resnets import fast_reid, strong_baseline, torchreid

from reid_heads import crop_export
from reid_heads.config import load_config
from reid_heads.crop_export import export_crop_model, main
from reid_heads.crop_model import CropModel, load_crop_model

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("shallow")

PUBLIC = {
    "OSNet": osnet_state,
    "OSNet AIN": lambda: osnet_state(kind="ain"),
    "strong-baseline IBN": lambda: strong_baseline(ibn=True),
    "fast-reid SBS": lambda: fast_reid(gem=True),
    "torchreid fc512": lambda: torchreid(projection=24),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "fast-reid SBS" else pytest.mark.slow)
        for name in PUBLIC
    ],
)
def test_a_file_embeds_what_its_description_says(tmp_path, name):
    torch.save(PUBLIC[name](), tmp_path / "net.pth")
    words = [*SMALL, "MODEL.CROP_REID.FLIP_TEST", "True"]
    model = load_crop_model(tmp_path / "net.pth", overrides=words, device="cpu")
    written = export_crop_model(model, tmp_path / "net.onnx")
    assert written.difference < 1e-5 and written.size == written.path.stat().st_size
    session = onnxruntime.InferenceSession(str(written.path))
    said = json.loads(session.get_modelmeta().custom_metadata_map["reid_heads"])
    assert said == written.description
    assert (said["version"], said["height"], said["width"], said["color"]) == (1, 64, 32, "RGB")
    assert (said["embedding_dim"], said["fingerprint"]) == (model.embedding_dim, model.fingerprint)
    assert said["interpolation"] == ("bicubic" if "fast" in name else "bilinear")
    crops = make_crops(4)
    pixels = np.stack([model.prepare(crop).numpy() for crop in crops]).astype(np.float32)
    (rows,) = session.run(None, {"crops": (pixels - said["mean"][0]) / said["std"][0]})
    np.testing.assert_allclose(rows, model.embed(crops), atol=1e-5)


@pytest.mark.slow
def test_the_command_writes_public_and_own_weights(tmp_path, own, capsys):  # noqa: F811
    torch.save(osnet_state(), tmp_path / "net.pth")
    output = tmp_path / "new" / "net.onnx"
    assert main(["--weights", f"{tmp_path / 'net.pth'}", "--output", f"{output}", *SMALL]) == 0
    assert "crops of 64 x 32 (height x width) to 20 numbers" in capsys.readouterr().out
    before = output.read_bytes()
    given = ["--weights", str(own[0]), "--config-file", CONFIG, "--output", str(output)]
    assert main([*given, *TINY]) == 0
    assert output.read_bytes() != before


def test_the_command_names_what_is_wrong(tmp_path, capsys):
    assert main(["--weights", f"{tmp_path / 'no.pth'}", "--output", "net.onnx"]) == 2
    assert "error: there is no checkpoint" in capsys.readouterr().err


def test_a_file_that_does_something_else_is_not_written(tmp_path, own, monkeypatch):  # noqa: F811
    model = load_crop_model(own[0], CONFIG, TINY)
    monkeypatch.setattr(crop_export, "_to_onnx", lambda *_: b"")
    monkeypatch.setattr(crop_export, "_compare", lambda model, content: float("nan"))
    with pytest.raises(ValueError, match="differ by nan"):
        export_crop_model(model, tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


def test_a_two_stream_net_is_refused(tmp_path):
    from detectron2.modeling import build_model

    words = ["MODEL.DEVICE", "cpu", "MODEL.RESNETS.RES2_OUT_CHANNELS", "8"]
    cfg = load_config("configs/drawn_regdb/mmd_reid.yaml", words)
    model = CropModel(cfg, build_model(cfg))
    with pytest.raises(ValueError, match="only nets of one stream"):
        export_crop_model(model, tmp_path / "net.onnx")

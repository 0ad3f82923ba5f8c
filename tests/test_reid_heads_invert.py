import json

import numpy as np
import pytest
import torch
from conftest import CONFIGS
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from test_reid_heads_crop_reid import losses, make_model

import reid_heads.invert as command
from reid_heads.config import load_config
from reid_heads.inversion.targets import Network, choose_crops
from reid_heads.invert import WITH_PRIOR, WITHOUT_PRIOR, main, split_batches

pytestmark = pytest.mark.usefixtures("shallow")

CONFIG = """
_BASE_: {base}
MODEL:
  RESNETS: {{STEM_OUT_CHANNELS: 8, RES2_OUT_CHANNELS: 8, NORM: {norm}}}
  BACKBONE: {{FREEZE_AT: 0}}
  REID_HEAD: {{NAME: BNNeckHead, BATCH_NORM: {neck}, NUM_IDENTITIES: 3}}
INPUT: {{FORMAT: {colours}, REID: {{SIZE: {size}}}}}
DATASETS: {{TRAIN: ["toy_inversion_train"], CROPS: {crops}}}
"""


@pytest.fixture
def toy(tmp_path):
    """Crops of three identities on disk, and a config and weights of a tiny network for them."""
    folder = tmp_path / "train"
    folder.mkdir()
    for pid in range(3):
        for number in range(3):
            rng = np.random.default_rng([pid, number])
            colour = np.random.default_rng(pid).integers(0, 255, 3)
            image = np.clip(colour + rng.integers(-20, 20, (32, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(folder / f"{pid:04d}_c{1 + number}s1_{number:06d}_00.jpg")

    def make(name="net", norm="BN", neck=True, colours="RGB", size=(32, 16), has_data=True):
        config, weights = tmp_path / f"{name}.yaml", tmp_path / f"{name}.pth"
        crops = [["toy_inversion_train", str(folder), "train"]] if has_data else []
        text = CONFIG.format(
            base=CONFIGS / "Base-Slim-CropReID.yaml",
            norm=norm,
            neck=neck,
            crops=json.dumps(crops),
            colours=colours,
            size=list(size),
        )
        config.write_text(text)
        model = make_model(
            *losses(SOFTMAX="1.0"),
            *["MODEL.RESNETS.NORM", norm, "MODEL.REID_HEAD.BATCH_NORM", str(neck)],
            *["MODEL.CROP_REID.LAST_STRIDE", "2", "MODEL.CROP_REID.STEM_RELU", "True"],
        )
        torch.save({"model": model.state_dict()}, weights)
        return str(config), str(weights)

    yield make, folder
    if "toy_inversion_train" in DatasetCatalog.list():
        DatasetCatalog.remove("toy_inversion_train")
        MetadataCatalog.remove("toy_inversion_train")


def call(config, weights, *arguments, output):
    steps = ["--iterations", "3", "--output", str(output)]
    return main(["--config-file", config, "--weights", weights, *steps, *arguments])


def test_identities_give_a_grid_and_a_report(toy, tmp_path, capsys):
    make, _ = toy
    net, output = make(), tmp_path / "out"
    second_config, second_weights = make("second", colours="BGR", size=(48, 24), has_data=False)
    second = ["--second-config", second_config, "--second-weights", second_weights]
    assert call(*net, "--identities", "2", "0", *second, output=output) == 0
    report = json.loads((output / "report.json").read_text())
    rows = report["rows"]
    assert set(rows) == {WITH_PRIOR, WITHOUT_PRIOR, "noise, as at the start", "real crops"}
    for row in rows.values():
        assert row["statistics"] > 0
        for network in ("same network", "second network"):
            assert -1 <= row[network]["own_identity"] <= 1
    assert report["settings"]["iterations"] == 3
    assert report["targets"] == ["identity 2", "identity 0"]
    # A block of two columns of images and three of real crops for each of the two.
    grid = np.asarray(Image.open(output / "grid.png"))
    assert grid.shape == (14 + 34, 2 * (5 * 18 + 6), 3)
    image = np.asarray(Image.open(output / "inverted" / "0001.png"))
    np.testing.assert_array_equal(grid[14 : 14 + 32, 96 : 96 + 16], image)
    assert (output / "report.md").read_text() in capsys.readouterr().out


def test_the_report_can_be_checked_by_hand(toy, tmp_path):
    """The similarity of the images that were written, embedded again from their files."""
    make, folder = toy
    net, output = make(), tmp_path / "out"
    assert call(*net, "--identities", "1", "--no-ablation", output=output) == 0
    report = json.loads((output / "report.json").read_text())
    assert set(report["rows"]) == {WITH_PRIOR, "noise, as at the start", "real crops"}
    network = Network(load_config(net[0]), net[1])
    image = network.image(np.asarray(Image.open(output / "inverted" / "0000.png")))
    files = sorted(folder.glob("0001_*.jpg"))
    crops = network.embed([network.read({"file_name": str(file)}) for file in files])
    mean = crops.mean(0) / np.linalg.norm(crops.mean(0))
    expected = float(network.embed([image])[0] @ mean)
    row = report["rows"][WITH_PRIOR]
    assert row["same network"]["own_identity"] == pytest.approx(expected, abs=1e-5)
    assert row["statistics"] == pytest.approx(network.statistics([image]), rel=1e-5)


def test_crops_are_targets_of_the_open_set(toy, tmp_path):
    make, folder = toy
    crops = [str(file) for file in sorted(folder.iterdir())[:2]]
    output = tmp_path / "out"
    assert call(*make(has_data=False), "--embedding", *crops, output=output) == 0
    report = json.loads((output / "report.json").read_text())
    # One crop is no two of an identity to compare.
    assert set(report["rows"]["real crops"]) == {"statistics"}
    assert report["rows"][WITH_PRIOR]["same network"]["own_identity"] > -1
    assert report["targets"] == [crop.rsplit("/", 1)[1] for crop in crops]


def test_without_the_training_set_only_the_statistics_are_told(toy, tmp_path):
    make, _ = toy
    output = tmp_path / "out"
    assert call(*make(has_data=False), "--identities", "0", "1", output=output) == 0
    report = json.loads((output / "report.json").read_text())
    assert all("same network" not in row for row in report["rows"].values())
    assert "real crops" not in report["rows"]
    assert "No real crops are at hand" in (output / "report.md").read_text()
    assert (output / "grid.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--identities", "3"], "identities to invert: got [3]; the network knows 0..2"),
        (["--embedding", "nowhere.jpg"], "there is no crop nowhere.jpg"),
        (["--identities", "0", "--batch-size", "0"], "--batch-size is 0"),
        (["--identities", "0", "--statistics-weight", "-1"], "expected weights of 0 or more"),
    ],
)
def test_bad_arguments_end_in_an_error_that_names_them(toy, tmp_path, capsys, arguments, message):
    make, _ = toy
    assert call(*make(has_data=False), *arguments, output=tmp_path / "out") == 2
    assert message in capsys.readouterr().err


def test_a_network_without_batch_norm_is_a_clear_error(toy, tmp_path, capsys):
    """Norm "" in the config: convolutions alone."""
    make, _ = toy
    net = make(norm="''", neck=False, has_data=False)
    assert call(*net, "--identities", "0", output=tmp_path / "out") == 2
    assert "has no BatchNorm that remembers" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_missing_weights_are_a_clear_error(toy, tmp_path, capsys):
    make, _ = toy
    config, _ = make(has_data=False)
    assert call(config, "gone.pth", "--identities", "0", output=tmp_path / "out") == 2
    assert "there is no checkpoint gone.pth" in capsys.readouterr().err


def test_a_second_network_needs_both_its_files(toy, tmp_path):
    make, _ = toy
    with pytest.raises(SystemExit):
        call(*make(), "--identities", "0", "--second-config", "x", output=tmp_path / "out")


def test_pictures_keep_their_colours_in_networks_of_either_order(toy):
    make, folder = toy
    file = sorted(folder.iterdir())[0]
    picture = np.asarray(Image.open(file))
    for colours in ("RGB", "BGR"):
        config, weights = make(colours, colours=colours, has_data=False)
        network = Network(load_config(config), weights)
        image = network.read({"file_name": str(file)})
        np.testing.assert_array_equal(network.picture(image), picture)
        assert torch.equal(network.image(picture), image)


def test_batches_are_few_and_even():
    assert split_batches(5, 2) == [[0, 1], [2, 3], [4]]
    assert split_batches(9, 8) == [[0, 1, 2, 3, 4], [5, 6, 7, 8]]
    assert split_batches(3, 64) == [[0, 1, 2]]


def test_crops_are_chosen_evenly_and_by_identity():
    crops = [{"person_id": pid, "n": n} for n in range(5) for pid in (1, 0)]
    chosen = [(crop["person_id"], crop["n"]) for crop in choose_crops(crops, most=3)]
    assert chosen == [(0, 0), (0, 2), (0, 4), (1, 0), (1, 2), (1, 4)]
    assert len(choose_crops(crops, most=9)) == 10


def test_the_start_of_the_report_is_the_start_of_the_inversion(toy, monkeypatch):
    """The noise row describes the very images that the optimisation starts from."""
    make, _ = toy
    network = Network(load_config(make(has_data=False)[0]), make(has_data=False)[1])
    objective = command.classify_as(network.model, torch.tensor([0, 1]))
    settings = command.InversionSettings(iterations=1, learning_rate=1e-9, seed=4)
    made = command.invert(network.model, objective, 2, network.size, settings).images
    noise = torch.stack(command.start_noise(network, 2, 4))
    assert (made.int() - noise.int()).abs().max() <= 1

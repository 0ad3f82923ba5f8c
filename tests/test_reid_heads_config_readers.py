"""Keys that nothing reads are refused by name; and every key of ours has somebody who reads it."""

import pytest
from conftest import CONFIGS, root_config
from detectron2.config import CfgNode, get_cfg

import person_search.config
import reid_heads.config
from reid_heads.config_readers import (
    Reader,
    add_own_keys,
    check_keys_are_read,
    closest_readers,
    flat_items,
    readers_of,
    reads_config,
)
from reid_heads.losses.registry import LOSS_KINDS, LossKind, register_loss

CROPS = (reid_heads.config.add_crop_reid_config, reid_heads.config.crop_reid_readers)
FRAMES = (person_search.config.add_person_search_config, person_search.config.person_search_readers)
BOTH = pytest.mark.parametrize(("add_keys", "readers"), [CROPS, FRAMES], ids=["crops", "frames"])


@BOTH
def test_every_own_key_has_a_reader(add_keys, readers):
    """A new key must be declared, or nobody could ever set it."""
    lost = [key for key in add_own_keys(get_cfg(), add_keys) if not closest_readers(key, readers())]
    assert not lost


def test_every_declared_key_exists():
    keys = [*add_own_keys(get_cfg(), CROPS[0]), *add_own_keys(get_cfg(), FRAMES[0])]
    theirs = [key for key, _ in flat_items(get_cfg())]
    for reader in [*CROPS[1](), *FRAMES[1]()]:
        for name in reader.keys:
            assert any(f"{key}.".startswith(f"{name}.") for key in (*keys, *theirs)), reader


SMALL = "drawn_cuhk/slim_fpn.yaml"
MARKET = "drawn_market/bag_of_tricks.yaml"
MARGIN = "MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN"
BRANCH = "MODEL.PERSON_SEARCH.IDENTITY_BRANCH"


@pytest.mark.parametrize(
    ("config", "key", "value", "reader"),
    [
        (SMALL, "MODEL.CROP_REID.IBN", "a", "build_reid_resnet_backbone"),
        (SMALL, "MODEL.CROP_REID.LAST_STRIDE", "2", "build_reid_resnet_backbone"),
        (SMALL, "MODEL.REID_HEAD.INTRA_CLASS.COPIES", "3", "MULTI_SIMILARITY in crop ReID"),
        (SMALL, "MODEL.REID_HEAD.MGN.REDUCTION_DIM", "64", "MGNHead"),
        (SMALL, "MODEL.REID_HEAD.NORM_AWARE.USE_POOLED", "False", "NormAwareHead"),
        (SMALL, "MODEL.REID_HEAD.ATTRIBUTES.CLASSES", "(2,3)", "LOSSES.ATTRIBUTES"),
        (SMALL, "MODEL.REID_HEAD.DOMAIN_IDENTITIES", "(2,3)", "LOSSES.DOMAIN_SOFTMAX"),
        (SMALL, "MODEL.REID_HEAD.GEM_POWER", "2.0", "POOLING gem"),
        (SMALL, "MODEL.PERSON_SEARCH.NORM_AWARE.SCORE", "detector", "NormAwareROIHeads"),
        (SMALL, "MODEL.PERSON_SEARCH.NORM_AWARE.LOSS_WEIGHT", "0.5", "NormAwareHead"),
        (SMALL, "MODEL.PERSON_SEARCH.SEQUENTIAL.NMS_THRESH_TEST", "0.3", "SequentialROIHeads"),
        (SMALL, "MODEL.PERSON_SEARCH.STL.TRANSFER_NECK", "True", "STL.CONFIG_FILE or WEIGHTS"),
        (SMALL, "MODEL.PERSON_SEARCH.STL.OPTS", "('SEED','2')", "STL.CONFIG_FILE"),
        (SMALL, f"{BRANCH}.FUSION", "concat", "IN_FEATURES"),
        (SMALL, f"{BRANCH}.LAST_STRIDE", "1", "BODY with a res5"),
        (SMALL, "DATALOADER.FRAMES.CLASS_BALANCED_BETA", "0.9", "ClassBalancedSampler"),
        (SMALL, "DATALOADER.FRAMES.UNLABELED_SHARE", "0.5", "IdentityUniformSampler"),
        (SMALL, "TEST.SEARCH.CONTEXT.K1", "30", "CONTEXT.ENABLED"),
        ("cuhk_sysu/stl_r50.yaml", f"{BRANCH}.BASIC_BLOCKS.CHANNELS", "64", "basic_blocks"),
        ("cuhk_sysu/stl_r50.yaml", "MODEL.REID_HEAD.EMBEDDING_DIM", "128", "EmbeddingHead"),
        ("cuhk_sysu/oim_r50.yaml", "MODEL.SLIM_RESNET.STEM_CHANNELS", "8", "build_slim_resnet"),
        ("cuhk_sysu/stl_triplet_r50.yaml", "MODEL.REID_HEAD.OIM.SCALE", "20.0", "LOSSES.OIM"),
        ("cuhk_sysu/stl_arcface_r50.yaml", f"{MARGIN}.COSFACE.M", "0.1", "NAME cosface"),
        (MARKET, "MODEL.TWO_STREAM.SHARED_STAGES", "3", "build_two_stream_backbone"),
        (MARKET, "MODEL.REID_HEAD.ENSEMBLE.DIVERSITY", "0.1", "LOSSES.ENSEMBLE"),
        (MARKET, f"{MARGIN}.NAME", "arcface", "LOSSES.COSINE_SOFTMAX"),
        (MARKET, "MODEL.REID_HEAD.PARTIAL_FC.SAMPLE_SHARE", "0.5", "LOSSES.COSINE_SOFTMAX"),
        (MARKET, "MODEL.REID_HEAD.INTRA_CLASS.COPIES", "3", "MULTI_SIMILARITY in crop ReID"),
        (MARKET, "MODEL.REID_HEAD.INTRA_CLASS.STRENGTH", "0.5", "INTRA_CLASS.COPIES above 0"),
        (MARKET, "MODEL.CROP_REID.STYLE_JITTER.STRIPES", "2", "STYLE_JITTER.PLACES"),
        (MARKET, "INPUT.REID.FRAME_MAX_SIZE", "480", "FRAME_MIN_SIZE above 0"),
        (MARKET, "SOLVER.META_LEARNING.BETA", "0.1", "META_LEARNING.ENABLED"),
        (MARKET, "TEST.REID.RERANKING.K1", "10", "RERANKING.ENABLED"),
        (MARKET, "TEST.REID.QUERY_EXPANSION.ALPHA", "1.0", "QUERY_EXPANSION.ENABLED"),
        ("drawn_market/joint/2_triplet.yaml", f"{MARGIN}.GRADIENT", "straight_through", "cosface"),
        (
            "drawn_market/ensemble/4_ensemble.yaml",
            "MODEL.REID_HEAD.CENTER.LEARNING_RATE",
            "0.1",
            "C",
        ),
        ("drawn_market/margins/cosface.yaml", f"{MARGIN}.GRADIENT", "straight_through", "cosface"),
        ("drawn_market/ablation/2_warm_up.yaml", "INPUT.REID.ERASING.FILL", "zero", "PROBABILITY"),
    ],
)
def test_a_key_that_nothing_reads_is_refused_by_name(config, key, value, reader):
    is_of_crops = root_config(CONFIGS / config) == "Base-CropReID"
    module = reid_heads if is_of_crops else person_search
    with pytest.raises(ValueError) as refused:
        module.config.load_config(str(CONFIGS / config), [key, value])
    (problem,) = str(refused.value).split("reads: ")[1].split(". Choose")[0].split("; ")
    assert problem.startswith(f"{key} is ")
    assert reader in problem
    assert "base file" in str(refused.value) and f": {key} " in str(refused.value)


@pytest.mark.parametrize(
    ("config", "overrides"),
    [
        (MARKET, ["MODEL.REID_HEAD.LOSSES.CONTRASTIVE", "1.0"]),
        (
            "drawn_market/ensemble/4_ensemble.yaml",
            ["MODEL.REID_HEAD.MULTI_SIMILARITY.ALPHA", "3.0"],
        ),
        ("drawn_sysu/baseline.yaml", ["MODEL.SLIM_RESNET.STEM_CHANNELS", "16"]),
        ("drawn_domains/svil.yaml", ["MODEL.REID_HEAD.TRIPLET.MARGIN", "0.5"]),
    ],
)
def test_what_is_read_indirectly_may_be_set(config, overrides):
    """A member of an ensemble, a backbone within another, the settings of another loss."""
    copies = ["MODEL.REID_HEAD.INTRA_CLASS.COPIES", "3"] if config == MARKET else []
    reid_heads.config.load_config(str(CONFIGS / config), [*overrides, *copies])


def test_the_defaults_named_in_the_error_make_the_config_right():
    wrong = ["MODEL.REID_HEAD.NAME", "BNNeckHead"]
    with pytest.raises(ValueError) as refused:
        person_search.config.load_config(str(CONFIGS / SMALL), wrong)
    defaults = str(refused.value).rsplit("again: ", 1)[1].split(" ")
    assert defaults[::2] == ["MODEL.REID_HEAD.EMBEDDING_DIM", "MODEL.REID_HEAD.STRIPES"]
    cfg = person_search.config.load_config(str(CONFIGS / SMALL), [*wrong, *defaults])
    assert cfg.MODEL.REID_HEAD.NAME == "BNNeckHead"


def test_keys_of_a_new_loss_are_read_where_it_is_on():
    def add_keys(head):
        head.TOY = CfgNode({"WIDTH": 1.0})

    register_loss(LossKind("TOY", LOSS_KINDS["MMD"].build, LOSS_KINDS["MMD"].apply, add_keys))
    try:
        with pytest.raises(ValueError, match=r"TOY\.WIDTH is 2\.0, read by .*LOSSES\.TOY"):
            reid_heads.config.load_config("", ["MODEL.REID_HEAD.TOY.WIDTH", "2.0"])
        chosen = ["MODEL.REID_HEAD.LOSSES.TOY", "1.0", "MODEL.REID_HEAD.TOY.WIDTH", "2.0"]
        assert reid_heads.config.load_config("", chosen).MODEL.REID_HEAD.TOY.WIDTH == 2.0
    finally:
        del LOSS_KINDS["TOY"]


def test_the_most_specific_declaration_decides():
    wide = Reader("wide", ("A",))
    node = Reader("node", ("A.B",), lambda cfg: False)
    key = Reader("key", ("A.B.C", "A.X"))
    twin = Reader("twin", ("A.B.C",))
    readers = [wide, node, key, twin]
    assert closest_readers("A.B.C", readers) == [key, twin]
    assert closest_readers("A.B.D", readers) == [node]
    assert closest_readers("A.BB", readers) == [wide]
    assert closest_readers("AB.C", readers) == []


def test_components_say_what_they_and_their_bases_read():
    @reads_config("A.ONE")
    class Base:
        pass

    @reads_config("A.TWO")
    class Derived(Base):
        pass

    class Silent:
        pass

    registry = [("Base", Base), ("Derived", Derived), ("Silent", Silent)]
    readers = readers_of(registry, "A.NAME", lambda cfg: [cfg.A.NAME])
    assert [reader.keys for reader in readers] == [("A.ONE",), ("A.ONE", "A.TWO")]
    assert readers[1].name == "A.NAME Derived"
    cfg = CfgNode({"A": {"NAME": "Derived"}})
    assert [reader.is_chosen(cfg) for reader in readers] == [False, True]


def test_a_key_that_nobody_declares_is_told_as_such():
    def add_keys(cfg):
        cfg.LOST = CfgNode({"KEY": 1, "OTHER": ""})

    cfg = get_cfg()
    usual = add_own_keys(cfg, add_keys)
    check_keys_are_read(cfg, usual, [])
    cfg.LOST.KEY = 2
    with pytest.raises(ValueError, match=r"LOST\.KEY is 2, read by nobody.*KEY 1"):
        check_keys_are_read(cfg, usual, [])

"""The list of public models.

A row holds what was read on the page that it names, and no more: sizes and hashes that nobody was
found to state are left open, "run by us" is "no" until it was.
"""

from person_search.model_list.face_models import FACE_MODELS
from person_search.model_list.listed_model import ListedModel
from person_search.model_list.sources import GoogleDrive, Https, HuggingFace

_OSNET = "kaiyangzhou/osnet"
_OSNET_COMMIT = "a5c5cc037c24235cda3b21085b93ad77c9616224"
_OSNET_ZOO = "docs/MODEL_ZOO.md of github.com/KaiyangZhou/deep-person-reid, commit f8cd150"
_OSNET_HASH = "several public projects that fetch this file by its hash; not seen here"
_FAST_REID = "https://github.com/JDAI-CV/fast-reid/releases/download/v0.1.1/"
_FAST_REID_ZOO = "MODEL_ZOO.md of github.com/JDAI-CV/fast-reid"
_SEQNET_README = "README.md of github.com/serend1p1ty/SeqNet; with CBGM"
_SEQNET_NOTE = (
    "Its makers evaluate epoch_19.pth with a config.yaml from this download: it may be an archive, "
    "to be unpacked first."
)
# Of the data: CUHK-SYSU's README (github.com/ShuangLI59/person_search) says "academic only";
# Market-1501's form to ask for it likewise, as others read it; the model card of
# huggingface.co/LibreYOLO/LibreReID-osnet calls MSMT17's terms "research-oriented".
_MSMT17_TERMS = "MSMT17 was released for research; take it as non-commercial, ask its makers"
_MARKET_TERMS = "Market-1501 is for academic use only: non-commercial"
_CUHK_TERMS = "CUHK-SYSU is given on request, academic use only: non-commercial"

_MODELS = (
    ListedModel(
        name="street-basic",
        purpose="finds people on streets, tells them apart by looks and colours; no PyTorch",
        kind="made",
        file="two wheels of PyPI, each checked by its SHA-256",
        sources=(),
        licence="MIT",
        trained_on="pedestrians, which are not named; ImageNet",
        data_terms="not stated for the pedestrians; ImageNet is for non-commercial research",
        domain="people on streets",
        size=20_032_971,
        size_and_hash_from="the package index",
        run_by_us="yes: benchmarks/results/real_street_street-basic.md",
    ),
    ListedModel(
        name="nanodet-m",
        purpose="finds people (and 79 other classes); ONNX, for any crop network",
        kind="detector",
        file="nanodet_m.onnx",
        sources=(
            HuggingFace(
                "opencv/object_detection_nanodet",
                "object_detection_nanodet_2022nov.onnx",
                "81a2a35b00f92e9bd03f03d9b611076d9aa2f942",
            ),
        ),
        licence="Apache-2.0",
        trained_on="COCO 2017",
        data_terms="COCO's annotations CC BY 4.0; its pictures under the terms of Flickr",
        size=3_800_954,
        sha256="4b82da9944b88577175ee23a459dce2e26e6e4be573def65b1055dc2d9720186",
        size_and_hash_from="the file that was run here",
        published={"COCO 2017 val: AP of people": 41.8, "COCO 2017 val: AP50 of people": 67.5},
        published_in="models/object_detection_nanodet/README.md of github.com/opencv/opencv_zoo",
        run_by_us="yes: benchmarks/results/real_street.md",
        note="OpenCV calls it NanoDet-Plus-m 1.5x; size and outputs are those of NanoDet-m.",
    ),
    ListedModel(
        name="osnet-x0.25-msmt17",
        purpose="tells people apart; the smallest OSNet",
        kind="crop",
        file="osnet_x0_25_msmt17.pth",
        sources=(
            HuggingFace(
                _OSNET,
                "osnet_x0_25_msmt17_combineall_256x128_amsgrad_ep150_stp60_lr0.0015_b64_fb10_softmax"
                "_labelsmooth_flip_jitter.pth",
                _OSNET_COMMIT,
            ),
            GoogleDrive("1Kkx2zW89jq_NETu4u42CFZTMVD5Hwm6e"),
        ),
        licence="MIT",
        trained_on="MSMT17, all of it",
        data_terms=_MSMT17_TERMS,
        size=9_336_983,
        sha256="cf55163d78fc44c62c82f85ab62d39f10438679b5abe8c698ae08cfa84aa6e18",
        size_and_hash_from=_OSNET_HASH,
        published={
            "Market-1501: mAP": 31.0,
            "Market-1501: top-1": 59.9,
            "DukeMTMC-reID: mAP": 39.6,
            "DukeMTMC-reID: top-1": 61.5,
        },
        published_in=_OSNET_ZOO,
    ),
    ListedModel(
        name="osnet-x1.0-msmt17",
        purpose="tells people apart",
        kind="crop",
        file="osnet_x1_0_msmt17.pth",
        sources=(
            HuggingFace(
                _OSNET,
                "osnet_x1_0_msmt17_combineall_256x128_amsgrad_ep150_stp60_lr0.0015_b64_fb10_softmax"
                "_labelsmooth_flip_jitter.pth",
            ),
            GoogleDrive("1IosIFlLiulGIjwW3H8uMRmx3MzPwf86x"),
        ),
        licence="MIT",
        trained_on="MSMT17, all of it",
        data_terms=_MSMT17_TERMS,
        published={
            "Market-1501: mAP": 37.5,
            "Market-1501: top-1": 66.6,
            "DukeMTMC-reID: mAP": 45.3,
            "DukeMTMC-reID: top-1": 66.0,
        },
        published_in=_OSNET_ZOO,
    ),
    ListedModel(
        name="osnet-ain-x1.0-msmt17",
        purpose="tells people apart, made for places that it was not trained on",
        kind="crop",
        file="osnet_ain_x1_0_msmt17.pth",
        sources=(
            HuggingFace(
                _OSNET,
                "osnet_ain_x1_0_msmt17_256x128_amsgrad_ep50_lr0.0015_coslr_b64_fb10_softmax_labsmth"
                "_flip_jitter.pth",
                _OSNET_COMMIT,
            ),
            GoogleDrive("1SigwBE6mPdqiJMqhuIY4aqC7--5CsMal"),
        ),
        licence="MIT",
        trained_on="MSMT17, all of it",
        data_terms=_MSMT17_TERMS,
        size=17_293_009,
        sha256="8a07e8da38946f7cee37f4561617bf8b6d2fe8f3a4027852893ea092e46d919f",
        size_and_hash_from=_OSNET_HASH,
        published={
            "Market-1501: mAP": 43.3,
            "Market-1501: top-1": 70.1,
            "DukeMTMC-reID: mAP": 52.7,
            "DukeMTMC-reID: top-1": 71.1,
        },
        published_in=_OSNET_ZOO,
    ),
    ListedModel(
        name="bot-r50-market",
        purpose="tells people apart; fast-reid's bag of tricks, ResNet-50",
        kind="crop",
        file="market_bot_R50.pth",
        sources=(Https(_FAST_REID + "market_bot_R50.pth"),),
        licence="Apache-2.0",
        trained_on="Market-1501",
        data_terms=_MARKET_TERMS,
        published={"Market-1501: mAP": 86.1, "Market-1501: top-1": 94.4},
        published_in=_FAST_REID_ZOO,
    ),
    ListedModel(
        name="bot-r50-msmt17",
        purpose="tells people apart; fast-reid's bag of tricks, ResNet-50",
        kind="crop",
        file="msmt_bot_R50.pth",
        sources=(Https(_FAST_REID + "msmt_bot_R50.pth"),),
        licence="Apache-2.0",
        trained_on="MSMT17",
        data_terms=_MSMT17_TERMS,
        published={"MSMT17: mAP": 50.2, "MSMT17: top-1": 74.1},
        published_in=_FAST_REID_ZOO,
    ),
    ListedModel(
        name="seqnet-cuhk-sysu",
        purpose="finds people and tells them apart in one pass; SeqNet, ResNet-50",
        kind="search",
        file="seqnet_cuhk_sysu.pth",
        sources=(GoogleDrive("1wKhCHy7uTHx8zxNS62Y1236GNv5TzFzq"),),
        licence="MIT",
        trained_on="CUHK-SYSU",
        data_terms=_CUHK_TERMS,
        published={"CUHK-SYSU, 100 frames: mAP": 94.8, "CUHK-SYSU, 100 frames: top-1": 95.7},
        published_in=_SEQNET_README,
        note=_SEQNET_NOTE,
    ),
    ListedModel(
        name="seqnet-prw",
        purpose="finds people and tells them apart in one pass; SeqNet, ResNet-50",
        kind="search",
        file="seqnet_prw.pth",
        sources=(GoogleDrive("1I9OI6-sfVyop_aLDIWaYwd7Z4hD34hwZ"),),
        licence="MIT",
        trained_on="PRW",
        data_terms="not read for PRW; take it as research only, non-commercial, ask its makers",
        published={"PRW: mAP": 47.6, "PRW: top-1": 87.6},
        published_in=_SEQNET_README,
        note=_SEQNET_NOTE,
    ),
    ListedModel(
        name="nae",
        purpose="finds people and tells them apart in one pass; NAE, ResNet-50",
        kind="search",
        file="nae_logs.tar.gz",
        sources=(Https("https://github.com/DeanChan/NAE4PS/releases/download/v0.0.0/logs.tar.gz"),),
        licence="none stated",
        trained_on="CUHK-SYSU",
        data_terms=_CUHK_TERMS,
        published={"CUHK-SYSU, 100 frames: mAP": 91.5, "CUHK-SYSU, 100 frames: top-1": 92.4},
        published_in="Chen et al., CVPR 2020",
        note="An archive: unpack it, and import the checkpoint in it. Without a licence all "
        "rights stay with its makers.",
    ),
)

LISTED = {model.name: model for model in (*_MODELS, *FACE_MODELS)}
"""By name, in the order in which they are shown."""


def find_listed(name: str) -> ListedModel:
    """Return a model of the list.

    Raises:
        ValueError: if there is none of that name; names those that there are.
    """
    if name not in LISTED:
        raise ValueError(f"the list has no model {name!r}; expected one of {', '.join(LISTED)}")
    return LISTED[name]

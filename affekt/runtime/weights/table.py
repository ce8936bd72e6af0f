"""Every weights file that anything here may need: what it is, whose, and how it is recognised.

Sizes and hashes are those that several independent public files state, or that were computed from
the file itself. One that is not known stays unknown: None for a size, "" for a hash; where only the
start of a hash is known (torch's naming rule: a file name ends in the first 8 or more digits of its
SHA-256), that start.
"""

from dataclasses import dataclass

TORCH = "https://download.pytorch.org/models/"
FACE_ALIGNMENT = "https://www.adrianbulat.com/downloads/python-fan/"
LIPSYNC = "https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/"
DLIB = "http://dlib.net/files/"
INSIGHTFACE = "https://github.com/deepinsight/insightface/releases/download/v0.7/"
LPIPS = "https://github.com/richzhang/PerceptualSimilarity/tree/master/lpips/weights/v0.1"
EMOTION_FAN = "the README of https://github.com/Open-Debin/Emotion-FAN (Baidu or OneDrive)"
FOMM = "the README of https://github.com/AliaksandrSiarohin/first-order-model"
EAMM = "the README of https://github.com/jixinya/EAMM"

RESEARCH = "research use"
NON_COMMERCIAL = "non-commercial"
NO_LICENCE = "not stated"
BUFFALO = (
    "inside buffalo_l.zip (288,621,354 bytes, sha256 "
    "80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f): unpack it first"
)
ANTELOPE = (
    "inside antelopev2.zip (sha256 "
    "8e182f14fc6e80b3bfa375b33eb6cff7ee05d8ef7633e738d1c89021dcf0c5c5): unpack it first"
)
BZIPPED = "published as .bz2: unpack it first"
MEDIAPIPE_INSTEAD = "or choose the detector 'mediapipe', which needs no file"
DIS_INSTEAD = "or choose the method 'dis', which needs no file"


@dataclass(frozen=True)
class WeightsFile:
    """One file that is not part of the project."""

    key: str
    file: str  # its name in the weights folder
    source: str  # the address, or where the address stands
    licence: str
    needed_by: tuple[str, ...]  # metrics of test.py, or stages; empty: nothing reads it yet
    size: int | None = None  # bytes
    sha256: str = ""  # 64 hexadecimal digits, or the first 8 or more, or "" where none is published
    aliases: tuple[str, ...] = ()  # other names under which the same content is published
    note: str = ""  # what to know before downloading
    instead: str = ""  # how to do without


_SHEET = (
    WeightsFile(
        "inception_fid",
        "pt_inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth",
        "Apache-2.0",
        ("fid", "kid"),
        95_628_359,
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        aliases=("weights-inception-2015-12-05-6726825d.pth",),
        note="torch-fidelity's release v0.2.0 publishes the same file under its other name",
    ),
    WeightsFile(
        "syncnet",
        "syncnet_v2.model",
        f"{LIPSYNC}syncnet_v2.model",
        RESEARCH,
        ("lse_c", "lse_d", "sync_offset"),
        54_573_114,
        "961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
    ),
    WeightsFile(
        "syncnet_s3fd",
        "sfd_face.pth",
        f"{LIPSYNC}sfd_face.pth",
        RESEARCH,
        (),
        89_844_381,
        "d54a87c2b7543b64729c9a25eafd188da15fd3f6e02f0ecec76ae1b30d86c491",
        note="face detector of SyncNet's tracked pipeline",
    ),
    WeightsFile(
        "fa_s3fd",
        "s3fd-619a316812.pth",
        f"{FACE_ALIGNMENT}s3fd-619a316812.pth",
        "BSD repository",
        ("detector face_alignment",),
        89_843_225,
        "619a31681264d3f7f7fc7a16a42cbbe8b23f31a256f75a366e5a1bcd59b33543",
        instead=MEDIAPIPE_INSTEAD,
    ),
    WeightsFile(
        "fa_2dfan4",
        "2DFAN4-11f355bf06.pth.tar",
        f"{FACE_ALIGNMENT}2DFAN4-11f355bf06.pth.tar",
        "BSD repository",
        ("detector face_alignment",),
        sha256="11f355bf0693120222f5955ce3f9dc8fb5763ebb30a47d7906e509490d32e4aa",
        instead=MEDIAPIPE_INSTEAD,
    ),
    WeightsFile(
        "fa_3dfan4",
        "3DFAN4-7835d9f11d.pth.tar",
        f"{FACE_ALIGNMENT}3DFAN4-7835d9f11d.pth.tar",
        "BSD repository",
        (),
        sha256="7835d9f11d",
        note="face-alignment's landmarks in 3D",
    ),
    WeightsFile(
        "fa_depth",
        "depth-2a464da4ea.pth.tar",
        f"{FACE_ALIGNMENT}depth-2a464da4ea.pth.tar",
        "BSD repository",
        (),
        sha256="2a464da4ea",
        note="depth of face-alignment's landmarks; the library unpickles it unrestrictedly",
    ),
    WeightsFile(
        "dlib68",
        "shape_predictor_68_face_landmarks.dat",
        f"{DLIB}shape_predictor_68_face_landmarks.dat.bz2",
        "300-W: non-commercial",
        (),
        99_693_937,
        "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
        note=BZIPPED,
    ),
    WeightsFile(
        "dlib5",
        "shape_predictor_5_face_landmarks.dat",
        f"{DLIB}shape_predictor_5_face_landmarks.dat.bz2",
        "CC0 / Boost",
        (),
        sha256="c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
        note=BZIPPED,
    ),
    WeightsFile(
        "dlib_mmod",
        "mmod_human_face_detector.dat",
        f"{DLIB}mmod_human_face_detector.dat.bz2",
        "CC0 / Boost",
        (),
        729_940,
        "4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6",
        note=BZIPPED,
    ),
    WeightsFile(
        "arcface",
        "w600k_r50.onnx",
        f"{INSIGHTFACE}buffalo_l.zip",
        NON_COMMERCIAL,
        ("csim",),
        174_383_860,
        "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
        note=BUFFALO,
    ),
    WeightsFile(
        "scrfd",
        "det_10g.onnx",
        f"{INSIGHTFACE}buffalo_l.zip",
        NON_COMMERCIAL,
        (),
        16_923_827,
        "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
        aliases=("scrfd_10g_bnkps.onnx",),
        note=BUFFALO,
    ),
    WeightsFile(
        "arcface_r100",
        "glintr100.onnx",
        f"{INSIGHTFACE}antelopev2.zip",
        NON_COMMERCIAL,
        (),
        260_665_334,
        "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf",
        note=ANTELOPE,
    ),
    WeightsFile(
        "mp_face",
        "face_landmarker.task",
        "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
        "face_landmarker.task",
        "Apache-2.0",
        (),
        3_758_596,
        "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        note="float16, version 1; the address with 'latest' may give another file",
    ),
    WeightsFile(
        "vgg19",
        "vgg19-dcbb9e9d.pth",
        f"{TORCH}vgg19-dcbb9e9d.pth",
        "BSD",
        ("train_fomm.py", "train_a2fd.py", "train_edge2video.py"),
        574_673_361,
        "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        note="torchvision's VGG19_Weights.IMAGENET1K_V1",
        instead="or set vgg.weights=random, or the weight of its loss to 0",
    ),
    WeightsFile(
        "vgg16",
        "vgg16-397923af.pth",
        f"{TORCH}vgg16-397923af.pth",
        "BSD",
        (),
        553_433_881,
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        note="trunk of LPIPS",
    ),
    WeightsFile(
        "alexnet",
        "alexnet-owt-7be5be79.pth",
        f"{TORCH}alexnet-owt-7be5be79.pth",
        "BSD",
        (),
        244_408_911,
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        note="trunk of LPIPS",
    ),
    WeightsFile(
        "lpips_alex",
        "alex.pth",
        LPIPS,
        "BSD-2-Clause",
        (),
        6_009,
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        note="head of LPIPS v0.1, bundled in the wheel lpips",
    ),
    WeightsFile(
        "lpips_vgg",
        "vgg.pth",
        LPIPS,
        "BSD-2-Clause",
        (),
        7_289,
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        note="head of LPIPS v0.1, bundled in the wheel lpips",
    ),
    WeightsFile(
        "inception_tv",
        "inception_v3_google-0cc3c7bd.pth",
        f"{TORCH}inception_v3_google-0cc3c7bd.pth",
        "BSD",
        (),
        sha256="0cc3c7bd",
        note="about 104 MB; only for FID as EAT computes it, comparable with no other",
    ),
    WeightsFile(
        "raft",
        "raft_large_C_T_SKHT_V2-ff5fadd5.pth",
        f"{TORCH}raft_large_C_T_SKHT_V2-ff5fadd5.pth",
        "BSD",
        ("data_prep.flow --method raft",),
        sha256="ff5fadd5",
        note="torchvision's Raft_Large_Weights.C_T_SKHT_V2, about 21 MB",
        instead=DIS_INSTEAD,
    ),
    WeightsFile(
        "raft_small",
        "raft_small_C_T_V2-01064c6d.pth",
        f"{TORCH}raft_small_C_T_V2-01064c6d.pth",
        "BSD",
        ("data_prep.flow --method raft_small",),
        sha256="01064c6d",
        note="torchvision's Raft_Small_Weights.C_T_V2, about 4 MB",
        instead=DIS_INSTEAD,
    ),
    *(
        WeightsFile(
            key,
            file,
            EMOTION_FAN,
            "MIT repository, terms of the data unclear",
            needed_by,
            note="backbone alone: used as a classifier its labels are random",
        )
        for key, file, needed_by in (
            (
                "fan_backbone",
                "Resnet18_FER+_pytorch.pth.tar",
                ("affekt.metrics.emotion.train pretrained=true",),
            ),
            ("fan_backbone_ms1m", "Resnet18_MS1M_pytorch.pth.tar", ()),
        )
    ),
    WeightsFile(
        "fan_mead_eat",
        "self_relation-attention_61_84.3655",
        "Google Drive, linked by EAT's evaluation code (evaluation_eat)",
        NO_LICENCE,
        (),
        note="a third party's FAN for MEAD, inside a zip file",
    ),
    WeightsFile(
        "fan_mead_cmet",
        "Emotion-FAN_MEAD.pth",
        "Google Drive, linked by the evaluation code of C-MET",
        NO_LICENCE,
        (),
        note="a third party's FAN for MEAD, 16 frames a clip",
    ),
    *(
        WeightsFile(key, file, source, NO_LICENCE, (f"eamm.released.importer {file}",))
        for key, file, source in (
            ("fomm_vox", "vox-cpk.pth.tar", FOMM),
            ("fomm_vox_adv", "vox-adv-cpk.pth.tar", FOMM),
            ("eamm_fomm", "124_52000.pth.tar", EAMM),
            ("eamm_audio", "1-6000.pth.tar", EAMM),
            ("eamm_emotion", "5-3000.pth.tar", EAMM),
        )
    ),
)

FILES: dict[str, WeightsFile] = {file.key: file for file in _SHEET}

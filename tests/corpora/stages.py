"""Every training stage at its smallest, by name; as a program it trains some, one by one.

    torchrun --nproc_per_node=2 -m tests.corpora.stages ROOT '[{"name": "fomm", "out": "two"}]'

ROOT is a folder that `write_corpora` filled; what else a job has changes `run`.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

import pretrain_encoders
import train_a2fd
import train_audio2lm
import train_disentangle
import train_edge2video
import train_emotion_displacement
import train_fomm
from affekt.media.audio.mfcc import clip_mfcc
from affekt.media.validation import ValConfig
from affekt.metrics.emotion import train as emotion
from affekt.metrics.emotion.data import FaceAugmentation, FaceDataConfig
from affekt.metrics.emotion.network import FanConfig
from affekt.metrics.sync import train as sync
from affekt.metrics.sync.network import SyncNetConfig
from affekt.nets.perceptual import VggConfig
from affekt.runtime.files import save_npy
from affekt.runtime.training.optim import OptimConfig
from eamm.a2fd.data import A2fdDataConfig
from eamm.a2fd.layers import A2fdWidths
from eamm.augment import AugmentConfig
from eamm.displacement.data import DisplacementDataConfig
from eamm.fomm.blocks import HourglassConfig
from eamm.fomm.data import FrameDataConfig, JitterConfig
from eamm.fomm.discriminator import DiscriminatorConfig
from eamm.fomm.generator import GeneratorConfig
from eamm.fomm.keypoints import KeypointConfig
from eamm.fomm.model import FommConfig
from eamm.fomm.motion import MotionConfig
from eamm.fomm.transform import Transform, random_transform
from evp.data.portraits import GuidanceConfig, VideoDataConfig
from evp.losses import VideoLossConfig
from evp.networks import discriminators, generator
from evp.networks.audio2lm import Audio2LandmarkConfig
from evp.networks.disentangle import DisentanglementConfig
from evp.networks.encoders import AudioDecoderConfig
from evp.rollout import SequenceConfig
from tests.corpora.driven_corpus import make_driven_corpus, make_fomm
from tests.corpora.emotional_corpus import (
    MODEL,
    make_emotional_corpus,
    make_emotional_fomm,
    make_still_a2fd,
)
from tests.corpora.portrait_corpus import SIZE, write_flow, write_portraits
from tests.corpora.short_run import short_run
from tests.corpora.spoken_corpus import make_corpus
from tests.corpora.tiny_evp import SIZES, write_encoders

NO_VAL = ValConfig("none")
HEAD = Audio2LandmarkConfig(identity_dim=8, hidden=32, layers=1, head_hidden=32, components=4)
WIDTHS = A2fdWidths(4, 16, (8, 8, 16, 16, 16), 32, 32, 16, 16, 32, 1, 32, 16)
PATCHES = discriminators.DiscriminatorConfig(4, 2, 1)
RELU = VggConfig("random", ("relu1_1",))


def write_corpora(root):
    """Fill a folder with the corpora and earlier runs that the stages need."""
    torch.manual_seed(0)
    speech = make_corpus(root / "speech")
    write_encoders(root / "encoders", speech, SIZES)
    write_portraits(root / "portraits", frames=14)
    write_flow(root / "portraits")
    make_driven_corpus(root / "driven", clips=8)
    make_fomm(root / "driven_fomm")
    faces = make_emotional_corpus(root / "faces", size=SIZE)
    fomm = make_emotional_fomm(root / "faces_fomm")
    make_still_a2fd(root / "faces_a2fd", fomm)
    for clip in faces.clips():  # SyncNet listens, too
        noise = np.random.default_rng(clip.frames).standard_normal(640 * clip.frames)
        save_npy(clip.folder / "mfcc.npy", clip_mfcc(noise / 10, clip.frames))
    return root


def _run(root, name):
    return {"run": short_run(root / "runs" / name, batch_size=4), "val": NO_VAL}


def pretrain_emotion(root):
    run = _run(root, "pretrain_emotion")
    return pretrain_encoders.Config(target="emotion", corpus=root / "speech", encoders=SIZES, **run)


def pretrain_content(root):
    run = _run(root, "pretrain_content") | {"head": HEAD, "frames": 8}
    return pretrain_encoders.Config(target="content", corpus=root / "speech", encoders=SIZES, **run)


def disentangle(root):
    return train_disentangle.Config(
        corpus=root / "speech",
        content_from=None,
        emotion_from=None,
        model=DisentanglementConfig(SIZES, AudioDecoderConfig((32, 16, 8, 8))),
        **_run(root, "disentangle"),
    )


def audio2lm(root):
    return train_audio2lm.Config(
        corpus=root / "speech",
        encoders=root / "encoders",
        content_encoder="finetune",
        emotion_encoder="finetune",
        model=HEAD,
        **_run(root, "audio2lm"),
    )


def edge2video(root):
    return train_edge2video.Config(
        data=VideoDataConfig((root / "portraits",)),
        guidance=GuidanceConfig("plain", SIZE // 2),
        generator=generator.GeneratorConfig(8, 2, 2, 1, 1),
        discriminator=PATCHES,
        vgg=RELU,
        loss=VideoLossConfig(gan=0.1, gan_from=3, vgg=0.5, feature_matching=0.3),
        ema_decay=0.9,
        **_run(root, "edge2video"),
    )


def edge2video_sequence(root):
    game = {"gan": 0.1, "gan_video": 0.2, "feature_matching": 0.3}
    return train_edge2video.Config(
        data=VideoDataConfig((root / "portraits",), frames=5, shift=2),
        guidance=GuidanceConfig("plain", SIZE // 2),
        generator=generator.GeneratorConfig(8, 2, 2, 1, 1, outer_kernel=3, previous=2),
        sequence=SequenceConfig(coarse_steps=2, enhancer_steps=1),
        discriminator=PATCHES,
        video_discriminator=discriminators.VideoDiscriminatorConfig(2, 2, patches=PATCHES),
        vgg=RELU,
        loss=VideoLossConfig(**game, gan_from=3, vgg=0.5, flow=0.1, warp=0.7, hallucinated=0.4),
        ema_decay=0.9,
        **_run(root, "edge2video_sequence"),
    )


def fomm(root):
    return train_fomm.Config(
        data=FrameDataConfig((root / "faces",), jitter=JitterConfig(0, 0, 0, 0)),
        fomm=FommConfig(
            size=32,
            keypoints=KeypointConfig(2, HourglassConfig(8, 32, 2), downscale=2, kernel=3),
            motion=MotionConfig(HourglassConfig(8, 32, 2), downscale=2, kernel=3),
            generator=GeneratorConfig(8, 32, 1, 1, skips=True, aligned_flow=True),
        ),
        discriminator=DiscriminatorConfig(4, 16, 2),
        vgg=RELU,
        loss=train_fomm.LossConfig(perceptual=1.0, pixels=10.0, scales=(1, 2)),
        **_run(root, "fomm"),
    )


def fomm_gan(root):
    loss = train_fomm.LossConfig(perceptual=1.0, pixels=1.0, gan=1.0, scales=(1, 2))
    return replace(fomm(root), loss=loss, **_run(root, "fomm_gan"))


def a2fd(root):
    return train_a2fd.Config(
        corpus=root / "driven",
        fomm=root / "driven_fomm",
        data=A2fdDataConfig(frames=4),
        model=WIDTHS,
        vgg=RELU,
        loss=train_a2fd.LossConfig(perceptual=0.1, perceptual_every=2),
        **_run(root, "a2fd"),
    )


def a2fd_finetune(root):
    return replace(a2fd(root), generator="finetune", **_run(root, "a2fd_finetune"))


def a2fd_cached(root):
    return replace(
        a2fd(root),
        data=A2fdDataConfig(frames=4, source="neutral", jitter=0.0, pose="normalized"),
        loss=train_a2fd.LossConfig(perceptual=0.0),
        cache_targets=True,
        init="lsuv",
        **_run(root, "a2fd_cached"),
    )


def displacement(root):
    return train_emotion_displacement.Config(
        corpus=root / "faces",
        fomm=root / "faces_fomm",
        a2fd=root / "faces_a2fd",
        model=MODEL,
        data=DisplacementDataConfig(frames=3),
        augment=AugmentConfig(rotation=5.0, perspective=0.1, flip=0.5),
        **_run(root, "displacement"),
    )


def emotion_classifier(root):
    return emotion.Config(
        corpus=root / "faces",
        fan=FanConfig(widths=(8, 8, 16, 16), blocks=1, dropout=0.0, attention_dropout=0.0),
        data=FaceDataConfig(frames=2, size=32, augmentation=FaceAugmentation(rotation=3.0)),
        **_run(root, "emotion_classifier"),
    )


def syncnet(root):
    widths = (4, 8, 8, 8, 8, 16)
    return sync.Config(
        corpus=root / "faces",
        network=SyncNetConfig(56, "mouth", widths, widths, 16, 8),
        data=sync.SyncDataConfig(4),
        optim=OptimConfig(1e-2, schedule="one_cycle", clip_norm=5),
        **_run(root, "syncnet"),
    )


STAGES = {
    "pretrain_emotion": (pretrain_emotion, pretrain_encoders.train),
    "pretrain_content": (pretrain_content, pretrain_encoders.train),
    "disentangle": (disentangle, train_disentangle.train),
    "audio2lm": (audio2lm, train_audio2lm.train),
    "edge2video": (edge2video, train_edge2video.train),
    "edge2video_sequence": (edge2video_sequence, train_edge2video.train),
    "fomm": (fomm, train_fomm.train),
    "fomm_gan": (fomm_gan, train_fomm.train),
    "a2fd": (a2fd, train_a2fd.train),
    "a2fd_finetune": (a2fd_finetune, train_a2fd.train),
    "a2fd_cached": (a2fd_cached, train_a2fd.train),
    "displacement": (displacement, train_emotion_displacement.train),
    "emotion_classifier": (emotion_classifier, emotion.train),
    "syncnet": (syncnet, sync.train),
}


def train_stage(root, name, out, **run):
    """Train one stage into `out`, with these changes to its run."""
    configure, train = STAGES[name]
    config = configure(root)
    with patch.object(train_fomm, "random_transform", one_transform):
        train(replace(config, run=replace(config.run, out=out, **run)))


def one_transform(batch, config, like):
    """Return one warp for all pictures: at random each process draws its own."""
    torch.manual_seed(0)
    one = random_transform(1, config, like)
    weights = one.weights.expand(batch, -1)
    return Transform(one.affine.expand(batch, -1, -1), one.control, weights)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for job in json.loads(sys.argv[2]):
        train_stage(Path(sys.argv[1]), job.pop("name"), Path(job.pop("out")), **job)

"""What the weights of EVP's release are called here, and which ones are left out.

The names (the misspelling included) are facts of its checkpoints. Several kinds of file hold
networks of the same layers:

    audio2lm     <speaker>_20.pth       both encoders, LSTM and landmark encoder
    disentangle  <epoch>_pretrain.pth   both encoders, audio decoder, classifier
    emotion      SER_<epoch>.pkl        pretrained emotion encoder with its classifier
    content      atnet_lstm_18.pth      ATVGnet's network, of which the audio encoder is taken

Every new name begins with the part of the run folder that it belongs to.
"""

from collections.abc import Sequence
from typing import Literal

from affekt.runtime.weights.foreign import Naming, Reason

Kind = Literal["audio2lm", "disentangle", "emotion", "content"]

CONTENT: Sequence[Naming] = (
    (r"con_encoder\.audio_eocder\.", "content_encoder.convolutions."),
    (r"con_encoder\.audio_eocder_fc\.", "content_encoder.dense."),
)
EMOTION: Sequence[Naming] = (
    (r"emo_encoder\.emotion_eocder\.", "emotion_encoder.convolutions."),
    (r"emo_encoder\.emotion_eocder_fc\.0\.", "emotion_encoder.dense.0."),
    (r"emo_encoder\.emotion_eocder_fc\.2\.", "emotion_encoder.dense.3."),  # dropout between
)
NAMES: dict[Kind, Sequence[Naming]] = {
    "audio2lm": (
        *CONTENT,
        *EMOTION,
        (r"lm_encoder\.lmark_encoder\.", "model.identity."),
        (r"decoder\.lstm\.", "model.lstm."),
        (r"decoder\.lstm_fc\.0\.", "model.head.0."),
    ),
    "disentangle": (
        *CONTENT,
        *EMOTION,
        (r"decoder\.decon\.", "decoder.layers."),
        (r"classify\.last_fc\.", "classifier."),
    ),
    "emotion": (
        *((old.removeprefix(r"emo_encoder\."), new) for old, new in EMOTION),
        (r"last_fc\.", "classifier."),
    ),
    "content": tuple((old.removeprefix(r"con_encoder\."), new) for old, new in CONTENT),
}

UNUSED_CLASSIFIER = "the classifier of the pretraining, which this network never calls"
UNUSED_IDENTITY = "layers for a speaker's identity that the release builds and never calls"
RE_ID: Sequence[Reason] = (
    (r"(emo_encoder\.)?re_id\.", UNUSED_IDENTITY),
    (r"(emo_encoder\.)?re_id_fc\.", UNUSED_IDENTITY),
)
INHERITED: Sequence[Reason] = ((r"emo_encoder\.last_fc\.", UNUSED_CLASSIFIER), *RE_ID)
ATVGNET = "ATVGnet's way from codes to its own landmarks, which EVP does not use"
LEFT_OUT: dict[Kind, Sequence[Reason]] = {
    "audio2lm": INHERITED,
    "disentangle": INHERITED,
    "emotion": RE_ID,
    "content": ((r"(lmark_encoder|lstm|lstm_fc|decoder)\.", ATVGNET),),
}

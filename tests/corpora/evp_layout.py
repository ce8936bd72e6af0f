"""Files laid out as EVP's release lays its own out, with random weights, of any widths."""

import numpy as np

from tests.corpora.released_layout import random_state

NAMES = ("content", "content_hidden", "content_dim", "emotion", "emotion_hidden", "emotion_dim")
NAMES += ("identity", "hidden", "layers", "components", "decoder")
_small = (2, 3, 4, 3, 5), 7, 6, (2, 3, 4, 5), 7, 4, (5, 8), 6, 2, 3, (6, 5, 4, 3)
_published = (64, 128, 256, 256, 512), 2048, 256, (64, 128, 256, 512), 2048, 128
_published += (256, 512), 256, 3, 16, (256, 128, 64, 32)
SMALL = dict(zip(NAMES, _small, strict=True))
PUBLISHED = dict(zip(NAMES, _published, strict=True))


def _linear(name, inputs, outputs):
    return {f"{name}.weight": [outputs, inputs], f"{name}.bias": [outputs]}


def _norm(name, channels):
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": [channels] for part in parts} | {f"{name}.num_batches_tracked": []}


def _encoder(name, places, flat, sizes, part):
    shapes, before = {}, 1
    for place, width in zip(places, sizes[part], strict=True):
        shapes[f"{name}.{place}.0.weight"] = [width, before, 3, 3]
        shapes |= _norm(f"{name}.{place}.1", width)
        before = width
    hidden = sizes[f"{part}_hidden"]
    shapes |= _linear(f"{name}_fc.0", flat * before, hidden)
    return shapes | _linear(f"{name}_fc.2", hidden, sizes[f"{part}_dim"])


def content_shapes(sizes, prefix="con_encoder."):
    return _encoder(f"{prefix}audio_eocder", (0, 1, 3, 4, 5), 24, sizes, "content")


def emotion_shapes(sizes, prefix="emo_encoder."):
    shapes = _encoder(f"{prefix}emotion_eocder", (0, 2, 3, 5), 6, sizes, "emotion")
    return shapes | _linear(f"{prefix}last_fc", sizes["emotion_dim"], 8)


def audio2lm_shapes(sizes):
    middle, identity = sizes["identity"]
    shapes = content_shapes(sizes) | emotion_shapes(sizes)
    inputs, hidden = identity + sizes["content_dim"] + sizes["emotion_dim"], sizes["hidden"]
    for layer in range(sizes["layers"]):
        shapes[f"decoder.lstm.weight_ih_l{layer}"] = [4 * hidden, inputs if layer == 0 else hidden]
        shapes[f"decoder.lstm.weight_hh_l{layer}"] = [4 * hidden, hidden]
        shapes[f"decoder.lstm.bias_ih_l{layer}"] = [4 * hidden]
        shapes[f"decoder.lstm.bias_hh_l{layer}"] = [4 * hidden]
    shapes |= _linear("decoder.lstm_fc.0", hidden, sizes["components"])
    shapes |= _linear("lm_encoder.lmark_encoder.0", sizes["components"], middle)
    return shapes | _linear("lm_encoder.lmark_encoder.2", middle, identity)


def disentangle_shapes(sizes):
    shapes = content_shapes(sizes) | emotion_shapes(sizes)
    shapes |= {"emo_encoder.re_id.0.weight": [4, 5, 3, 3], "emo_encoder.re_id_fc.0.bias": [4]}
    widths = (sizes["content_dim"] + sizes["emotion_dim"], *sizes["decoder"], 1)
    for layer, kernel in enumerate(([6, 6], [4, 2], [4, 4], [4, 3], [3, 3])):
        name = f"decoder.decon.{3 * layer}"
        shapes[f"{name}.weight"] = [widths[layer], widths[layer + 1], *kernel]
        shapes[f"{name}.bias"] = [widths[layer + 1]]
        if layer < 4:
            shapes |= _norm(f"decoder.decon.{3 * layer + 1}", widths[layer + 1])
    return shapes | _linear("classify.last_fc", sizes["emotion_dim"], 8)


def audio2lm_file(sizes=None, seed=0):
    """What `<ID>_20.pth` holds."""
    return random_state(audio2lm_shapes(sizes or SMALL), seed)


def disentangle_file(sizes=None, seed=0):
    """What `<epoch>_pretrain.pth` holds."""
    state = random_state(disentangle_shapes(sizes or SMALL), seed)
    return {"train_step": 40, "test_step": 7, "epoch": 99, "model": state}


def emotion_file(sizes=None, seed=0):
    """What `SER_<epoch>.pkl` holds."""
    state = random_state(emotion_shapes(sizes or SMALL, ""), seed)
    return {f"module.{key}": value for key, value in state.items()}


def content_file(sizes=None, seed=0):
    """What `atnet_lstm_18.pth` holds: ATVGnet's content encoder, and its landmark half."""
    shapes = content_shapes(sizes or SMALL, "") | {"lstm.weight_ih_l0": [4, 3]}
    shapes |= _linear("lmark_encoder.0", 6, 4) | _linear("lstm_fc.0", 4, 6)
    return {f"module.{key}": value for key, value in random_state(shapes, seed).items()}


def landmark_files(folder, speaker="M003", seed=0):
    """Write U (212, 212), a mean face and the eight emotion features; return their paths."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(0.1, 0.9, 212)
    basis = np.linalg.qr(rng.normal(size=(212, 212)))[0].astype(np.float32)
    paths = [folder / f"{speaker}_U_106.npy", folder / f"{speaker}_mean_106.npy"]
    for path, array in zip(paths, (basis, mean), strict=True):
        np.save(path, array)
    return paths


def feature_files(folder, dim=4, speaker="M003", seed=0):
    """Write an emotion feature of each label, as the release names them; return their paths."""
    rng = np.random.default_rng(seed)
    labels = ("angry", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprised")
    own = folder / f"{speaker}_feature"
    own.mkdir(exist_ok=True)
    for label in labels:
        np.save(own / f"{label}.npy", rng.gamma(2, size=dim).astype(np.float32))
    return [own / f"{label}.npy" for label in labels]

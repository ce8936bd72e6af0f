import pytest
import torch
from torch import nn

from evp.networks import encoders
from evp.networks.encoders import (
    AudioDecoder,
    AudioDecoderConfig,
    ContentEncoder,
    ContentEncoderConfig,
    EmotionClassifier,
    EmotionEncoder,
    EmotionEncoderConfig,
    Encoders,
    EncodersConfig,
    EncodersDescription,
    encode,
    load_description,
    load_encoders,
    load_pretrained,
    save_description,
)

SMALL_CONTENT = ContentEncoderConfig((2, 4, 4, 4, 4), hidden=16, dim=8)
SMALL_EMOTION = EmotionEncoderConfig((2, 4, 4, 8), hidden=16, dim=6)
SMALL = EncodersConfig(SMALL_CONTENT, SMALL_EMOTION)


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_full_size_networks_have_the_releases_parameters_and_the_papers_codes():
    content, emotion = (
        ContentEncoder(ContentEncoderConfig()),
        EmotionEncoder(EmotionEncoderConfig()),
    )
    assert parameters(content) == 27_833_536
    assert parameters(emotion) + parameters(EmotionClassifier(128, 8)) == 8_107_592
    assert parameters(AudioDecoder(AudioDecoderConfig(), 256 + 128)) == 3_958_465
    for network, length in ((content, 256), (emotion, 128)):
        codes = network.eval()(20 * torch.randn(2, 28, 12))
        assert codes.shape == (2, length)
        assert codes.min() >= 0


@pytest.mark.parametrize("network", [ContentEncoder(SMALL_CONTENT), EmotionEncoder(SMALL_EMOTION)])
def test_windows_of_a_batch_of_clips_are_coded_one_by_one(network):
    windows = 20 * torch.randn(3, 5, 28, 12)
    torch.testing.assert_close(network.eval()(windows)[1, 4], network(windows[1, 4][None])[0])


def test_the_emotion_encoder_takes_the_maximum_over_cepstra():
    network = EmotionEncoder(SMALL_EMOTION).eval()
    seen = []
    layer = network.convolutions[4]
    layer.register_forward_hook(lambda _, inputs, output: seen.extend([*inputs, output]))
    network(20 * torch.randn(2, 28, 12))
    before, after = seen
    assert before.shape[2:] == (12, 13)
    torch.testing.assert_close(after, before.amax(dim=2, keepdim=True))


def test_the_decoder_writes_windows_within_the_range_of_speech():
    decoder = AudioDecoder(AudioDecoderConfig((8, 8, 8, 8)), 14)
    windows = decoder(1e4 * torch.rand(4, 8), 1e4 * torch.rand(4, 6))
    assert windows.shape == (4, 28, 12)
    assert windows.abs().max() <= 90
    assert windows.abs().max() > 1


def test_the_decoder_hears_both_codes():
    decoder = AudioDecoder(AudioDecoderConfig((8, 8, 8, 8)), 14).eval()
    content, emotion = torch.rand(1, 8), torch.rand(1, 6)
    window = decoder(content, emotion)
    assert not torch.allclose(decoder(content + 1, emotion), window)
    assert not torch.allclose(decoder(content, emotion + 1), window)


def test_encode_works_in_chunks_without_gradient_and_leaves_the_mode(monkeypatch):
    network = EmotionEncoder(SMALL_EMOTION)
    windows = 20 * torch.randn(7, 28, 12)
    network(windows)  # batch statistics
    whole = network.eval()(windows)
    network.train()
    monkeypatch.setattr(encoders, "CHUNK", 3)
    codes = encode(network, windows)
    torch.testing.assert_close(codes, whole)
    assert not codes.requires_grad
    assert network.training


def test_a_run_describes_its_encoders(tmp_path):
    description = EncodersDescription(SMALL, ("angry", "bored"), ("emotion",))
    save_description(tmp_path, description)
    assert load_description(tmp_path) == description


def test_a_folder_without_encoders_names_the_scripts_that_make_them(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"encoders.yaml.*train_disentangle.py"):
        load_encoders(tmp_path)


def test_a_pretraining_is_no_pair_of_encoders(tmp_path):
    save_description(tmp_path, EncodersDescription(SMALL, ("angry",), ("content",)))
    with pytest.raises(ValueError, match="holds the content encoder alone"):
        load_encoders(tmp_path)


def test_weights_of_other_widths_are_refused_with_both_sizes(tmp_path):
    save_description(tmp_path, EncodersDescription(SMALL, ("angry",)))
    wider = EncodersConfig(ContentEncoderConfig((2, 4, 4, 4, 4), hidden=32, dim=8), SMALL_EMOTION)
    with pytest.raises(ValueError, match=r"hidden=16.*wants.*hidden=32"):
        load_pretrained(Encoders(wider), "content", tmp_path)


def test_channels_last_memory_changes_no_number():
    network = ContentEncoder(SMALL_CONTENT).eval()
    plain = ContentEncoder(SMALL_CONTENT).eval()
    plain.load_state_dict(network.state_dict())
    plain.to(memory_format=torch.contiguous_format)
    windows = 20 * torch.randn(4, 28, 12)
    torch.testing.assert_close(network(windows), plain(windows))
    weight = next(m for m in network.modules() if isinstance(m, nn.Conv2d) and m.in_channels > 1)
    assert weight.weight.is_contiguous(memory_format=torch.channels_last)

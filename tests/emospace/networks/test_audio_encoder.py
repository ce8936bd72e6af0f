"""The audio encoder: the paper's sizes, lengths and padding, and where CLS looks."""

import torch

from affekt.media.audio.mel import BINS
from emospace.networks.audio_encoder import AudioEncoder, AudioEncoderConfig, batched

SMALL = AudioEncoderConfig(width=32, heads=4, feedforward=64, layers=2)


def made(config=SMALL, code_dim=8):
    return AudioEncoder(config, code_dim).eval()


def test_the_papers_encoder_has_four_layers_of_eight_heads_at_256():
    encoder = AudioEncoder(AudioEncoderConfig(), 512)
    layers = encoder.transformer.layers
    assert [each.attention.num_heads for each in layers] == [8] * 4
    assert {each.attention.embed_dim for each in layers} == {256}
    assert encoder.projection.weight.shape == (512, 256)
    per_layer = 4 * 256**2 + 4 * 256 + 2 * 256 * 1024 + 1024 + 256 + 4 * 256
    others = 320 * 256 + 256 + 256 + 2 * 256 + 256 * 512 + 512
    assert sum(p.numel() for p in encoder.parameters()) == 4 * per_layer + others


def test_padding_and_the_other_clips_of_a_batch_change_no_code():
    encoder = made()
    mels = [-6 + 2 * torch.randn(rows, BINS) for rows in (160, 90, 37, 3)]
    together = encoder(*batched(mels))
    for mel, code in zip(mels, together, strict=True):
        alone = encoder(mel[None])[0]
        torch.testing.assert_close(alone, code, atol=1e-5, rtol=1e-4)


def test_time_matters_and_so_does_every_row():
    encoder, mel = made(), -6 + 2 * torch.randn(1, 64, BINS)
    assert (encoder(mel.flip(1)) - encoder(mel)).abs().max() > 1e-3
    mel.requires_grad_()
    encoder(mel).sum().backward()
    assert (mel.grad.abs().sum(dim=2) > 0).all()


def test_mels_are_normalised_by_the_statistics_of_training():
    encoder, mel = made(), -6 + 2 * torch.randn(1, 40, BINS)
    before = encoder(mel)
    encoder.set_stats(-5.0, 4.0)
    torch.testing.assert_close(encoder(2 * (mel + 6) - 5), before)
    again = made()
    again.load_state_dict(encoder.state_dict())
    assert (float(again.mean), float(again.deviation)) == (-5.0, 4.0)


def test_attention_is_of_sound_alone_and_sums_to_1():
    encoder = made()
    mel, rows = batched([torch.randn(80, BINS), torch.randn(40, BINS)])
    weights = encoder.attention(mel, rows)
    assert weights.shape == (2, 20)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2))
    assert weights[1, 10:].abs().max() == 0


def test_attention_learns_to_follow_a_planted_segment():
    """Of a short sound, one segment alone tells the class; CLS comes to look at it."""
    torch.manual_seed(0)
    encoder = made(AudioEncoderConfig(width=32, heads=4, feedforward=64, layers=2, dropout=0.0), 2)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=3e-3)
    for _ in range(120):
        mel, label, _ = planted(32)
        loss = torch.nn.functional.cross_entropy(encoder(mel), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    mel, label, place = planted(64)
    assert (encoder(mel).argmax(dim=1) == label).float().mean() > 0.9
    weights = encoder.attention(mel)
    on_segment = weights.gather(1, place[:, None] + torch.arange(2)).sum(dim=1).mean()
    assert on_segment > 3 * 2 / weights.shape[1]  # three times its share of the time


def planted(count):
    """Return mels of 16 tokens, labels, and the first of the two tokens that tell the label."""
    mel = -6 + torch.randn(count, 64, BINS)
    label, place = torch.randint(2, (count,)), torch.randint(15, (count,))
    for each, kind, first in zip(mel, label, place, strict=True):
        bins = slice(20, 40) if kind else slice(50, 70)
        each[4 * first : 4 * first + 8, bins] += 6
    return mel, label, place

"""EAC end to end on a made-up corpus: it learns, obeys code and intensity, resumes, refuses."""

from dataclasses import replace

import pytest

from affekt.media.face3d.coefficients import open_expression
from affekt.media.integrity import EXPRESSION, read_sealed, write_sealed
from affekt.media.validation import ValConfig
from affekt.runtime.config import ConfigError, dump_config, load_config
from affekt.runtime.training.optim import OptimConfig
from emospace.analysis.expression import measure
from emospace.data.expressions import ExpressionDataConfig
from emospace.inference.expression import ExpressionDescription, load_expression_predictor
from emospace.losses import ExpressionLossConfig
from emospace.networks.expression import ExpressionNetConfig
from tests.corpora.emotion_space_corpus import make_emotion_corpus
from tests.corpora.made_up_space import MadeUpSpace
from tests.corpora.portrait_corpus import rows_of
from tests.corpora.short_run import parts_of, resumed, same, short_run
from train_expression import Config, train

SMALL = ExpressionNetConfig(2, 4, 32, 64, mel_rows=16, mel_hidden=32)
DATA = ExpressionDataConfig(window=16, overlap=6)
VAL = ValConfig("test_speaker", every=1_000)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A corpus whose sound tells emotion and level as loudly as it tells the mouth."""
    return make_emotion_corpus(tmp_path_factory.mktemp("corpus"), 16, 2, frames=40, size=16)


@pytest.fixture(scope="module")
def space(corpus):
    return MadeUpSpace(corpus)


@pytest.fixture
def config(corpus, space, tmp_path, monkeypatch):
    monkeypatch.setattr("train_expression.load_emotion_space", lambda _: space)
    return Config(
        short_run(tmp_path / "run"),
        corpus=corpus.root,
        data=DATA,
        model=SMALL,
        optim=OptimConfig(lr=2e-3, betas=(0.9, 0.999), clip_norm=1.0),
        val=ValConfig("none"),
    )


@pytest.fixture(scope="module")
def trained(corpus, space, tmp_path_factory):
    """A run of some seconds and its figures."""
    out = tmp_path_factory.mktemp("trained") / "run"
    run = short_run(out, steps=400, batch_size=8, log_every=50, save_every=400)
    optim = OptimConfig(lr=3e-3, betas=(0.9, 0.999), clip_norm=1.0, schedule="one_cycle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train_expression.load_emotion_space", lambda _: space)
        data = replace(DATA, swapped=0.3)
        train(Config(run, corpus=corpus.root, data=data, model=SMALL, optim=optim, val=VAL))
    predictor = load_expression_predictor(out)
    return out, measure(predictor, space, corpus, ValConfig("test_speaker"))


def test_it_learns_faces_of_unseen_people_from_their_sound(trained):
    out, figures = trained
    last = next(row for row in reversed(rows_of(out)) if "val_landmark_ratio" in row)
    for name in ("landmark_ratio", "shuffled_ratio", "coefficient_mouth_r"):
        assert last[f"val_{name}"] == pytest.approx(figures[name], abs=1e-4)
    assert figures["landmark_ratio"] < 0.4  # the mean expression's error is 1
    assert figures["shuffled_ratio"] < 0.5  # another clip's sound
    assert figures["shuffled_mouth_ratio"] < 0.5
    assert figures["coefficient_mouth_r"] > 0.9
    assert 0.7 < figures["coefficient_mouth_size"] < 1.3


@pytest.mark.parametrize("kind", ["text", "image", "audio"])
def test_a_swapped_emotion_arrives_and_the_mouth_stays(trained, kind):
    """Without swapped items .57 arrive: the sound tells the emotion, and the code is not needed."""
    _, figures = trained
    assert figures[f"swap_{kind}"] > 0.9
    assert figures["swap_mouth_r"] > 0.9


def test_the_scaled_token_scales_the_size_of_the_emotion(trained):
    """The trap: a token that is ignored may have a rank of 1, so the sizes are barred."""
    _, figures = trained
    assert figures["intensity_ratio"] < 0.65
    assert 0.7 < figures["intensity_size"] < 1.3
    assert figures["blend_rank"] > 0.7


def test_the_run_keeps_its_attention_and_what_its_numbers_mean(trained, corpus, space):
    out, _ = trained
    predictor, shared = load_expression_predictor(out), open_expression(corpus)
    assert (out / "pictures").is_dir()
    assert predictor.description.sha256 == shared.sha256
    assert predictor.description.emotions == corpus.emotions
    assert not predictor.model.training
    predictor.check_face_model(shared)
    predictor.check_space(space)
    with pytest.raises(ConfigError, match="its codes mean something else"):
        predictor.check_space(MadeUpSpace(corpus, pictures=(), seed=1))


def test_resuming_gives_the_run_that_was_never_stopped(config):
    stopped = resumed(train, config, 4)
    ours, theirs = parts_of(config.run.out), parts_of(stopped)
    assert same(ours["model"], theirs["model"])
    (codes,) = (config.run.out / "codes").iterdir()
    assert codes.read_bytes() == (stopped / "codes" / codes.name).read_bytes()


def test_the_terms_of_the_loss_are_logged_and_a_weight_of_0_leaves_one_out(config):
    train(config)
    assert {"coefficients", "landmarks", "velocity", "total"} <= rows_of(config.run.out)[0].keys()
    out = config.run.out.with_name("without")
    run, loss = replace(config.run, out=out), ExpressionLossConfig(landmarks=0.0)
    train(replace(config, run=run, loss=loss))
    assert "landmarks" not in rows_of(out)[0]


def test_an_emotion_space_of_other_emotions_is_refused(config, corpus, monkeypatch):
    space = MadeUpSpace(corpus, pictures=(), emotions=("happy", "neutral"))
    monkeypatch.setattr("train_expression.load_emotion_space", lambda _: space)
    with pytest.raises(ConfigError, match="clips of angry, the emotion space knows happy, neutral"):
        train(config)


@pytest.fixture
def small(config, tmp_path, monkeypatch):
    """A corpus of its own that a test may damage, and the configuration for it."""
    corpus = make_emotion_corpus(tmp_path / "c", 2, 1, frames=20, levels=(3,))
    space = MadeUpSpace(corpus)
    monkeypatch.setattr("train_expression.load_emotion_space", lambda _: space)
    return corpus, replace(config, corpus=corpus.root)


def test_a_corpus_without_expression_is_refused_with_the_command(small):
    corpus, config = small
    (corpus.clips("train")[3].folder / "expression.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"expression.npy.* data_prep.expression"):
        train(config)
    (corpus.root / "expression.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"expression.json.* data_prep.expression"):
        train(config)


def test_coefficients_of_another_face_model_are_refused(small):
    corpus, config = small
    path = corpus.clips("train")[3].folder / EXPRESSION
    record = read_sealed(path) | {"sha256": "ab" * 32}
    write_sealed(path, {key: value for key, value in record.items() if key != "seal"})
    with pytest.raises(ValueError, match="is of a face model of SHA-256 abab"):
        train(config)


@pytest.mark.parametrize(
    ("key", "name"), [("sha256", "face model"), ("emotion_space", "emotion space")]
)
def test_a_run_does_not_go_on_with_another_face_model_or_space(config, key, name):
    train(config)
    path = config.run.out / "expression.yaml"
    found = load_config(ExpressionDescription, path)
    dump_config(replace(found, **{key: "12" * 8}), path)
    with pytest.raises(ConfigError, match=f"was begun with the {name} 1212"):
        train(config)


def test_a_speaker_without_another_neutral_clip_cannot_be_validated(small):
    corpus, config = small
    manifest = corpus.root / "manifest.jsonl"
    lines = manifest.read_text().splitlines(True)
    few = "".join(line for line in lines if "M902_neutral" not in line)
    manifest.write_text(few)
    with pytest.raises(ConfigError, match="M902 of split 'test_speaker' has no neutral clip"):
        train(replace(config, val=VAL))

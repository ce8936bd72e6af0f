"""User studies: orders are fair and blind, a browser completes a form, answers are counted."""

import argparse
import json
import random
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import av
import numpy as np
import pytest

from affekt.evaluation.commands import user_study as command
from affekt.evaluation.commands.user_study import Sheet, check_sheet, study_table
from affekt.evaluation.pairing import ClipPair
from affekt.evaluation.user_study import (
    PROTOCOLS,
    choose_clips,
    choose_examples,
    make_study,
    read_key,
)
from affekt.media.emotions import EMOTIONS
from affekt.media.video.video import VideoWriter, probe, read_frames
from affekt.metrics.intervals import mean_interval, wilson_interval
from affekt.runtime.config import from_mapping
from tests.affekt.showcase.test_page import CHROMIUM, QUIET

PLAYING = [*QUIET, "--mute-audio", "--autoplay-policy=no-user-gesture-required"]
METHODS = ["real", "secretmethod", "hiddenmethod"]
BROWSER = pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine")


def cases(speakers=3, each=4):
    return [
        ClipPair(f"S{s}_{emotion}_{k}", None, None, f"S{s}", emotion)
        for s in range(speakers)
        for emotion in EMOTIONS
        for k in range(each)
    ]


def make(participants=6, each=None, seed=0, truths=None):
    truths = truths or cases()
    chosen = choose_clips(truths, {}, 3, seed)
    examples = choose_examples(truths, chosen, seed)
    return make_study("evp-fig6", METHODS, chosen, examples, participants, each, seed)


def hand(study, numbers):
    return [(study.items[k - 1].method, study.items[k - 1].clip) for k in numbers]


def sheet(study, participant, rate=lambda item: 4, choose=lambda item: item.emotion):
    """Answers as the form saves them."""
    order = study.participants[participant - 1]
    count = len(PROTOCOLS[study.protocol].questions)
    answers = [{"video": k, "ratings": [rate(study.items[k - 1])] * count} for k in order.rate]
    answers += [{"video": k, "emotion": choose(study.items[k - 1])} for k in order.choose]
    return {"study": study.id, "participant": participant, "answers": answers}


def checked(raw, study):
    found = from_mapping(Sheet, raw, "the sheet")
    check_sheet(found, study)
    return found


def cells_of(sheets, study):
    return {row.name: row.cells for row in study_table(sheets, study).rows}


# --- who sees what


def test_evps_study_has_72_videos_of_each_method_in_both_tasks():
    study = make(participants=50)
    assert len(study.items) == 2 * 72 * 3
    for task in ("rate", "choose"):
        shown = [study.items[k - 1] for k in getattr(study.participants[0], task)]
        assert Counter(item.method for item in shown) == dict.fromkeys(METHODS, 72)
        cells = Counter((item.method, item.clip[:2], item.emotion) for item in shown)
        assert Counter(cells.values()) == {3: 3 * 3 * 8}
        assert {item.task for item in shown} == {task}
    orders = {order.rate for order in study.participants}
    assert len(orders) == 50  # everyone's own order
    assert {frozenset(order.rate) for order in study.participants} == {frozenset(orders.pop())}


def test_a_subset_is_fair_to_methods_videos_and_people():
    study = make(participants=30, each=24)
    seen = Counter()
    for order in study.participants:
        shown = hand(study, order.rate)
        assert len(set(shown)) == 24
        methods = Counter(method for method, _ in shown)
        assert max(methods.values()) - min(methods.values()) <= 2
        # no sentence twice, but for a hand that runs over the end of a round
        assert len({clip for _, clip in shown}) >= 20
        assert set(shown) == set(hand(study, order.choose))
        seen.update(shown)
    assert len(seen) == 216
    assert set(seen.values()) <= {3, 4}  # 30 * 24 / 216


def test_neither_numbers_nor_order_show_the_method():
    study = make()
    order = study.participants[0]
    rated, chosen = hand(study, order.rate), hand(study, order.choose)
    assert sorted(rated) == sorted(chosen)
    assert rated != chosen
    assert not set(order.rate) & set(order.choose)  # a file name does not link the tasks
    for methods in ([item.method for item in study.items], [method for method, _ in rated]):
        same = sum(a == b for a, b in pairwise(methods))
        assert 0.2 < same / len(methods) < 0.47  # a third, as chance has it; 0 if dealt in turn
    means = [np.mean([k for k, i in enumerate(study.items) if i.method == m]) for m in METHODS]
    assert np.ptp(means) < 0.15 * len(study.items)


def test_the_seed_decides_everything_and_where_the_truth_lies_nothing():
    assert make(seed=1).id != make().id
    assert make(seed=1).items != make().items
    shuffled = [replace(case, truth=f"/elsewhere/{case.id}") for case in cases()]
    random.Random(3).shuffle(shuffled)
    assert make(truths=shuffled) == make()


def test_missing_clips_are_named():
    truths = cases(speakers=2, each=2)
    ids = {case.id for case in truths}
    have = {"a": ids - {"S0_fear_1"}, "b": ids}
    for emotion_of_one, lists, clips, message in (
        ("", have, 2, r"too few clips \(S0, fear: 1 of 2, a lacks S0_fear_1\)"),
        ("", have, None, "S0, fear: 1 of 2"),
        ("S0_sad", {}, 2, r"too few clips \(S0, sad: 0 of 2\)"),
        ("", {"a": set()}, 2, "too few clips"),
    ):
        kept = [case for case in truths if case.id[:-2] != emotion_of_one]
        with pytest.raises(ValueError, match=message):
            choose_clips(kept, lists, clips, 0)
    without_sad = [case for case in truths if case.emotion != "sad"]
    assert len(choose_clips(without_sad, {}, 2, 0)) == 2 * 7 * 2  # a corpus of seven emotions
    with pytest.raises(ValueError, match="1 clips have no speaker or no emotion, x first"):
        choose_clips([ClipPair("x", None)], {}, 2, 0)


def test_examples_are_not_asked_about_where_there_are_others():
    truths = cases()
    for clips, shared in ((3, 0), (4, 8)):
        chosen = choose_clips(truths, {}, clips, 0)
        examples = choose_examples(truths, chosen, 0)
        assert list(examples) == list(EMOTIONS)
        assert all(emotion in clip for emotion, clip in examples.items())
        assert len(set(examples.values()) & {case.id for case in chosen}) == shared


@pytest.mark.parametrize(("participants", "each"), [(0, None), (3, 0), (3, 217)])
def test_impossible_studies_are_refused(participants, each):
    with pytest.raises(ValueError, match=f"{participants} participants with"):
        make(participants, each)


# --- answers


def test_figures_by_hand():
    study = make(participants=2, each=9)
    given = {"real": 5, "secretmethod": 3, "hiddenmethod": 1}
    one = checked(sheet(study, 1, lambda item: given[item.method]), study)
    two = checked(sheet(study, 2, lambda item: 2, lambda item: "happy"), study)
    for method, cells in cells_of([one, two], study).items():
        first, second = (
            [clip for maker, clip in hand(study, order.rate) if maker == method]
            for order in study.participants
        )
        people = ["1"] * len(first) + ["2"] * len(second)
        ratings = [given[method]] * len(first) + [2] * len(second)
        assert cells["sync"].value == pytest.approx(np.mean(ratings))
        assert cells["sync"].count == len(people)
        assert cells["sync"].by_clip == mean_interval(ratings, people)
        right = len(first) + sum("happy" in clip for clip in second)
        accuracy = cells["emotion_accuracy"]
        assert accuracy.value == pytest.approx(100 * right / len(people))
        assert accuracy.by_clip == wilson_interval(right, len(people)).scaled(100)
        assert accuracy.by_speaker.low <= accuracy.value <= accuracy.by_speaker.high
    alone = cells_of([one], study)["real"]["quality"]
    assert (alone.value, alone.by_clip.low, alone.by_clip.high) == (5, None, None)


STUDY = make(participants=2, each=9)
GOOD = sheet(STUDY, 1)
FIRST, *BETWEEN, LAST = GOOD["answers"]
STRANGER = sheet(STUDY, 2)["answers"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"study": "f" * 16}, "of study 'ffff"),
        ({"participant": 3}, "participant 3; there are 1 to 2"),
        ([FIRST | {"extra": 1}], r"unknown key 'answers\[0\]\.extra'"),
        ([FIRST | {"video": 999}], r"18 of 18 answers are missing; .* not see: \[999\]"),
        ([STRANGER, *BETWEEN, LAST], rf"1 of 18 .* not see: \[{STRANGER['video']}\]"),
        ([FIRST | {"ratings": [3]}, *BETWEEN, LAST], "1 ratings, emotion ''; wanted 2 ratings, no"),
        ([FIRST | {"ratings": [3, 6]}], r"ratings\[1\] is 6, not one of 1, 2, 3, 4, 5"),
        ([FIRST | {"ratings": [0, 5]}], r"answers\[0\].ratings\[0\] is 0, not one of"),
        (
            [FIRST | {"emotion": "sad"}, *BETWEEN, LAST],
            "'sad'; wanted 2 ratings, no emotion",
        ),
        (
            [FIRST, *BETWEEN, LAST | {"emotion": "bored"}],
            "'bored'; wanted 0 ratings, one of",
        ),
        ([FIRST, *BETWEEN, LAST, FIRST], rf"twice, .*: \[{FIRST['video']}\]"),
        (GOOD["answers"][:5], "13 of 18 answers are missing"),
    ],
)
def test_sheets_that_do_not_fit_are_refused_with_the_reason(change, message):
    raw = GOOD | (change if isinstance(change, dict) else {"answers": change})
    with pytest.raises(ValueError, match=message):
        checked(raw, STUDY)


# --- the folder that people get, and what comes back


def write_clip(path, shade, sound=None, size=(64, 48), comment=""):
    with VideoWriter(path, size, sound) as writer:
        for k in range(8):
            writer.write(np.full((size[1], size[0], 3), (shade, 20 * k, 90), np.uint8))
    plain = path.rename(path.with_suffix(".plain"))
    with av.open(str(plain)) as old, av.open(str(path), "w") as new:
        new.metadata["comment"] = comment
        copies = {s.index: new.add_stream_from_template(s) for s in old.streams}
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                new.mux(packet)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Truth and two methods, eight clips of one speaker; the truth alone has sound."""
    root = tmp_path_factory.mktemp("corpus")
    sound = 0.1 * np.random.default_rng(0).standard_normal(640 * 8).astype(np.float32)
    rows = [f"anna_{emotion},anna,{emotion}" for emotion in EMOTIONS]
    (root / "clips.csv").write_text("\n".join(["clip_id,speaker,label", *rows]))
    for number, emotion in enumerate(EMOTIONS):
        for shade, kind in enumerate(("truth", "secretmethod", "hiddenmethod"), 10 + 25 * number):
            (root / kind).mkdir(exist_ok=True)
            path, own_sound = (
                root / kind / f"anna_{emotion}.mp4",
                sound if kind == "truth" else None,
            )
            write_clip(path, shade, own_sound, comment=f"wizardry of {kind}")
    return root


def run(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args([str(word) for word in words]))


def export(corpus, out, *words):
    methods = [f"--results={method}={corpus / method}" for method in METHODS[1:]]
    where = ["--truth", corpus / "truth", "--manifest", corpus / "clips.csv", "--out", out]
    return run("export", *methods, *where, "--participants", 2, "--clips", 1, *words)


@pytest.fixture(scope="module")
def study(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "first"
    assert export(corpus, out, "--each", 3) == 0
    return out


def data_of(folder):
    page = (folder / "public" / "index.html").read_text()
    assert not re.search(r"https?://", page)
    return json.loads(re.search(r'application/json">(.*?)</script>', page, re.DOTALL)[1])


def test_nothing_public_names_a_method_or_a_clip(study):
    files = [path for path in (study / "public").rglob("*") if path.is_file()]
    assert len(files) == 1 + 2 * 24 + 8
    for path in files:
        data = path.read_bytes().lower()
        for word in (b"secretmethod", b"hiddenmethod", b"anna", b"wizardry"):
            assert word not in data, path
        assert not re.search("method|anna|real", path.name)
    numbers = {int(path.stem) for path in files if path.parent.name == "videos"}
    key = read_key(study)
    assert numbers == set(range(1, len(key.items) + 1))
    assert key.methods == tuple(METHODS)
    assert data_of(study)["references"] == {}


def test_videos_are_of_one_make_and_silent_in_the_second_task(study, corpus):
    kinds = {"rate": set(), "choose": set()}
    for number, item in enumerate(read_key(study).items, 1):
        path = study / "public" / "videos" / f"{number}.mp4"
        info = probe(path)
        assert info.has_audio == (item.task == "rate")
        with av.open(str(path)) as video:
            codecs = tuple(stream.codec_context.name for stream in video.streams)
            kinds[item.task].add((codecs, *sorted(video.metadata.items()), info.fps, info.width))
        result = "truth" if item.method == "real" else item.method
        wanted = read_frames(corpus / result / f"{item.clip}.mp4")
        shown = read_frames(path)
        assert shown.shape == wanted.shape
        assert np.abs(shown.astype(int) - wanted).mean() < 1.5
    assert {task: len(makes) for task, makes in kinds.items()} == {"rate": 1, "choose": 1}


def test_the_same_seed_writes_the_same_study(corpus, study, tmp_path):
    export(corpus, tmp_path / "again", "--each", 3)
    for path in sorted(study.rglob("*")):
        if path.is_file():
            other = tmp_path / "again" / path.relative_to(study)
            assert other.read_bytes() == path.read_bytes(), path


def test_export_names_what_is_wrong(corpus, tmp_path, study):
    shutil.copytree(corpus / "secretmethod", tmp_path / "large")
    write_clip(tmp_path / "large" / "anna_fear.mp4", 1, size=(80, 48))
    for words, message in (
        (["--clips", 2], "too few clips .anna, angry: 1 of 2; "),
        (["--results", "x"], "wanted NAME=DIR"),
        (["--results", "real=x"], "the name 'real' is taken"),
        (["--results", f"large={tmp_path / 'large'}"], "large, anna_fear: the video is 80 x 48, "),
        (["--truth", corpus / "secretmethod"], "neither the video nor its truth has sound"),
    ):
        with pytest.raises(ValueError, match=message):
            export(corpus, tmp_path / "s", *words)
        assert not (tmp_path / "s").exists()  # whole or not at all
    with pytest.raises(FileExistsError, match="people may be answering its forms"):
        export(corpus, study)


def test_xus_study_shows_source_and_wanted_emotion(corpus, tmp_path):
    export(corpus, tmp_path / "s", "--protocol", "xu-table2", "--each", 2)
    study, data = read_key(tmp_path / "s"), data_of(tmp_path / "s")
    assert {item.task for item in study.items} == {"rate"}
    questions = PROTOCOLS["xu-table2"].questions
    assert [text.partition(" (")[0] for text in data["questions"]] == list(questions.values())
    for number, reference in data["references"].items():
        assert reference["wanted"] == study.items[int(number) - 1].emotion
        assert (tmp_path / "s" / "public" / reference["source"]).is_file()
    table = study_table([checked(sheet(study, 1), study)], study)
    assert [column.key for column in table.columns] == list(questions)


def test_import_counts_good_files_and_lists_bad_ones(study, tmp_path, capsys):
    key, answers = read_key(study), tmp_path / "answers"
    words = ["import", "--study", study, "--answers", answers, "--out", tmp_path / "out"]
    with pytest.raises(ValueError, match="none of the 0 files"):
        run(*words)
    (answers / "folder.json").mkdir(parents=True)
    bad = {
        "again": json.dumps(sheet(key, 1, lambda item: 1)),
        "bytes": "\xff\xfe\x00",
        "cut": json.dumps(sheet(key, 2))[:-9],
        "deep": "[" * 100_000,
        "list": "[]",
    }
    good = {"a": json.dumps(sheet(key, 1)), "b": json.dumps(sheet(key, 2))}
    for name, text in (bad | good).items():
        (answers / f"{name}.json").write_text(text, encoding="latin-1")
    assert run(*words) == 0
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["participants"] == 2
    assert {*record["refused"]} == {f"{name}.json" for name in (*bad, "folder")}
    error = capsys.readouterr().err
    assert "not counted: again.json: participant 1 has answered in another file" in error
    assert "not counted: list.json: the sheet holds list, not a mapping" in error
    text = (tmp_path / "out" / "results.md").read_text()
    assert re.search(r"\| secretmethod +\| +4\.00 ± 0\.00 \|.* 100\.0 \[", text)
    assert "the accuracy of the real videos may be too high" in text  # examples were asked about
    assert "begin{tabular}" in (tmp_path / "out" / "results.tex").read_text()


def test_a_damaged_key_is_refused(study, tmp_path):
    shutil.copytree(study / "private", tmp_path / "private")
    path = tmp_path / "private" / "key.json"
    path.write_text(path.read_text().replace("evp-fig6", "x"))
    with pytest.raises(ValueError, match=r"key\.json: protocol is 'x', not one of"):
        read_key(tmp_path)


# --- the form in a browser

# Plays each video and answers as wished; reloads the page after two answers, and once at the end.
ROBOT = """<script type="module">
const wishes = @WISHES@, page = document.body.dataset;
const lives = JSON.parse(sessionStorage.lives || "[]");
let given = 0;
if (page.screen === "start") document.querySelector("button").click();
while (page.screen === "question" && (given < 2 || lives.length)) {
  const player = document.getElementById("player"), button = document.querySelector("button");
  for (const group of document.querySelectorAll("fieldset")) {
    group.querySelector(`input[value="${wishes[page.video]}"]`).click();
  }
  const ended = new Promise(resolve => player.addEventListener("ended", resolve));
  const early = !button.disabled;
  await player.play();
  await ended;
  button.click();
  given += early ? NaN : 1;
}
if (lives.length < 2) {
  sessionStorage.lives = JSON.stringify([...lives, given]);
  location.reload();
} else {
  const file = await fetch(document.querySelector("a[download]").href);
  console.log("ROBOT" + JSON.stringify({ lives, given, sheet: await file.json() }));
}
</script></body>"""


@BROWSER
def test_a_browser_completes_a_study_with_pauses_and_its_answers_count(study, tmp_path):
    shutil.copytree(study, tmp_path / "s")
    key = read_key(study)
    ratings = {"real": "5", "secretmethod": "3", "hiddenmethod": "2"}
    wishes = {
        number: ratings[item.method] if item.task == "rate" else item.emotion
        for number, item in enumerate(key.items, 1)
    }
    page = tmp_path / "s" / "public" / "index.html"
    robot = ROBOT.replace("@WISHES@", json.dumps(wishes))
    page.write_text(page.read_text().replace("</body>", robot))
    words = ["--enable-logging=stderr", f"--user-data-dir={tmp_path}", f"{page.as_uri()}?p=1"]
    browser = ["timeout", "60", CHROMIUM, *PLAYING, *words]
    with subprocess.Popen(browser, stderr=subprocess.PIPE, text=True) as running:
        lines = (re.search(r'"ROBOT(.*)", source: ', line) for line in running.stderr)
        line = next(filter(None, lines), None)
        running.terminate()
    assert line, "the browser did not come to the end of the study"
    sent = json.loads(line[1])
    assert sent["lives"] == [2, 4]  # answers between pauses, the second at the very end
    assert sent["given"] == 0
    answers = checked(sent["sheet"], key)
    order = key.participants[0]
    assert [each.video for each in answers.answers] == [*order.rate, *order.choose]
    for method, cells in cells_of([answers], key).items():
        assert cells["sync"].value == int(ratings[method])
        assert cells["emotion_accuracy"].value == 100


@BROWSER
def test_a_wrong_number_gets_no_form(study, tmp_path):
    url = f"{(study / 'public' / 'index.html').as_uri()}?p=7"
    words = [CHROMIUM, *PLAYING, f"--user-data-dir={tmp_path}", "--dump-dom", url]
    source = subprocess.run(words, capture_output=True, text=True, timeout=120).stdout
    body = source.partition("<script")[0]
    assert "1 to 2." in body
    assert "<button" not in body

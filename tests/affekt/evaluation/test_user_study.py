"""User studies: who sees what is fair and blind, a browser completes one, and answers count."""

import argparse
import json
import random
import re
import shutil
import subprocess
import threading
from collections import Counter
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import av
import numpy as np
import pytest

from affekt.evaluation.commands import user_study as command
from affekt.evaluation.pairing import ClipPair
from affekt.evaluation.user_study.answers import (
    Sheet,
    check_sheet,
    confusions,
    read_sheets,
    study_table,
)
from affekt.evaluation.user_study.design import (
    PROTOCOLS,
    REAL,
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
    chosen, _ = choose_clips(truths, {}, 3, seed)
    examples = choose_examples(truths, chosen, seed)
    return make_study("evp-fig6", METHODS, chosen, examples, participants, each, seed)


def items(study, numbers):
    return [study.items[number - 1] for number in numbers]


def hand(study, numbers):
    return [(item.method, item.clip) for item in items(study, numbers)]


def sheet(study, participant, rating=4, choose=lambda item: item.emotion):
    """Answers as the form saves them."""
    order = study.participants[participant - 1]
    questions = len(PROTOCOLS[study.protocol].questions)
    rate = rating if callable(rating) else lambda item: rating
    answers = [
        {"video": number, "ratings": [rate(item)] * questions}
        for number, item in zip(order.rate, items(study, order.rate), strict=True)
    ]
    answers += [
        {"video": number, "emotion": choose(item)}
        for number, item in zip(order.choose, items(study, order.choose), strict=True)
    ]
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
        shown = items(study, getattr(study.participants[0], task))
        assert Counter(item.method for item in shown) == dict.fromkeys(METHODS, 72)
        cells = Counter((item.method, item.clip[:2], item.emotion) for item in shown)
        assert set(cells.values()) == {3}
        assert len(cells) == 3 * 3 * 8
        assert {item.task for item in shown} == {task}
    orders = {order.rate for order in study.participants}
    assert len(orders) == 50  # everyone's own order
    assert {frozenset(order.rate) for order in study.participants} == {frozenset(orders.pop())}


def test_a_subset_is_fair_to_methods_videos_and_people():
    study = make(participants=30, each=24)
    seen = Counter()
    for order in study.participants:
        shown = items(study, order.rate)
        assert len(set(order.rate)) == 24
        methods = Counter(item.method for item in shown)
        assert max(methods.values()) - min(methods.values()) <= 2
        # no sentence twice, but for a hand that runs over the end of a round
        assert len({item.clip for item in shown}) >= 20
        assert set(hand(study, order.rate)) == set(hand(study, order.choose))
        seen.update((item.method, item.clip) for item in shown)
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
    assert make() == make()
    assert make(seed=1).id != make().id
    assert make(seed=1).items != make().items
    shuffled = [replace(case, truth=f"/elsewhere/{case.id}") for case in cases()]
    random.Random(3).shuffle(shuffled)
    assert make(truths=shuffled) == make()


def test_missing_clips_are_named():
    truths = cases(speakers=1, each=2)
    have = {"a": {case.id for case in truths} - {"S0_fear_1"}, "b": {case.id for case in truths}}
    chosen, gaps = choose_clips(truths, have, 2, 0)
    assert gaps == ["S0, fear: 1 of 2 clips; a lacks S0_fear_1"]
    assert "S0_fear_1" not in {case.id for case in chosen}
    without_sad = [case for case in truths if case.emotion != "sad"]
    assert choose_clips(without_sad, {}, 2, 0)[1] == ["S0, sad: 0 of 2 clips"]
    assert choose_clips(without_sad, {}, None, 0)[1] == []  # all there are
    with pytest.raises(ValueError, match="no clip is there of every method"):
        choose_clips(truths, {"a": set()}, 2, 0)
    with pytest.raises(ValueError, match="1 clips have no speaker or no emotion, x first"):
        choose_clips([ClipPair("x", None)], {}, 2, 0)


def test_examples_are_not_asked_about_where_there_are_others():
    truths = cases(each=4)
    chosen, _ = choose_clips(truths, {}, 3, 0)
    examples = choose_examples(truths, chosen, 0)
    assert list(examples) == list(EMOTIONS)
    assert all(emotion in clip for emotion, clip in examples.items())
    assert not set(examples.values()) & {case.id for case in chosen}
    assert set(choose_examples(truths, truths, 0)) == set(EMOTIONS)


@pytest.mark.parametrize(("participants", "each"), [(0, None), (3, 0), (3, 217)])
def test_impossible_studies_are_refused(participants, each):
    with pytest.raises(ValueError, match=f"{participants} participants with"):
        make(participants, each)


# --- answers


def test_figures_by_hand():
    study = make(participants=3, each=9)
    sheets = [
        checked(sheet(study, 1, rating=5), study),
        checked(sheet(study, 2, rating=2, choose=lambda item: "happy"), study),
    ]
    counts = confusions(sheets, study)
    for method, cells in cells_of(sheets, study).items():
        asked = [
            [item for item in items(study, order.rate) if item.method == method]
            for order in study.participants[:2]
        ]
        one, two = map(len, asked)
        assert cells["sync"].value == pytest.approx((5 * one + 2 * two) / (one + two))
        assert cells["sync"].count == one + two
        people = ["1"] * one + ["2"] * two
        assert cells["sync"].by_clip == mean_interval([5] * one + [2] * two, people)
        right = one + sum(item.emotion == "happy" for item in asked[1])
        accuracy = cells["emotion_accuracy"]
        assert accuracy.value == pytest.approx(100 * right / (one + two))
        assert accuracy.by_clip == wilson_interval(right, one + two).scaled(100)
        chosen = Counter([(i.emotion, i.emotion) for i in asked[0]])
        chosen.update((item.emotion, "happy") for item in asked[1])
        assert counts[method] == [[chosen[a, b] for b in EMOTIONS] for a in EMOTIONS]


def test_ratings_go_to_the_method_that_made_the_video():
    study = make(participants=2)
    given = {"real": 5, "secretmethod": 3, "hiddenmethod": 1}
    sheets = [
        checked(sheet(study, person, lambda item: given[item.method], lambda _: "sad"), study)
        for person in (1, 2)
    ]
    for method, cells in cells_of(sheets, study).items():
        quality = cells["quality"]
        assert {quality.value, quality.by_clip.low, quality.by_clip.high} == {given[method]}
        assert cells["emotion_accuracy"].value == 100 / 8
    alone = cells_of(sheets[:1], study)["real"]["quality"]
    assert (alone.value, alone.by_clip.low, alone.by_clip.high) == (5, None, None)


def test_sheets_that_do_not_fit_are_refused_with_the_reason():
    study = make(participants=2, each=9)
    good = sheet(study, 1)
    first, *between, last = good["answers"]
    stranger = sheet(study, 2)["answers"][0]
    for change, message in (
        ({"name": "Eve"}, "unknown key 'name'"),
        ({"study": "f" * 16}, "of study 'ffff"),
        ({"participant": 3}, "participant 3; there are 1 to 2"),
        ({"participant": True}, "participant is True, which is not int"),
        ([first | {"extra": 1}], r"unknown key 'answers\[0\]\.extra'"),
        ([first | {"video": 999}], "video 999 is none that this participant sees"),
        ([stranger, *between], "is none that this participant sees"),
        ([first | {"ratings": [3]}], r"ratings are \[3\], wanted 2 from 1 to 5"),
        ([first | {"ratings": [3, 6]}], r"\[3, 6\], wanted 2 from 1 to 5"),
        ([first | {"ratings": [0, 5]}], r"\[0, 5\], wanted"),
        ([first | {"ratings": [2.5, 5]}], r"ratings\[0\] is 2.5, which is not int"),
        ([first | {"emotion": "sad"}], "ratings are"),
        ([last | {"emotion": "bored"}], "'bored' is none of the emotions"),
        ([first, *between, last, first], f"video {first['video']} is answered twice"),
        (good["answers"][:5], "13 of 18 answers are missing"),
    ):
        raw = good | (change if isinstance(change, dict) else {"answers": change})
        with pytest.raises(ValueError, match=message):
            checked(raw, study)
    assert checked(good, study).participant == 1


def test_a_bad_file_is_listed_and_stops_nothing(tmp_path):
    study = make(participants=3, each=9)
    files = {
        "a": json.dumps(sheet(study, 1)),
        "again": json.dumps(sheet(study, 1, rating=1)),
        "b": json.dumps(sheet(study, 3)),
        "cut": json.dumps(sheet(study, 2))[:-9],
        "deep": "[" * 100_000,
        "empty": "",
        "list": "[]",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.json").write_text(text)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "notes.txt").write_text("not looked at")
    sheets, refused = read_sheets(tmp_path, study)
    assert [each.participant for each in sheets] == [1, 3]
    assert {each.ratings for each in sheets[0].answers if each.ratings} == {(4, 4)}
    assert {*refused} == {path.name for path in tmp_path.glob("*.json")} - {"a.json", "b.json"}
    assert refused["again.json"] == "participant 1 has answered in another file"
    assert "is not JSON" in refused["cut.json"]
    assert "holds list, not a mapping" in refused["list.json"]
    assert all(refused.values())
    with pytest.raises(FileNotFoundError, match="holds no answers"):
        read_sheets(tmp_path / "folder.json", study)


# --- the folder that people get, and what comes back


def write_clip(path, shade, sound=True, size=(64, 48), frames=8):
    samples = 0.1 * np.random.default_rng(shade).standard_normal(640 * frames).astype(np.float32)
    with VideoWriter(path, size, samples if sound else None) as writer:
        for k in range(frames):
            writer.write(np.full((size[1], size[0], 3), (shade, 20 * k, 90), np.uint8))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Truth and two methods, eight clips of one speaker; the truth alone has sound."""
    root = tmp_path_factory.mktemp("corpus")
    rows = ["clip_id,speaker,label"]
    for number, emotion in enumerate(EMOTIONS):
        clip = f"anna_{emotion}"
        rows.append(f"{clip},anna,{emotion}")
        write_clip(root / "truth" / f"{clip}.mp4", 10 + 25 * number)
        for method, shade in (("secretmethod", 11), ("hiddenmethod", 12)):
            write_clip(root / method / f"{clip}.mp4", shade + 25 * number, sound=False)
            with av.open(str(root / method / f"{clip}.mp4")) as old:
                packets = [p for p in old.demux(video=0) if p.dts is not None]
                tagged = root / method / f"{clip}.tmp.mp4"
                with av.open(str(tagged), "w", format="mp4") as new:
                    new.metadata["comment"] = f"wizardry of {method}"
                    stream = new.add_stream_from_template(old.streams.video[0])
                    for packet in packets:
                        packet.stream = stream
                        new.mux(packet)
            tagged.replace(root / method / f"{clip}.mp4")
    (root / "clips.csv").write_text("\n".join(rows))
    return root


def run(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args([str(word) for word in words]))


def export(corpus, out, *words):
    methods = [
        word
        for method in ("secretmethod", "hiddenmethod")
        for word in ("--results", f"{method}={corpus / method}")
    ]
    where = ["--truth", corpus / "truth", "--manifest", corpus / "clips.csv", "--out", out]
    return run("export", *methods, *where, "--participants", 2, "--clips", 1, *words)


@pytest.fixture(scope="module")
def study(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "first"
    assert export(corpus, out, "--each", 3) == 0
    return out


def data_of(page):
    return json.loads(re.search(r'application/json">(.*?)</script>', page, re.DOTALL)[1])


def test_nothing_public_names_a_method_or_a_clip(study):
    key = read_key(study)
    files = [path for path in (study / "public").rglob("*") if path.is_file()]
    assert len(files) == 1 + 2 * 24 + 8
    assert not (study / "public" / "private").exists()
    for path in files:
        data = path.read_bytes().lower()
        for word in (b"secretmethod", b"hiddenmethod", b"anna", b"wizardry"):
            assert word not in data, path
        assert not re.search("method|anna|real", path.name)
    numbers = {int(path.stem) for path in files if path.parent.name == "videos"}
    assert numbers == set(range(1, len(key.items) + 1))
    page = (study / "public" / "index.html").read_text()
    assert data_of(page)["references"] == {}
    assert not re.search(r"https?://", page)
    assert key.methods == (REAL, "secretmethod", "hiddenmethod")


def test_videos_are_of_one_make_and_silent_in_the_second_task(study, corpus):
    kinds, of_result = {}, {}
    for number, item in enumerate(read_key(study).items, 1):
        path = study / "public" / "videos" / f"{number}.mp4"
        info = probe(path)
        assert info.has_audio == (item.task == "rate")
        with av.open(str(path)) as video:
            codecs = tuple(stream.codec_context.name for stream in video.streams)
            made = (codecs, tuple(sorted(video.metadata.items())), info.fps, info.width)
        kinds.setdefault(item.task, set()).add(made)
        if item.method == "secretmethod":
            of_result.setdefault(item.clip, []).append(read_frames(path))
    assert {task: len(makes) for task, makes in kinds.items()} == {"rate": 1, "choose": 1}
    clip, (shown, silent) = next(iter(of_result.items()))
    np.testing.assert_array_equal(shown, silent)
    result = read_frames(corpus / "secretmethod" / f"{clip}.mp4")
    truth = read_frames(corpus / "truth" / f"{clip}.mp4")
    assert shown.shape == result.shape
    assert np.abs(shown.astype(int) - result).mean() < 1.5
    assert np.abs(result.astype(int) - truth).mean() > 0


def test_the_same_seed_writes_the_same_study(corpus, study, tmp_path):
    export(corpus, tmp_path / "again", "--each", 3)
    for path in sorted(study.rglob("*")):
        if path.is_file():
            other = tmp_path / "again" / path.relative_to(study)
            assert other.read_bytes() == path.read_bytes(), path


def test_export_names_what_is_wrong(corpus, tmp_path, study, capsys):
    with pytest.raises(FileExistsError, match="people may be answering its forms"):
        export(corpus, study)
    with pytest.raises(ValueError, match="8 speakers and emotions have too few clips"):
        export(corpus, tmp_path / "s", "--clips", 2)
    assert "not balanced: anna, fear: 1 of 2 clips" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
    for word, message in (("x", "wanted NAME=DIR"), ("real=x", "the name 'real' is taken")):
        with pytest.raises(ValueError, match=message):
            export(corpus, tmp_path / "s", "--results", word)
    shutil.copytree(corpus / "secretmethod", tmp_path / "large")
    write_clip(tmp_path / "large" / "anna_fear.mp4", 1, size=(80, 48))
    with pytest.raises(ValueError, match="large, anna_fear: the video is 80 x 48, the truth 64"):
        export(corpus, tmp_path / "s", "--results", f"large={tmp_path / 'large'}")
    assert not (tmp_path / "s").exists()  # whole or not at all


def test_a_study_without_sound_is_refused(corpus, tmp_path):
    shutil.copytree(corpus / "secretmethod", tmp_path / "truth")
    words = ["--truth", tmp_path / "truth", "--manifest", corpus / "clips.csv"]
    with pytest.raises(ValueError, match="neither the video nor its truth has sound"):
        export(corpus, tmp_path / "s", *words)


def test_xus_study_shows_source_and_wanted_emotion(corpus, tmp_path):
    export(corpus, tmp_path / "s", "--protocol", "xu-table2", "--each", 2)
    study = read_key(tmp_path / "s")
    assert {item.task for item in study.items} == {"rate"}
    data = data_of((tmp_path / "s" / "public" / "index.html").read_text())
    assert data["questions"] == list(PROTOCOLS["xu-table2"].questions.values())
    for number, reference in data["references"].items():
        assert reference["wanted"] == study.items[int(number) - 1].emotion
        assert (tmp_path / "s" / "public" / reference["source"]).is_file()
    sheets = [checked(sheet(study, 1, 2), study)]
    keys = [column.key for column in study_table(sheets, study).columns]
    assert keys == ["lip_sync", "expression", "quality", "identity"]
    assert confusions(sheets, study) == {}


def test_import_counts_and_lists(study, tmp_path, capsys):
    key = read_key(study)
    (tmp_path / "answers").mkdir()
    for person in (1, 2):
        (tmp_path / "answers" / f"{person}.json").write_text(json.dumps(sheet(key, person)))
    (tmp_path / "answers" / "bad.json").write_text("{")
    words = ["import", "--study", study, "--answers", tmp_path / "answers"]
    assert run(*words, "--out", tmp_path / "out") == 0
    assert "not counted: bad.json" in capsys.readouterr().err
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["participants"] == 2
    assert list(record["refused"]) == ["bad.json"]
    text = (tmp_path / "out" / "results.md").read_text()
    assert re.search(r"\| secretmethod +\| +4\.00 ± 0\.00 \|.* 100\.0 \[", text)
    assert "| secretmethod: true, chosen |" in text
    assert "the accuracy of the real videos may be too high" in text  # examples were asked about
    assert "begin{tabular}" in (tmp_path / "out" / "results.tex").read_text()
    for person in (1, 2):
        (tmp_path / "answers" / f"{person}.json").unlink()
    with pytest.raises(ValueError, match="none of the 1 files"):
        run(*words, "--out", tmp_path / "none")


def test_a_damaged_key_is_refused(study, tmp_path):
    shutil.copytree(study, tmp_path / "s")
    path = tmp_path / "s" / "private" / "key.json"
    whole = json.loads(path.read_text())
    for broken, message in (
        ([], "key.json holds list"),
        ({k: v for k, v in whole.items() if k != "items"}, "the key 'items' is missing"),
        (whole | {"more": 1}, "unknown key 'more'"),
        (whole | {"protocol": "x"}, "protocol is 'x', not one of"),
    ):
        path.write_text(json.dumps(broken))
        with pytest.raises(ValueError, match=message):
            read_key(tmp_path / "s")
    with pytest.raises(FileNotFoundError, match="user-study export"):
        read_key(tmp_path)


# --- the form in a browser

ROBOT = """<script>
const wishes = @WISHES@;
const lives = JSON.parse(sessionStorage.getItem("lives") || "[]");
let given = 0;

function reborn() {
  sessionStorage.setItem("lives", JSON.stringify([...lives, given]));
  location.reload();
}

const robot = setInterval(() => {
  const { screen, item } = document.body.dataset;
  const button = document.querySelector("button.next");
  const pause = screen === "end" ? lives.length < 2 : given === 2 && !lives.length;
  if (pause) {
    clearInterval(robot);
    return reborn();
  }
  if (screen === "end") {
    clearInterval(robot);
    const text = document.getElementById("answers").value;
    return fetch("/", { method: "POST", body: JSON.stringify({ lives, given, text }) });
  }
  if (!item) return button.click();
  const video = document.querySelector("video");
  if (!video.dataset.watched) {
    video.addEventListener("ended", () => { video.dataset.ended = "yes"; });
    for (const group of document.querySelectorAll("fieldset")) {
      group.querySelector(`input[value="${wishes[item]}"]`).click();
    }
    video.dataset.watched = button.disabled ? "yes" : "no, and may go on";
    video.play();
  }
  if (!video.dataset.ended || video.dataset.watched !== "yes") return;
  given += 1;
  button.click();
}, 20);
</script></body>"""


class Site(ThreadingHTTPServer):
    """The study's public folder on a plain web server that waits for one message."""

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), partial(Pages, directory=str(folder)))
        self.message, self.came = b"", threading.Event()


class Pages(SimpleHTTPRequestHandler):
    def do_POST(self):
        self.server.message = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.server.came.set()

    def log_message(self, *words):
        pass


def completed(public, participant, wishes, profile):
    """Return what a robot in a browser sends when it has watched and answered as wished."""
    page = (public / "index.html").read_text()
    robot = ROBOT.replace("@WISHES@", json.dumps(wishes))
    (public / "robot.html").write_text(page.replace("</body>", robot))
    with Site(public) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{site.server_port}/robot.html?p={participant}"
        browser = subprocess.Popen(
            [CHROMIUM, *PLAYING, f"--user-data-dir={profile}", url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        came = site.came.wait(60)
        browser.terminate()
        browser.wait(30)
        site.shutdown()
        thread.join()
    assert came, "the browser did not come to the end of the study"
    return json.loads(site.message)


@BROWSER
def test_a_browser_completes_a_study_with_pauses_and_its_answers_count(study, tmp_path):
    shutil.copytree(study, tmp_path / "s")
    key = read_key(tmp_path / "s")
    ratings = {"real": "5", "secretmethod": "3", "hiddenmethod": "2"}
    wishes = {
        number: ratings[item.method] if item.task == "rate" else item.emotion
        for number, item in enumerate(key.items, 1)
    }
    sent = completed(tmp_path / "s" / "public", 1, wishes, tmp_path / "profile")
    assert sent["lives"] == [2, 4]  # answers between pauses, the second at the very end
    assert sent["given"] == 0
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "1.json").write_text(sent["text"])
    sheets, refused = read_sheets(tmp_path / "answers", key)
    assert refused == {}
    order = key.participants[0]
    assert [each.video for each in sheets[0].answers] == [*order.rate, *order.choose]
    for method, cells in cells_of(sheets, key).items():
        assert cells["sync"].value == int(ratings[method])
        assert cells["emotion_accuracy"].value == 100


@BROWSER
def test_a_wrong_number_gets_no_form(study, tmp_path):
    url = f"{(study / 'public' / 'index.html').as_uri()}?p=7"
    words = [CHROMIUM, *PLAYING, f"--user-data-dir={tmp_path}", "--dump-dom", url]
    source = subprocess.run(words, capture_output=True, text=True, timeout=120).stdout
    assert 'data-screen="nobody"' in source
    assert "1 to 2." in source

"""Memory of preparing a clip does not grow with its length.

    python -m tests.data_prep.test_memory /tmp/videos 60 600

prints the peak of two processes that prepare made-up clips of so many seconds.
"""

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np

from affekt.media.video.video import VideoWriter
from tests.corpora.drawn_face import draw_face, tone

PREPARE = """
import json, resource, sys
from pathlib import Path
import numpy as np
from affekt.media.faces.detector import Detection
from affekt.media.faces.track import FramesConfig
from data_prep.clips.clip import ClipConfig, prepare_clip
from data_prep.clips.layouts.config import Source

class Detector:
    version = "made up"
    def detect(self, picture):
        points = 20 + 24 * np.random.default_rng(0).random((68, 3), np.float32)
        return Detection(points[:, :2].copy(), points)

video, out = Path(sys.argv[1]), Path(sys.argv[2])
out.mkdir()
source = Source(video, None, "a", "happy", 1, "1", "1")
record = prepare_clip(source, out, Detector(), ClipConfig(FramesConfig(size=32)))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([record["frames"], peak]))
"""


def made_up_video(path: Path, seconds: int) -> None:
    """Write a video of small frames, with sound of another rate that is not compressed."""
    faces = [draw_face(64, center=(0.5 + 0.01 * k, 0.5)) for k in range(5)]
    with VideoWriter(path.with_suffix(".mp4"), (64, 64)) as writer:
        for k in range(25 * seconds):
            writer.write(faces[k % 5])
    second = np.round(8000 * tone(25)).astype(np.int16)
    with av.open(str(path), "w") as container, av.open(str(path.with_suffix(".mp4"))) as pictures:
        stream = container.add_stream_from_template(pictures.streams.video[0])
        sound = container.add_stream("pcm_s16le", rate=48_000, layout="mono")
        for packet in pictures.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
        for k in range(seconds):
            frame = av.AudioFrame.from_ndarray(np.tile(second, 3)[None], "s16", "mono")
            frame.sample_rate, frame.pts = 48_000, 48_000 * k
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def peak(folder: Path, seconds: int) -> float:
    """Return the peak memory in MB of a process that prepares a clip of so many seconds."""
    video = folder / f"{seconds}.mov"
    if not video.is_file():
        made_up_video(video, seconds)
    command = [sys.executable, "-c", PREPARE, str(video), str(folder / f"out{seconds}")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    frames, megabytes = json.loads(said.splitlines()[-1])
    assert frames == 25 * seconds
    return megabytes


def test_memory_does_not_grow_with_the_length_of_a_clip(tmp_path):
    short, long = peak(tmp_path, 12), peak(tmp_path, 120)
    assert long < 1.1 * short, (short, long)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    sys.stdout.write(f"{[peak(place, int(seconds)) for seconds in sys.argv[2:]]}\n")

"""Check that what was installed can be loaded; name the system package where it cannot.

python -m affekt.runtime.doctor
"""

import importlib
import importlib.util
import sys

NEEDED = (
    *("torch", "torchvision", "numpy", "scipy", "numba", "sklearn", "threadpoolctl"),
    *("torch_fidelity", "onnxruntime"),  # metrics of test.py run
    *("ai_edge_litert", "flatbuffers"),  # mediapipe's face networks
    *("cv2", "mediapipe", "av", "soundfile", "soxr", "PIL", "espeakng_loader"),
    *("safetensors", "h5py", "yaml", "tqdm", "tensorboard", "matplotlib"),
)
OPTIONAL = {  # what each one is for; imported only where it is chosen
    "face_alignment": "the detector face_alignment",
    "librosa": "the log-mel of emospace, and the audio reader librosa",
    "python_speech_features": "the MFCC backend python_speech_features",
    "dtw": "the DTW backend dtw-python",
    "ray": "data_prep.prepare --ray",
    "transformers": "emospace's text tower minilm",
    "tokenizers": "emospace's text tower minilm",
    "timm": "emospace's picture tower effnet_lite0",
    "open_clip": "emospace's clip towers",
}
SYSTEM_PACKAGES = {
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libsndfile.so": "libsndfile1",
    "libEGL.so.1": "libegl1",
    "libGLESv2.so.2": "libgles2",
}


def load_problem(module: str) -> str | None:
    """Return what is wrong with a module and what to do, or None where it loads."""
    try:
        importlib.import_module(module)
    except (ImportError, OSError) as error:
        for library, package in SYSTEM_PACKAGES.items():
            if library in str(error):
                return f"{module} needs {library}: sudo apt-get install {package}"
        return f"{module} does not load: {error}; try: make clean, then make again"
    return None


def main() -> int:
    """Print every problem; return 1 if there is any. What is optional may be absent."""
    problems = [text for text in map(load_problem, NEEDED) if text]
    for module, purpose in OPTIONAL.items():
        if importlib.util.find_spec(module) is None:
            sys.stderr.write(f"{module} is not installed; only {purpose} needs it\n")
    for text in problems:
        sys.stderr.write(text + "\n")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())

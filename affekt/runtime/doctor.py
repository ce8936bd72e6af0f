"""Check that what was installed can be loaded; name the system package where it cannot.

python -m affekt.runtime.doctor
"""

import importlib
import sys

MODULES = ("torch", "torchvision", "cv2", "av", "soundfile", "librosa", "numba", "scipy", "yaml")
SYSTEM_PACKAGES = {
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libsndfile.so": "libsndfile1",
    "libEGL.so.1": "libegl1",
    "libGLESv2.so.2": "libgles2",
}


def complaint(module: str) -> str | None:
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
    """Print every complaint; return 1 if there is any."""
    complaints = [text for text in map(complaint, MODULES) if text]
    for text in complaints:
        sys.stderr.write(text + "\n")
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())

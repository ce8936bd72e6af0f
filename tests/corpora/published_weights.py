"""Weights files that a test makes up, and publishes as if they were the real ones."""

import hashlib
from dataclasses import replace

from affekt.runtime.weights import registry as weights
from affekt.runtime.weights.registry import FILES


def publish(monkeypatch, folder, key, content):
    """Write `content` as the file of `key`, and let its size and hash be the published ones."""
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    digest = hashlib.sha256(content).hexdigest()
    file = replace(FILES[key], size=len(content), sha256=digest)
    monkeypatch.setitem(FILES, key, file)
    path = folder / file.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path

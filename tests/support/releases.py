"""Write the files of a release."""

from collections.abc import Mapping
from pathlib import Path


def release(directory: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files below a directory and return it."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return directory

"""Writes down, in their order, what is given its name and what is waited for until it is on disk."""

import os
from pathlib import Path

import pytest


def noted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect each os.replace, unlink and os.fsync of this process in a list."""
    done: list[str] = []
    replace, unlink, fsync = os.replace, os.unlink, os.fsync

    def replaced(source: Path, target: Path) -> None:
        replace(source, target)
        done.append(f"replaced {target}")

    def unlinked(path: Path) -> None:
        unlink(path)
        done.append(f"removed {path}")

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        done.append(f"synced {os.readlink(f'/proc/self/fd/{descriptor}')}")

    for name, instead in {"replace": replaced, "unlink": unlinked, "fsync": synced}.items():
        monkeypatch.setattr(os, name, instead)
    return done

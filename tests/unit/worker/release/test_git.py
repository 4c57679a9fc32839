"""The reader of `git ls-remote`."""

import pytest

from worker.release.git import parse_ls_remote

MAIN, OTHER = "a" * 40, "b" * 40


@pytest.mark.threat(80)
@pytest.mark.parametrize(
    ("lines", "head"),
    [
        ([f"{MAIN}\trefs/heads/main"], MAIN),
        ([f"{OTHER}\trefs/heads/a/refs/heads/main", f"{MAIN}\trefs/heads/main"], MAIN),
        ([f"{OTHER}\trefs/heads/a/refs/heads/main"], None),
        ([f"{OTHER}\trefs/heads/mainly"], None),
        (["warning: something else", f"{'c' * 64}\trefs/heads/main", ""], "c" * 64),
        (["c0ffee\trefs/heads/main"], None),
        ([f"remote: {OTHER}\trefs/heads/main"], None),
        ([], None),
    ],
    ids=[
        "alone",
        "after another that ends so",
        "only another that ends so",
        "one that begins so",
        "among other lines",
        "no full id",
        "said by the host, not by git",
        "nothing",
    ],
)
def test_parse_ls_remote(lines: list[str], head: str | None) -> None:
    assert parse_ls_remote(lines, "refs/heads/main") == head

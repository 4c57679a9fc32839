"""The table of git hosts: the headers that each one sends."""

from hookd.model.git_hosts import GitHost


def test_header_names() -> None:
    assert {host.value: (host.event, host.delivery, host.signature) for host in GitHost} == {
        "github": ("X-GitHub-Event", "X-GitHub-Delivery", "X-Hub-Signature-256"),
        "gitea": ("X-Gitea-Event", "X-Gitea-Delivery", "X-Gitea-Signature"),
        "forgejo": ("X-Forgejo-Event", "X-Forgejo-Delivery", "X-Forgejo-Signature"),
        "gogs": ("X-Gogs-Event", "X-Gogs-Delivery", "X-Gogs-Signature"),
    }


def test_only_github_signs_form_bytes() -> None:
    assert [host for host in GitHost if not host.signs_form_value] == [GitHost.GITHUB]

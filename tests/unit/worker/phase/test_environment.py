"""The host's proxies and certificates, in the spelling of each program."""

import os
from pathlib import Path

import pytest

from tests.support.tasks import deploying
from worker.environment.source import Source
from worker.environment.ssh import ssh_access
from worker.phase.environment import command_environment, host_variables, install_environment
from worker.release.git import git_commands

CERTIFICATES = ("SSL_CERT_FILE", "GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.upper() in CERTIFICATES or name.lower().endswith("_proxy") or name == "NODE_EXTRA_CA_CERTS":
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY"])
def test_both_spellings_of_a_proxy(host: pytest.MonkeyPatch, name: str) -> None:
    host.setenv(name, "http://proxy:3128")
    found = host_variables()
    assert (found["https_proxy"], found["HTTPS_PROXY"]) == ("http://proxy:3128", "http://proxy:3128")


@pytest.mark.parametrize("name", CERTIFICATES)
def test_one_certificate_for_all_programs(host: pytest.MonkeyPatch, name: str) -> None:
    assert set(CERTIFICATES).isdisjoint(host_variables())
    host.setenv(name, "/etc/ssl/own.pem")
    assert {host_variables()[each] for each in CERTIFICATES} == {"/etc/ssl/own.pem"}


def test_certificate_of_one_program(host: pytest.MonkeyPatch) -> None:
    host.setenv("SSL_CERT_FILE", "/etc/ssl/own.pem")
    host.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/requests.pem")
    found = host_variables()
    assert (found["GIT_SSL_CAINFO"], found["REQUESTS_CA_BUNDLE"]) == ("/etc/ssl/own.pem", "/etc/ssl/requests.pem")


def test_git_uv_and_builds_are_alike(host: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host.setenv("all_proxy", "http://proxy:3128")
    host.setenv("SSL_CERT_FILE", "/etc/ssl/own.pem")
    with deploying(tmp_path) as at:
        task = at.task
        git = git_commands(task.app, task.settings, 1).head().env
        reached = [git, install_environment(task), command_environment(task, "build", tmp_path)]
        service = command_environment(task, "check", tmp_path)
    assert [env["ALL_PROXY"] for env in reached] == ["http://proxy:3128"] * 3
    assert [env["GIT_SSL_CAINFO"] for env in reached] == ["/etc/ssl/own.pem"] * 3
    assert "ALL_PROXY" not in service


def test_app_without_ssh_gets_no_key(tmp_path: Path) -> None:
    with deploying(tmp_path) as at:
        assert ssh_access(at.task, Source("list", None, tmp_path, (b"git+https://host/x",))) == ({}, {})
        variables, files = ssh_access(at.task, Source("list", None, tmp_path, (b"x @ git+ssh://git@host/x",)))
    assert "StrictHostKeyChecking=yes" in variables["GIT_SSH_COMMAND"]
    assert files == {}, "without a unit, the worker's own files are read"

"""The table `site`: URL prefixes and directories that are safe in nginx' files."""

import pytest
from pydantic import ValidationError

from hookd.model.settings import TlsSettings
from hookd.model.tables.site import Site
from tests.support.rendered import make_entry

HEALTH = "http://127.0.0.1:9000/"


@pytest.mark.parametrize("prefix", ["/static/", "/a/b-c/", "/v1.2/_x/"])
def test_prefixes_of_static_files(prefix: str) -> None:
    assert Site(static={prefix: "shop/static"}).static == {prefix: "shop/static"}


@pytest.mark.parametrize(
    "prefix",
    ["", "/", "static/", "/static", "/../", "/.well-known/", "/a b/", "/a;/", "/a//", '/"/', "/{/", "/$uri/", "/a/\n/"],
)
def test_other_prefixes_are_refused(prefix: str) -> None:
    with pytest.raises(ValidationError):
        Site(static={prefix: "static"})


@pytest.mark.parametrize("directory", ["/etc", "..", "a/../b", "", ".", "venv", ".git/objects"])
def test_directory_lies_in_the_release(directory: str) -> None:
    with pytest.raises(ValidationError):
        Site(static={"/static/": directory})


def test_prefixes_do_not_contain_each_other() -> None:
    with pytest.raises(ValidationError, match="/static/, /static/admin/"):
        Site(static={"/static/admin/": "admin", "/static/": "static"})


@pytest.mark.parametrize("directory", ["uploads", "uploads/public", "data"])
def test_shared_directory_is_not_static(directory: str) -> None:
    shared = {"directories": ["uploads", "data/files"]}
    with pytest.raises(ValidationError, match="is shared"):
        make_entry("shop", {}, HEALTH, shared=shared, site={"domain": "a.example.org", "static": {"/s/": directory}})


@pytest.mark.parametrize("directory", ["a b", "a;b", 'a"b', "a$b", "a\nb", "a{b"])
def test_nginx_reads_no_directive(directory: str) -> None:
    with pytest.raises(ValidationError):
        Site(static={"/s/": directory})


@pytest.mark.parametrize("mail", ["--help@example.org", "a@", "@b", "a b@c", "a@-b", "a@b;c", "a\n@b"])
def test_odd_mail_is_refused(mail: str) -> None:
    with pytest.raises(ValidationError):
        TlsSettings(mail=mail)

"""Debian's packages for what a command misses: programs, headers and libraries. A hint names no other package."""

from collections.abc import Mapping
from typing import Final

_COMPILER: Final = "build-essential"
_MYSQL: Final = "default-libmysqlclient-dev pkg-config"
_RUST: Final = "cargo rustc"

# By the name of a program.
PROGRAM_PACKAGES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("gcc", "cc", "g++", "c++", "make"), _COMPILER),
    **dict.fromkeys(("x86_64-linux-gnu-gcc", "x86_64-linux-gnu-g++"), _COMPILER),
    **dict.fromkeys(("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++"), _COMPILER),
    **dict.fromkeys(("mysql_config", "mariadb_config"), _MYSQL),
    **dict.fromkeys(("cargo", "rustc", "Rust"), _RUST),
    **dict.fromkeys(("npm", "npx", "node"), "nodejs npm"),
    **dict.fromkeys(("pg_dump", "pg_restore", "psql"), "postgresql-client"),
    **dict.fromkeys(("mysqldump", "mysql"), "default-mysql-client"),
    **dict.fromkeys(("msgfmt", "xgettext", "msgmerge"), "gettext"),
    "cmake": "cmake",
    "convert": "imagemagick",
    "curl-config": "libcurl4-openssl-dev",
    "ffmpeg": "ffmpeg",
    "gdal-config": "libgdal-dev",
    "geos-config": "libgeos-dev",
    "gfortran": "gfortran",
    "git": "git",
    "git-lfs": "git-lfs",
    "krb5-config": "libkrb5-dev",
    "pg_config": "libpq-dev",
    "pkg-config": "pkg-config",
    "sqlite3": "sqlite3",
    "xml2-config": "libxml2-dev libxslt1-dev",
    "xslt-config": "libxml2-dev libxslt1-dev",
}
# By the end of a header's path.
HEADER_PACKAGES: Final[Mapping[str, str]] = {
    "Python.h": "python3-dev",
    "cairo.h": "libcairo2-dev pkg-config",
    "curl/curl.h": "libcurl4-openssl-dev",
    "ffi.h": "libffi-dev",
    "gmp.h": "libgmp-dev",
    "jpeglib.h": "libjpeg-dev",
    "lber.h": "libldap-dev libsasl2-dev",
    "ldap.h": "libldap-dev libsasl2-dev",
    "libpq-fe.h": "libpq-dev",
    "libxml/xmlversion.h": "libxml2-dev libxslt1-dev",
    "libxml/xpath.h": "libxml2-dev libxslt1-dev",
    "magic.h": "libmagic-dev",
    "mysql.h": _MYSQL,
    "openssl/opensslv.h": "libssl-dev",
    "openssl/ssl.h": "libssl-dev",
    "sasl.h": "libsasl2-dev",
    "sasl/sasl.h": "libsasl2-dev",
    "sql.h": "unixodbc-dev",
    "stdio.h": _COMPILER,
    "stdlib.h": _COMPILER,
    "xmlsec/xmlsec.h": "libxmlsec1-dev pkg-config",
    "yaml.h": "libyaml-dev",
    "zlib.h": "zlib1g-dev",
}
PACKAGES: Final = frozenset({*PROGRAM_PACKAGES.values(), *HEADER_PACKAGES.values()})
# These come from npm's index.
NODE_PACKAGES: Final = frozenset({"bun", "pnpm", "yarn"})

"""The public applications that are tried: their commits, what their owner would give, and what a visitor sends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class RealApp:
    """An application: its commit, variables beside those of its plan, and the choice among its directories.

    `way_out` is the key that the plan's note or the failure names, for an application that fails at first.
    Visitors ask for `page`. They submit `forms`, each with the page that has it and the one that takes it, and later
    find the text of `kept` in its page.
    """

    name: str
    commit: str
    variables: str = ""
    options: tuple[str, ...] = ()
    way_out: str = ""
    page: str = "/"
    forms: tuple[tuple[str, str, Mapping[str, str]], ...] = ()
    kept: tuple[str, str] = ("/", "")


_PERSON: Final = {"username": "ada", "email": "ada@example.org", "password": "correct-horse"}
_POSTGRES: Final = "DATABASE_URL=postgresql://app:app@localhost:5432/app\n"
_FULL_STACK: Final = (
    "PROJECT_NAME=tried\nSECRET_KEY=long-and-random\n"
    "FIRST_SUPERUSER=ada@example.org\nFIRST_SUPERUSER_PASSWORD=correct-horse\n"
)
APPS: Final = (
    RealApp(
        "microblog",
        "a975ef64864354867c88e0ed3a17ba7d17dca752",
        page="/auth/login",
        forms=(
            ("/auth/register", "/auth/register", {**_PERSON, "password2": _PERSON["password"]}),
            ("/auth/login", "/auth/login", {"username": "ada", "password": _PERSON["password"]}),
            ("/index", "/index", {"post": "The first program"}),
        ),
        kept=("/index", "The first program"),
    ),
    RealApp(
        "flask",
        "2ac89889f4cc330eabd50f295dcef02828522c69",
        options=("--directory", "examples/tutorial"),
        forms=(
            ("/auth/register", "/auth/register", {"username": "ada", "password": _PERSON["password"]}),
            ("/auth/login", "/auth/login", {"username": "ada", "password": _PERSON["password"]}),
            ("/create", "/create", {"title": "The first program", "body": "of 1843"}),
        ),
        kept=("/", "The first program"),
    ),
    RealApp("CTFd", "91ced62d44d3ec3142a0948ee96ed19947cfc979", page="/setup"),
    RealApp(
        "cookiecutter",
        "HEAD",
        forms=(
            ("/register/", "/register/", {**_PERSON, "confirm": _PERSON["password"]}),
            ("/", "/", {"username": "ada", "password": _PERSON["password"]}),
        ),
        kept=("/users/", "Welcome ada"),
    ),
    RealApp("searxng", "9fea41204fdfa7a5cfa15b0ebd12904c520478ce"),
    RealApp(
        "changedetection.io",
        "fce24780e74199bf34c62a0d90188cc2fc12f061",
        forms=(("/", "/form/add/quickwatch", {"url": "http://watched.example.org/", "tags": ""}),),
        kept=("/", "watched.example.org"),
    ),
    RealApp("healthchecks", "29b5ec251059034b79e0120e2ff0c3e35d7bd9f8", page="/accounts/login/"),
    RealApp("whoogle-search", "13e52132e3b45328de4146818762c891b7e3d6f4", page="/healthz"),
    RealApp("bakerydemo", "8e2b625755d8942412d5b7627b146a795933b8b2"),
    RealApp(
        "starlette-example",
        "4c220b3be4aca49dfc2b507dfde26f0bad2349b4",
        way_out="dependencies.environment.UV_EXCLUDE_NEWER=2022-11-11",
    ),
    RealApp("flasky", "3beedd640b9146b0bd65c8c2ecf402b01798bc33"),
    RealApp(
        "flask-realworld",
        "4b95fb2227dfeb5dd1a45d89b2bf48630b93fd28",
        _POSTGRES,
        way_out="dependencies.environment.UV_EXCLUDE_NEWER=2019-09-02",
    ),
    RealApp(
        "fastapi-realworld",
        "029eb7781c60d5f563ee8990a0cbfb79b244538c",
        _POSTGRES + "SECRET_KEY=long-and-random\n",
    ),
    RealApp("full-stack-fastapi", "68adb40d37425f6f8668ec7e5a054500d045e43e", _POSTGRES + _FULL_STACK),
    # Not in the table that hookd was made with: tried last.
    RealApp("ihatemoney", "52e5720ec78d32eab963cd7e73d4826ae3a16950"),
    RealApp("babybuddy", "fa8bf4cd66ed149e23c215763a49a2f76dbcd2b7", page="/login/"),
)

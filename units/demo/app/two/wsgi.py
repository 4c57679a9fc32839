"""The demo's app, second version: the same page with a dependency that the first one did not have."""

import time

import humanize
from flask import Flask

VERSION = "two"
STARTED = time.time()
app = Flask(__name__)


@app.get("/")
def page():
    up = humanize.naturaldelta(time.time() - STARTED)
    return f"<!doctype html><title>shop</title><h1>Hello from version {VERSION}</h1><p>up for {up}</p>\n"


@app.get("/healthz")
def healthz():
    return "ok\n"

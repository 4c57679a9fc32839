"""The demo's app, third version: it imports well and cannot do its work, as with a migration that was forgotten."""

from flask import Flask

VERSION = "three"
app = Flask(__name__)


@app.get("/")
def page():
    return f"<!doctype html><title>shop</title><h1>Hello from version {VERSION}</h1>\n"


@app.get("/healthz")
def healthz():
    raise RuntimeError("no such table: orders")

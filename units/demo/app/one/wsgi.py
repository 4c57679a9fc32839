"""The demo's app: a page that says which version answers."""

from flask import Flask

VERSION = "one"
app = Flask(__name__)


@app.get("/")
def page():
    return f"<!doctype html><title>shop</title><h1>Hello from version {VERSION}</h1>\n"


@app.get("/healthz")
def healthz():
    return "ok\n"

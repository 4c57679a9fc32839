"""The part of hookd in an app's own process.

`program` reads the app's settings and puts hookd's over them, `workers` chooses the worker class, `hooks` are hookd's
hooks of gunicorn, `gate` refuses a bad release, by a request of `wsgi` or `asgi`, `drain` ends uvicorn without lost
requests, `refusal` tells why a worker took none, and `check` is the check before a switch.
"""

"""An app as a value, for tests that need no files."""

from hookd.model.app import App


def app(handover: str = "blue-green", units: str = "hookd", **more: object) -> App:
    """Return the app `shop` with a handover and other fields."""
    url = "unix:/run/shop-{colour}.sock:/healthz" if handover == "blue-green" else "http://127.0.0.1:8000/healthz"
    table = {
        "name": "shop",
        "repository": "git@git.example.org:acme/shop.git",
        "full_name": "acme/shop",
        "root": "/srv/shop",
        "service": {"handover": handover, "units": units},
        "health": {"url": url},
        **more,
    }
    return App.model_validate(table)

"""The configuration of circus."""

from pathlib import Path

from units.render.circus import CircusApp, CircusConfig


def test_circus_has_programs_then_colours(tmp_path: Path) -> None:
    services = (
        CircusApp("shop", tmp_path / "shop", 8000, ("blue", "green")),
        CircusApp("blog", tmp_path / "blog", 8001, (None,)),
    )
    circus = CircusConfig(tmp_path, services, {"redis": "r", "worker": "w"}, {"A": "b"}, 3)
    sections = [line for line in circus.ini.splitlines() if line.startswith("[watcher")]
    wanted = ("redis", "worker", "shop-blue", "shop-green", "blog")
    assert sections == [f"[watcher:{name}]" for name in wanted]
    assert [line for line in circus.ini.splitlines() if line.startswith("priority")] == ["priority = 2", "priority = 1"]
    assert circus.ini.count("HOOKD_HEALTH_SECONDS = 3") == 3

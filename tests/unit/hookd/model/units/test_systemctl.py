"""The reader of `systemctl show`."""

from hookd.model.units.systemctl import parse_show

BLUE = {"Id": "shop-blue.service", "ActiveState": "active"}
GREEN = {"Id": "shop-green.service", "ActiveState": "inactive", "StatusText": "a=b"}


def lines(*units: dict[str, str]) -> list[list[str]]:
    return [[f"{name}={value}" for name, value in unit.items()] for unit in units]


def test_empty_line_ends_a_unit() -> None:
    first, second = lines(BLUE, GREEN)
    assert parse_show([*first, "", *second]) == [BLUE, GREEN]


def test_repeated_property_begins_a_unit() -> None:
    first, second = lines(BLUE, GREEN)
    assert parse_show([*first, *second]) == [BLUE, GREEN]


def test_repeated_commands_stay_in_their_unit() -> None:
    printed = ["ExecStart={ path=/bin/a }", "ExecStart={ path=/bin/b }", "Id=jobs.service"]
    assert parse_show(printed) == [{"ExecStart": "{ path=/bin/a }\n{ path=/bin/b }", "Id": "jobs.service"}]


def test_nothing_printed_is_no_unit() -> None:
    assert parse_show(["", "no property"]) == []

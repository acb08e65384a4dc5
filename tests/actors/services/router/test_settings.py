"""Settings: their defaults and their ranges."""

from __future__ import annotations

import attrs
import pytest

from tars.actors.services.router.settings import RouterSettings


def test_the_defaults_are_those_of_the_services_before_it() -> None:
    settings = RouterSettings()

    assert (8.0, 10.0, 10) == (settings.wake_window_s, settings.response_window_s, settings.history_messages)
    assert (60, 240, 2000, ".!?;:", True) == (
        settings.stream_min_chars,
        settings.stream_max_chars,
        settings.stream_hard_max_chars,
        settings.stream_boundary_chars,
        settings.stream_boundary_only,
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("wake_window_s", 0),
        ("wake_window_s", float("nan")),
        ("response_window_s", float("inf")),
        ("response_window_s", 0),
        ("stream_gap_wait_s", -0.1),
        ("stream_idle_s", 0),
        ("stream_max_streams", 0),
        ("stream_max_reply_chars", 1999),
        ("wake_timeout_grace_s", -1),
        ("health_expires_s", 0),
        ("history_messages", -1),
        ("stream_min_chars", 0),
        ("stream_max_chars", 59),
        ("stream_hard_max_chars", 239),
        ("stream_max_held", 0),
        ("stream_boundary_chars", ""),
        ("stream_boundary_chars", ".a"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{field} must be"):
        RouterSettings(**{field: value})  # type: ignore[arg-type]


def test_every_number_has_a_range() -> None:
    numbers = [field.name for field in attrs.fields(RouterSettings) if type(getattr(RouterSettings(), field.name)) in {int, float}]

    for name in numbers:
        with pytest.raises(ValueError, match=f"{name} must be"):
            RouterSettings(**{name: -1})  # type: ignore[arg-type]


def test_every_value_out_of_range_is_named() -> None:
    with pytest.raises(ValueError, match=r"history_messages .*stream_boundary_chars"):
        RouterSettings(history_messages=-1, stream_boundary_chars="")

"""Settings: where values come from, and that whatever is wrong with them is said at once and by name."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from campaign_express import config
from campaign_express.config import URL_FIELDS, Secret, Settings, refuse_secrets
from campaign_express.errors import ConfigError


def test_defaults_stand_alone() -> None:
    assert config.load({}, {}) == Settings()


def test_environment_wins_over_args_and_args_over_defaults() -> None:
    settings = config.load({"http_port": 1, "grpc_port": 2}, {"CAMPAIGN_EXPRESS_HTTP_PORT": "3"})
    assert (settings.http_port, settings.grpc_port, settings.metrics_port) == (3, 2, 9091)


def test_the_environment_speaks_in_strings() -> None:
    settings = config.load(
        {},
        {
            "CAMPAIGN_EXPRESS_REQUIRE_ACCELERATOR": "true",
            "CAMPAIGN_EXPRESS_DRAIN_WINDOW_S": "0.5",
            "CAMPAIGN_EXPRESS_AGENTS_PER_CELL": "20",
        },
    )
    assert (settings.require_accelerator, settings.drain_window_s, settings.agents_per_cell) == (True, 0.5, 20)


def test_other_variables_are_none_of_our_business() -> None:
    assert config.load({}, {"HTTP_PORT": "1", "PATH": "/bin"}) == Settings()


def test_every_problem_is_reported_with_its_place() -> None:
    with pytest.raises(ConfigError) as error:
        config.load(
            {"htpp_port": 1, "agents_per_cell": 0, "accelerator": "gpu"},
            {"CAMPAIGN_EXPRESS_GRPC_PORT": "65536", "CAMPAIGN_EXPRESS_MAX_BATCH": "many"},
        )
    places = sorted(problem.split(":")[0] for problem in error.value.problems)
    assert places == [
        "CAMPAIGN_EXPRESS_GRPC_PORT",
        "CAMPAIGN_EXPRESS_MAX_BATCH",
        "args.accelerator",
        "args.agents_per_cell",
        "args.htpp_port",
    ]


@pytest.mark.parametrize("name", ["notice_keys", "operator_token"])
def test_secrets_do_not_show(name: str) -> None:
    settings = config.load({}, {f"CAMPAIGN_EXPRESS_{name.upper()}": "k:hidden"})
    assert getattr(settings, name) == "k:hidden"
    assert isinstance(getattr(settings, name), Secret)
    assert "hidden" not in repr(settings)
    assert "hidden" not in f"{settings!s}"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().http_port = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", ["redis_url", "nats_url"])
@pytest.mark.parametrize("password", ["s3c[ret", "s3c]ret", "s3c/ret", "s3c#ret", "s3c?ret", "s3c,ret"])
def test_a_password_that_makes_a_url_unreadable_is_named_and_not_shown(name: str, password: str) -> None:
    scheme = name.removesuffix("_url")
    key = f"CAMPAIGN_EXPRESS_{name.upper()}"
    with pytest.raises(ConfigError) as raised:
        config.load({}, {key: f"{scheme}://user:{password}@host.example:1"})
    assert raised.value.problems[0].startswith(f"{key}: cannot be read as a url")
    assert "s3c" not in str(raised.value)
    encoded = quote(password, safe="")
    assert getattr(config.load({}, {key: f"{scheme}://user:{encoded}@host.example:1"}), name)


@pytest.mark.parametrize("password", ["plain", "s3c[ret", "s3c/ret"])
def test_whatever_the_password_it_is_refused_among_args(password: str) -> None:
    for name in URL_FIELDS:
        with pytest.raises(ConfigError, match=f"args.{name}: holds a secret") as raised:
            refuse_secrets({name: f"x://user:{password}@host"})
        assert password not in str(raised.value)

"""`nats_url`: servers, the authority that is trusted, and what of it may be shown."""

from __future__ import annotations

import ssl

import pytest

from campaign_express.adapters.nats import read_url, redact
from campaign_express.errors import ConfigError


def test_servers_without_options_trust_whom_the_system_trusts() -> None:
    servers, context = read_url("nats://u:p@one:4222, nats://u:p@two:4222")
    assert servers == ["nats://u:p@one:4222", "nats://u:p@two:4222"]
    assert context is None


def test_an_authority_is_named_behind_the_first_server() -> None:
    bundle = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    servers, context = read_url(f"tls://u:p@one:4222?ca_file={bundle},tls://u:p@two:4222")
    assert servers == ["tls://u:p@one:4222", "tls://u:p@two:4222"]
    assert context is not None
    assert context.verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize("option", ["ca_file=/no-such.crt", "ca_files=x", "tls=1"])
def test_other_options_and_files_that_are_not_there_are_refused(option: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_url(f"tls://u:s3cret@one:4222?{option}")
    assert any("nats_url" in problem for problem in raised.value.problems)
    assert "s3cret" not in str(raised.value.problems)


def test_what_is_shown_has_neither_password_nor_options() -> None:
    assert redact("tls://u:s3cret@one:4222?ca_file=/x,tls://u:s3cret@two:4222") == "one:4222,two:4222"

"""Settings of the sink: what is a URL of one, and that no secret is echoed."""

from __future__ import annotations

import base64

import pytest
from pydantic import ValidationError

from ingest.settings import Settings

GOOD = f"whsec_{base64.b64encode(b'k' * 32).decode()}"


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/mail?for=us",
        "http://localhost:8080/",
        "http://[::1]/",
        "sqs://123456789012/mail",
        "sqs://123456789012/mail.fifo",
        "sns://123456789012/mail",
        "amqp://u:p@broker:5672/vhost?queue=mail",
        "amqps://broker/?exchange=mail&routing_key=in",
    ],
)
def test_a_url_of_a_sink_is_taken_as_it_is(url: str) -> None:
    assert Settings(sink_url=url).sink_url == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example.com/", "plaintext"),
        ("https://user:hush@hooks.example.com/", "no URL to post to"),
        ("https://", "no URL to post to"),
        ("ftp://host/", "is not a sink's URL"),
        ("hooks.example.com", "is not a sink's URL"),
        ("https://host:99999/", "is not a sink's URL"),
        ("https://host:0/", "no such port"),
        ("sqs://mail", "12 digits"),
        ("sqs://123456789012/", "names nothing"),
        ("sns://123456789012/a/b", "names nothing"),
        ("amqp://u:hush@broker/", "neither a queue"),
        ("amqp://u:hush@broker/?queue=a&exchange=b", "or both"),
        ("amqp://u:hush@broker/?queue=a&routing_key=b", "with a queue"),
        ("amqp://u:hush@broker/?queue=", "empty"),
        ("amqp:///?queue=a", "no host"),
    ],
)
def test_what_is_no_url_of_a_sink_is_said_without_its_password(url: str, why: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(sink_url=url)
    assert why in str(caught.value)
    assert "hush" not in str(caught.value)


def test_one_secret_or_a_list_of_them_signs_webhooks() -> None:
    given: dict[str, object] = {"webhook_secrets": GOOD}
    assert Settings.model_validate(given).webhook_keys == (b"k" * 32,)
    given = {"webhook_secrets": f'["{GOOD}", "{GOOD}"]'}
    assert Settings.model_validate(given).webhook_keys == (b"k" * 32, b"k" * 32)
    assert GOOD not in repr(Settings.model_validate(given))


@pytest.mark.parametrize("wrong", ["hush-hush-hush", "whsec_aHVzaA==", "whsec_!!hush", '["whsec_aHVzaA=="', "[7]"])
def test_what_is_no_secret_is_not_echoed(wrong: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"webhook_secrets": wrong})
    assert "whsec_ and base64" in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "aHVzaA" not in str(caught.value)

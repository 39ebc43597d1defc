"""Credentials in URIs: none overlooked, none repeated, and what is no secret left alone."""

import pytest

from study.config.rules.credentials import credentials_in, redacted, refuse_credentials

SECRET = "hunter2"
BAD = [
    "postgresql://u:hunter2@h/db",
    "postgresql://u:hun/hunter2@host/db",
    "postgresql://u:a%3Fhunter2@h/db",
    "postgresql://u:hun#hunter2@h/db",
    "postgresql://u%3Ahunter2@h/db",
    "postgresql://u@h/db?opt=http://a:hunter2@c",
    "sqlite:////x/o.db?password=hunter2",
    "postgresql://h/db?pass%2577ord=hunter2",
    "mysql://h/db?ssl=1&Pwd=hunter2",
    "s3://bucket/x?aws_secret_access_key=hunter2",
    "s3://bucket/x?region=a;secret-key=hunter2",
    "s3://bucket/x#token=hunter2",
    "gs://bucket/x?access_token=hunter2",
    "https://hunter2@github.com/x",
    "https://host/x?X-Amz-Signature=hunter2",
    "redis://:hunter2@host/0",
]
GOOD = [
    "postgresql://u@h/db",
    "postgresql://u:@h/db",
    "postgresql://h/db?passfile=/home/u/.pgpass&sslkey=/k",
    "s3://b/x?region=eu&endpoint_override=http://127.0.0.1:9000&scheme=http",
    "s3://b/a@b/token/x",
    "http://127.0.0.1:9000/x@y",
    "gs://anonymous@bucket/x",
    "ray://host:10001",
    "auto",
    "lam=0.1 placement=own",
]


@pytest.mark.parametrize("uri", BAD)
def test_credentials_are_seen_refused_and_hidden(uri: str) -> None:
    assert credentials_in(uri)
    with pytest.raises(ValueError, match=r"^--storage must hold no credentials[^\n]+$") as refusal:
        refuse_credentials("--storage", uri, "put them elsewhere")
    for text in (str(refusal.value), redacted(uri), redacted(f"qar launch s --storage '{uri}' -v")):
        assert SECRET not in text
        assert redacted(text) == text
    assert redacted(f"qar launch s --storage '{uri}' -v").endswith(" -v")


@pytest.mark.parametrize("uri", GOOD)
def test_what_holds_no_credentials_stays_as_it_is(uri: str) -> None:
    assert credentials_in(uri) == []
    assert redacted(uri) == uri
    refuse_credentials("--storage", uri, "")


def test_options_outside_of_a_uri_are_hidden_too() -> None:
    assert redacted("host=db password=hunter2 x") == "host=db password=… x"
    assert SECRET not in redacted("must be text, got {'password': 'hunter2'}; correct it")

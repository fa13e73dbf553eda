"""What is refused as a secret, and what is not."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import secrets
from schemas.definitions import Disk, FlowPatch, FlowSpec, RepositoryPatch, RepositorySpec, Setting, VmSpec

SECRET = "hunter2-hunter2"
PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n"
JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
SAS = "sv=2024-11-04&ss=b&srt=sco&sp=rl&se=2027-01-01&sig=9fK3%2Bq0wZr1X2y3Z4a5b6c7d8e9f0g1h2i3j4k5l6m0%3D"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
AZURE = f"DefaultEndpointsProtocol=https;AccountName=backups;AccountKey={ACCOUNT_KEY};EndpointSuffix=core.windows.net"


def words(text: str) -> list[str]:
    return text.split()


SECRET_NAMES = words("""
    password PASSWORD Password passwd pwd pw db_pw rootpw passcode passphrase pass db_pass dbpass userPass pass_word
    PassWord password2 password_old old-password my.password restic/password RESTIC_PASSWORD
    secret clientSecret client-secret client_secret_value secrets secret_id secretKey secret-access-key
    token apiToken api-token authtoken tokens access_token refreshToken bearer bearerAuth jwt session_token
    auth basic_auth auth2 authorization key api_key apiKey api-key API_KEY APIKEY apikey x-api-key accessKey access_key
    accountKey account_key encryption_key encryptionKey signing_key private_key privateKey privatekey sshKey license_key
    key_base64 key_hex key_pem api_key_value
    sas azure_sas sas_token connection_string connectionString connection-string conn_str connstr dsn sentry_dsn
    credential credentials creds db_creds cookie session_cookie session sessionid session_id sig signature pin pin_code
    otp totp psk private ftp_private passkey smtp_pass
    passwort Kennwort geheimnis contraseña mot_de_passe motdepasse senha wachtwoord hasło lösenord пароль 密码
    パスワード \uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44 pass\u200bword
""")

HARMLESS_NAMES = words("""
    monkey author authored author_name keyboard keyboards passive passenger passage passthrough pass_through bypass
    compass first_pass_mode tokenizer tokenizer_off tokenize secretary secretariat monkey_key_count hockey turkey
    public_key primary_key foreign_key partition_key sort_key cache_key object_key group_key key_id access_key_id
    key_size key_type key_rotation key_file_format token_ttl token_type token_url tokenEndpoint auth_type authMode
    auth_method auth_url password_policy passwordLength password_required passwordless secret_name secretRef
    secrets_manager vault_path cookie_name cookieDomain session_timeout session_ttl signature_algorithm signed
    private_network private_ip privateZone pinned pin_to pinning pincushion spin opinion assignment design
    sasl_mechanism authority authentic pwm cryptography encrypted encryption compression seed salt nonce hash
    location endpoint bucket region username user login owner tier team cost-center app.kubernetes.io/name rack slot
    site interface disk_bus certificate ca_bundle fingerprint thumbprint known_hosts dsname token_bucket
    credential_guard external-secrets-operator password_manager
""")

VALUES_THAT_ARE_SECRETS = [
    f"https://{SECRET}@host",
    f"https://me:{SECRET}@host/x",
    f"HTTPS://me:{SECRET}@host",
    "https://me:p@ss@host/x",
    "https://me:pa/ss@host/x",
    f"https://me%3A{SECRET}@host",
    f"see https://me:{SECRET}@host, please",
    f"rest:https://me:{SECRET}@host:8000/",
    f"sftp://me:{SECRET}@host/srv",
    f"nats://{SECRET}@host:4222",
    f"nats://flows:{SECRET}@one:4222,nats://two:4222",
    f"redis://:{SECRET}@host",
    f"postgresql+psycopg://flows:{SECRET}@db/flows",
    f"https://{SECRET}@o1.ingest.example.org/2",
    f"//me:{SECRET}@server/share",
    f"me:{SECRET}@tcp(db:3306)/flows",
    "AKIAIOSFODNN7EXAMPLE",
    "key AKIAIOSFODNN7EXAMPLE, see the wiki",
    "ASIAIOSFODNN7EXAMPLE",
    PEM,
    "-----BEGIN RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----",
    "-----BEGIN USER NKEY SEED-----",
    "-----BEGIN NATS USER JWT-----",
    "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY",
    JWT,
    f"Authorization: Bearer {JWT}",
    "Bearer 0a1b2c3d4e5f6a7b",
    "bearer abcdefgh1",
    "Basic bWU6aHVudGVyMi1odW50ZXIy",
    "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "github_pat_11ABCDEFG0123456789_abcdefghij",
    "glpat-0123456789abcdefghij",
    "xoxb-012345678901-abcdefghij",
    "https://hooks.slack.com/services/T000/B000/XXXX",
    "AIzaSyA0123456789abcdefghijklmnopqrstuv",
    "sk_live_0123456789abcdefghij",
    "hvs.CAESIJ0123456789abcdefghij",
    "flows_0Zr7mB-4yq_VtXoLk1s9dPuA2hE6cJgWfN3iR8TbM5Q",
    "use flows_0Zr7mB-4yq_VtXoLk1s9dPuA2hE6cJgWfN3iR8TbM5Q, please",
    AZURE,
    f"AccountKey={ACCOUNT_KEY};",
    f"https://backups.blob.core.windows.net/x?{SAS}",
    f"SharedAccessSignature={SAS}",
    "https://s3.example.org/b/o?X-Amz-Credential=x%2F20270101&X-Amz-Signature=0123456789abcdef0123456789abcdef",
    f"Server=db;User Id=sa;Password={SECRET};",
    f"Server=db;Uid=sa;Pwd={SECRET}",
    f"host=db user=flows password={SECRET}",
    f"password = {SECRET}",
    f'{{"password": "{SECRET}"}}',
    '{"user": "me", "apiKey": "abcdef"}',
    f"password: {SECRET}",
    "token:0123456789",
    f"--password {SECRET}",
    f"restic --password={SECRET} backup",
    "curl -H 'X-Api-Key: 0123456789abcdef'",
    f"https://host/x?access_token={SECRET}",
    f"PGPASSWORD={SECRET} psql",
]

VALUES_THAT_ARE_NONE = [
    "https://host/x",
    "https://host:8443/x",
    "https://host/@scope/package",
    "https://host/x?user=me@example.org",
    "https://host:8080/x@y",
    "https://[::1]:8080/x@y",
    "sftp://backup@host/srv",
    "ssh://git@host/x.git",
    "backup@host:/srv/backups",
    "postgresql://flows@db/flows",
    "mailto:me@example.org",
    "rbd:pool/image@snapshot",
    "pool/volume@2026-11-01",
    "s3:https://s3.example.org/bucket",
    "s3://bucket/prefix?versionId=3",
    "/srv/backups/monkey.raw",
    "/var/lib/libvirt/images/token-service.qcow2",
    "/srv/key=1/part=2",
    "-----BEGIN CERTIFICATE-----\nMIIB",
    "-----BEGIN PUBLIC KEY-----",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me@host",
    "AKIA is how such keys begin",
    "Bearer authentication is used",
    "Basic installation of the service",
    "keeps the password in the vault",
    "The password: see the vault",
    "Secret: ask the team",
    "Owner: anna, token: none",
    "password=$PASSWORD",
    "password=${RESTIC_PASSWORD}",
    "password=<password>",
    "password=***",
    "password={{ vault_password }}",
    "PASSWORD_FILE=/run/secrets/password",
    "restic --password-file /run/secrets/password",
    "restic --password-command 'pass show restic'",
    "--token-file /run/token",
    "flows_service_restarts_within_the_last_ten_minutes",
    "flows_0Zr7mB-4yq_VtXoLk1s9dPuA2hE6cJgWfN3iR8TbM5Q0",
    "max_tokens=4096",
    "key=value",
    "env=prod;tier=gold",
    "author=anna",
    "monkey: 123456",
    "rotate passwords: 2026-12-01 at the latest",
    "0b6f2f4e-2d0e-5f3c-9d0a-6f1f0c8d7a11",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "eyJust a text",
    "0 2 * * *",
    "Europe/Berlin",
    "",
]

PLACES = {
    "location": "location",
    "config": "destination_config.where",
    "labels": "labels.note",
    "tags": "tags[1]",
    "description": "description",
    "name": "vm_name",
    "path": "disks[0].path",
}


def advice(**config: Setting) -> list[tuple[str, str]]:
    return list(secrets.found(RepositorySpec(name="n", type="directory", location="/srv", config=config)))


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_names_under_which_nothing_is_taken(name: str) -> None:
    for value in [SECRET, *([] if name in {"tokens", "secrets", "credentials"} else [12_345_678])]:
        ((path, message),) = advice(**{name: value})
        assert path == f"config.{name}"
        assert f"`{name}_env`" in message
        assert f"`{name}_file`" in message
        assert str(value) not in message


@pytest.mark.parametrize("name", HARMLESS_NAMES)
def test_names_that_only_sound_so(name: str) -> None:
    for value in ("nightly", 12, True):
        assert advice(**{name: value}) == []


@pytest.mark.parametrize("value", [True, False, "", "yes", "no", "true", "off"])
def test_a_yes_or_no_is_no_secret(value: Setting) -> None:
    assert advice(password=value, auth=value, use_token=value) == []


def test_a_number_of_secrets_is_no_secret() -> None:
    assert advice(tokens=3, keys=12, max_tokens=4096, secrets="2") == []
    assert len(advice(token=3, key=12, password=4096, pin=1234, pin_code=12.5, secret="2")) == 6


@pytest.mark.parametrize("value", ["none", "Kerberos", "ntlm", "oauth2", "required", "public"])
def test_how_something_is_done_is_no_secret_under_a_name_that_could_mean_both(value: str) -> None:
    assert advice(auth=value, private=value, session=value) == []
    assert advice(password=value)


@pytest.mark.parametrize("value", VALUES_THAT_ARE_SECRETS)
def test_what_looks_like_a_secret_is_refused_wherever_it_stands(value: str) -> None:
    for place, expected in PLACES.items():
        ((path, message),) = secrets.found(standing(value, place))
        assert path == expected
        assert "`password_env`" in message
        assert [word for word in value.split() if len(word) >= 12 and word in message] == []


@pytest.mark.parametrize("value", VALUES_THAT_ARE_NONE)
def test_what_does_not_is_taken(value: str) -> None:
    for place in PLACES:
        assert list(secrets.found(standing(value, place))) == [], place


def standing(value: str, place: str) -> Any:
    """Return a definition that says so somewhere. Lengths do not matter here: the shape checks them."""
    match place:
        case "location":
            return RepositoryPatch(location=value)
        case "config":
            return FlowPatch(destination_config={"where": value})
        case "labels":
            return VmSpec(vm_name="vm", labels={"note": value})
        case "tags":
            return VmSpec(vm_name="vm", tags=["nightly", value])
        case "description":
            return FlowPatch(description=value)
        case "name":
            return VmSpec(vm_name=value)
        case _:
            return VmSpec(vm_name="vm", disks=[Disk(disk_id="d0", path=value)])


def test_names_count_in_every_place_where_people_choose_them() -> None:
    flow = FlowSpec(
        name="f",
        flow_type="backup",
        target_type="vm",
        target_id="vm",
        labels={"token": SECRET, "tier": "gold"},
        destination_config={"pw": SECRET, "bucket": "b"},
    )
    assert [path for path, _ in secrets.found(flow)] == ["destination_config.pw", "labels.token"]
    nested = {"config": {"rest": {"auth": {"user": "me", "value": SECRET}, "tokens": [SECRET]}}}
    assert [path for path, _ in secrets.found(nested)] == ["config.rest.auth.value", "config.rest.tokens[0]"]
    assert list(secrets.found({"key": "x", "name": {"password": "x"}})) == []  # fields of shapes


def test_a_name_that_is_a_secret_is_not_said_again() -> None:
    ((path, message),) = secrets.found(RepositoryPatch(config={f"https://me:{SECRET}@host": True}))
    assert path == "config"
    assert SECRET not in message


@pytest.mark.parametrize(
    "references",
    [
        {"password_env": "RESTIC_PASSWORD", "token_file": "/run/secrets/token"},
        {"passwordFile": "/run/secrets/password", "apiKeyEnv": "API_KEY", "aws-secret-access-key-env": "AWS_SECRET"},
        {"RESTIC_PASSWORD_FILE": "/run/secrets/restic"},
    ],
)
def test_references_are_welcome(references: dict[str, Setting]) -> None:
    assert advice(**references) == []


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("password_env", SECRET, "the name of an environment variable"),
        ("password_env", "hunter2", "the name of an environment variable"),
        ("password_env", 12345678, "the name of an environment variable"),
        ("token_file", SECRET, "the absolute path of a file"),
        ("token_file", 12345678, "the absolute path of a file"),
        ("apiKeyFile", "secrets/key", "the absolute path of a file"),
    ],
)
def test_a_reference_refers_to_something(name: str, value: Setting, says: str) -> None:
    ((path, message),) = advice(**{name: value})
    assert path == f"config.{name}"
    assert says in message
    assert str(value) not in message


def test_what_names_a_file_without_a_secret_may_be_anything() -> None:
    assert advice(profile="x", log_file="relative.log", node_env="production", keyboard_file="x") == []


MIB = 1 << 20
LARGE = {
    "slashes": "/" * MIB,
    "addresses": "//a:b" * (MIB // 5),
    "addresses with passwords but no end": "//" + "a:" * (MIB // 2),
    "ats": "@" * MIB,
    "accounts": "a@" * (MIB // 2),
    "letters": "a" * MIB,
    "words": "password " * (MIB // 9),
    "equal signs": "=" * MIB,
    "assignments": "ab=c;" * (MIB // 5),
    "assignments of nothing": "password=" * (MIB // 9),
    "colons": "a:" * (MIB // 2),
    "assignments of many names": "".join(f"pass{number:x}=c;" for number in range(MIB // 12)),
    "options": "--a " * (MIB // 4),
    "dashes": "-" * MIB,
    "begins": "-----BEGIN " * (MIB // 11),
    "web tokens": "eyJ" * (MIB // 3),
    "web tokens apart": ("eyJ" + "a" * 9 + ".") * (MIB // 13),
    "web tokens without an end": ("eyJ" + "a" * 9 + ".eyJ ") * (MIB // 17),
    "bearers": "bearer " * (MIB // 7),
    "capitals": "A" * MIB,
    "capitals and small letters": "aA" * (MIB // 2),
    "spaces": " " * MIB,
    "dots": "a." * (MIB // 2),
}


@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE)
def test_time_is_linear(text: str) -> None:
    """A quadratic pattern would take minutes for a MiB."""
    began = time.process_time()
    list(secrets.found({"description": text}))
    assert time.process_time() - began < 5


def test_a_long_name_takes_no_longer() -> None:
    began = time.process_time()
    assert advice(**{"a" * MIB + "_password": 1, "B-" * (MIB // 2): 1}) != []
    assert time.process_time() - began < 5


@given(st.text(), st.text())
def test_any_text_can_be_looked_at(name: str, value: str) -> None:
    list(secrets.found({"config": {name: value}, "description": value}))


def test_there_is_enough_of_both() -> None:
    assert len(SECRET_NAMES) + len(VALUES_THAT_ARE_SECRETS) >= 150
    assert len(HARMLESS_NAMES) + len(VALUES_THAT_ARE_NONE) >= 150

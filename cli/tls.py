"""Who may reach the API, and how: this machine alone, others by TLS, or others through a proxy that speaks it."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import datetime
from pathlib import Path

from cli.settings import Settings

LOCAL_NAME = "localhost"
PEM_END = "-----END CERTIFICATE-----"


def check(settings: Settings, at: datetime) -> None:
    """Raise `ValueError` with what to do when the API would be served in the clear, or with files that cannot serve."""
    if (settings.tls_cert is None) != (settings.tls_key is None):
        given, missing = ("cert", "key") if settings.tls_cert else ("key", "cert")
        raise ValueError(
            f"TLS needs a certificate and its key: there is --tls-{given} (FLOWS_TLS_{given.upper()}), "
            f"name the other one with --tls-{missing} (FLOWS_TLS_{missing.upper()})"
        )
    if settings.tls_cert is not None:
        context(settings)
        _check_dates(settings.tls_cert, at)
    elif not settings.behind_proxy and not is_loopback(settings.host):
        raise ValueError(
            f"the API would listen on {settings.host} without TLS, and tokens could be read on the network. Either "
            "name a certificate with --tls-cert FILE --tls-key FILE (FLOWS_TLS_CERT, FLOWS_TLS_KEY), or, when a proxy "
            "in front of it speaks TLS, say --behind-proxy (FLOWS_BEHIND_PROXY=1)"
        )


def is_loopback(host: str) -> bool:
    """Tell whether an address is reached from this machine alone. A name other than localhost may be anybody's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == LOCAL_NAME


def context(settings: Settings) -> ssl.SSLContext:
    """Return what the API speaks TLS with, 1.2 at least. Raises `ValueError` with what to do about the files."""
    assert settings.tls_cert
    assert settings.tls_key
    for file in (settings.tls_cert, settings.tls_key):
        try:
            file.read_bytes()
        except OSError as error:
            raise ValueError(
                f"cannot read {file}: {error.strerror}. The account that serves the API must be able to read the files "
                "of --tls-cert and --tls-key"
            ) from error
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    try:
        made.load_cert_chain(settings.tls_cert, settings.tls_key, password=lambda: _no_password(settings.tls_key))
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            wrong = f"the key in {settings.tls_key} is not that of the certificate in {settings.tls_cert}"
            raise ValueError(f"{wrong}: name the two files that belong together") from error
        raise ValueError(
            f"{settings.tls_cert} and {settings.tls_key} do not hold a certificate and its key as PEM "
            f"({error.reason or error}): the certificate comes first in its file, those that have signed it after it"
        ) from error
    return made


def _no_password(file: Path | None) -> str:
    raise ValueError(f"the key in {file} is encrypted: an engine starts without anybody who could type a password")


def _check_dates(file: Path, at: datetime) -> None:
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if at > end:
        raise ValueError(f"the certificate in {file} has ended on {end:%Y-%m-%d %H:%M} UTC: renew it, and start again")
    if at < begin:
        raise ValueError(
            f"the certificate in {file} is valid from {begin:%Y-%m-%d %H:%M} UTC on, and it is {at:%Y-%m-%d %H:%M}: "
            "set this machine's clock, or wait"
        )


def trusting(file: Path) -> ssl.SSLContext:
    """Return what a client trusts: who shows a certificate of this file, or one signed by such.

    Raises `ValueError` when there is none in it.
    """
    return _client(file, _read(file))


def pinned(file: Path) -> ssl.SSLContext:
    """Return what a client on the engine's machine trusts: the first certificate of this file, by whatever name.

    Its name is that by which others reach the engine; the key behind it is proof enough. Raises `ValueError` when there
    is none in it.
    """
    first, end, _ = _read(file).partition(PEM_END)
    made = _client(file, first + end)
    made.check_hostname = False
    return made


def _client(file: Path, certificates: str) -> ssl.SSLContext:
    try:
        made = ssl.create_default_context(cadata=certificates)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"{file} holds no certificate as PEM") from error
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return made


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError as error:
        raise ValueError(f"cannot read certificates from {file}: {error.strerror}") from error

"""Which names of settings and labels are those of secrets: `db_password`, `apiKey`, `connection-string`. Pure."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal

Certainty = Literal["certain", "likely"]
"""Of what stands under a name: it is a secret, or it is one unless it plainly says how something is done."""


def _plain(text: str) -> str:
    """Return a text without accents, widths and what is not seen."""
    if text.isascii():
        return text
    letters = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in letters if unicodedata.category(letter) not in {"Mn", "Cf"})


def _set(text: str) -> frozenset[str]:
    return frozenset(_plain(text).split())


# wherever they stand in a name; two or three words that stand together count as one
_CERTAIN = _set("""
    password passwords passwd passphrase passcode passkey pwd pw psk secret secrets token tokens credential credentials
    cred creds bearer jwt otp totp cookie cookies dsn
    apikey apikeys accesskey accountkey authkey encryptionkey masterkey privatekey secretkey sessionkey sharedkey
    signingkey sshkey storagekey clientkey connectionstring connstring connstr accesscode authcode pincode sessionid
    passwort kennwort geheimnis geheim motdepasse mdp contraseña secreto senha segredo wachtwoord hasło haslo heslo
    lösenord losenord salasana passord adgangskode jelszó şifre parola
    пароль секрет токен 密码 密碼 口令 密钥 パスワード 비밀번호 암호
""")
# as parts of a word that is written together
_INSIDE = re.compile(
    _plain(
        r"passw(?:or)?d(?!less)|passphrase|passcode|passwort|kennwort|wachtwoord|secret(?!ar|ion)|credential"
        r"|apikey|accesskey|privatekey|connectionstring|(?:token|pwd|пароль|密码|密碼|パスワード|비밀번호)s?$"
        r"|^(?:admin|app|bind|client|db|ftp|http|imap|key|ldap|login|mail|mongo|my|mysql|pg|proxy|redis|root|server|smtp"
        r"|sql|ssh|store|sudo|user|vpn|wifi|zip)(?:pass|pw)$"
    )
)
# as the last word of a name
_LIKELY = _set("pass auth authorization private session signature sig pin sas clave")
_FORMS = _set("value text plain plaintext raw data material pem base b hex string str encoded old new current previous")
_FORMED = {*_LIKELY, "key", "keys"} - {"private", "session"}
# what a key is when it opens nothing
_KEYS = _set("""
    public primary foreign sort partition cache object index group routing lookup unique dedup deduplication hash row
    shard label tag map config message natural surrogate composite range search order query idempotency correlation json
""")
# a name that ends so is about a secret, and does not hold it
_ABOUT = _set("""
    length size bits count limit max min budget ttl timeout age seconds minutes hours days expiry expires expiration
    expired lifetime rotation rotated interval type kind method mode scheme enabled disabled required optional allowed
    supported policy rules name names label id version algorithm algo cipher format prefix header field param parameter
    url uri endpoint host path dir directory folder store manager vault provider helper command process source ref
    reference arn user username account owner realm scope scopes issuer audience role region plugin service backend
    created updated changed status state charset encoding bucket rate group class pool server port address domain zone
    secure httponly samesite prompt guard encryption support management engine operator controller driver
""")
_SECRET_IDS = _set("secret session")  # `secret_id` is as good as the secret
_COUNTS = _set("max min num number total count")
_ANSWERS = frozenset({"", "yes", "no", "true", "false", "on", "off", "always", "never"})
_LONGEST = 256  # characters of a name that are looked at: its end
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BETWEEN = re.compile(r"[\W_]+")
_REFERENCES = (("env",), ("file",))
_PLURALS = _set("tokens keys secrets credentials cookies passwords apikeys")


@lru_cache(maxsize=4096)
def words(name: str) -> tuple[str, ...]:
    """Return the words of a name, in small letters: of `restApiKey2`, `rest_api_key` and `rest-api.key` the same."""
    apart = _HUMP.sub(" ", _plain(name[-_LONGEST:])).casefold()
    return tuple(word for part in _BETWEEN.split(apart) if (word := part.strip("0123456789")))


def reference(name: str) -> str | None:
    """Return how a name refers to a secret: by an environment variable (`env`), a file (`file`), or not at all."""
    parts = words(name)
    return parts[-1] if parts[-1:] in _REFERENCES and _certainty(parts[:-1]) else None


def certainty(name: str, value: str | float) -> Certainty | None:
    """Tell by a name whether the value under it is a secret. A yes or no is none, and a number under a plural."""
    parts = words(name)
    if not parts or parts[-1:] in _REFERENCES or str(value).casefold() in _ANSWERS:
        return None
    number = not isinstance(value, str) or value.isdecimal()
    if number and (parts[-1] in _PLURALS or parts[0] in _COUNTS):
        return None
    return _certainty(parts)


@lru_cache(maxsize=4096)
def _certainty(parts: tuple[str, ...]) -> Certainty | None:
    last, before = ("", "", *parts)[-1], ("", "", *parts)[-2]
    if last in _ABOUT and not (last == "id" and before in _SECRET_IDS):
        return None
    together = ("".join(parts[i : i + size]) for size in (1, 2, 3) for i in range(len(parts) - size + 1))
    if any(one in _CERTAIN for one in together) or any(_INSIDE.search(part) for part in parts):
        return "certain"
    if last in _FORMS and before in _FORMED:
        return _certainty(parts[:-1])
    is_key = last in {"key", "keys"} and before not in _KEYS
    return "likely" if is_key or last in _LIKELY else None

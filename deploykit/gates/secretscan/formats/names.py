"""Which names sound like a secret's, and which values could be one."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["could_be_secret", "names_secret"]

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_LAST = frozenset(
    [
        "password",
        "passwd",
        "passphrase",
        "pass",
        "passwort",
        "pwd",
        "secret",
        "secrets",
        "token",
        "apikey",
        "authtoken",
        "accesstoken",
        "credential",
        "credentials",
        "dbpass",
        "dbpasswd",
        "dbpassword",
        "pgpassword",
        "requirepass",
        "masterpass",
        "userpass",
        "storepass",
        "keypass",
        "webhooksecret",
        "psk",
        "dsn_password",
        "clientsecret",
        "secretkey",
        "privatekey",
        "salt",
    ]
)
_LAST_TWO = frozenset(
    (first, "key")
    for first in [
        "access",
        "api",
        "app",
        "auth",
        "cipher",
        "client",
        "crypt",
        "crypto",
        "encryption",
        "hmac",
        "in",
        "license",
        "logged",
        "master",
        "nonce",
        "private",
        "secret",
        "secure",
        "service",
        "session",
        "shared",
        "signing",
        "storage",
    ]
)
_NEVER = frozenset(
    [
        "public",
        "publishable",
        "expired",
        "forgot",
        "forgotten",
        "hint",
        "label",
        "placeholder",
        "policy",
        "reset",
        "encoder",
        "hasher",
        "field",
        "hidden",
        "show",
        "confirm",
        "confirmation",
        "invalid",
        "missing",
        "wrong",
    ]
)
_PLACEHOLDERS = re.compile(
    r"""^(?:
        (?:your|my|the|some|an?|enter|insert|put|add|set|replace|change|choose|use|see|ask)[-_ .].*  # your-api-key-here
      | .*(?:change[-_ ]?me|change[-_ ]?it|replace[-_ ]?me|placeholder|redacted|dummy|fixme|todo|your[-_]).*
      | (?:user|db|my|root|admin|test|super)?[-_]?(?:pass(?:word|wd|phrase)?|pwd|secret|token|key|credentials?)[-_]?\d{0,1}
      | x{3,} | [*.\-_#?•]+ | (?:none|null|nil|undefined|true|false|yes|no|on|off|empty|example|sample|test|foo|bar|\[\]|\{\})
      | (?:sk|pk|rk)_test_.*
    )$""",
    re.IGNORECASE | re.VERBOSE,
)
_REFERENCES = re.compile(
    r"""^(?:
        \$ (?: \{ .* | \( .* | [A-Za-z_]\w* $ | [A-Za-z_]\w* (?:\[ | -> | ::) .* )   # ${X} $(x) $X $x['y']
      | <.*>$ | <%.* | \{\{.* | \{%.* | %\(.* | %[A-Za-z_]\w*%$ | @\w+@$ | \#\{.* | __\w+__$
      | ENC\(.* | (?:vault|op|ssm|secretsmanager|arn|env|file|classpath|ref|data):.* | !.*
      | (?:/|\./|\.\./|~/|[A-Za-z]:\\).* | https?://[^@]*$ | \$ANSIBLE_VAULT.*
      | [\w.\->$:]+[\[(].*                                                        # a call, or an index into something
    )""",
    re.VERBOSE,
)
_DOTTED_NAME = re.compile(
    r"^(?:self|this|var|local|data|module|os|process|config|settings|state|request|req|props)\.[\w.]+$"
)


@lru_cache(maxsize=20_000)
def names_secret(name: str) -> bool:
    """`DB_PASSWORD`, `clientSecret`, `spring.mail.password`; not `PASSWORD_FILE`, `password.policy.min-length`."""
    words = [word.lower() for word in _WORDS.findall(name)]
    while words and words[-1].isdigit():
        words.pop()
    if not words or not _NEVER.isdisjoint(words):
        return False
    last = words[-1]
    if last in _LAST or last.endswith(("password", "passwd", "passphrase")):
        return True
    return len(words) > 1 and (words[-2], last) in _LAST_TWO


def could_be_secret(value: str, *, shortest: int = 4) -> bool:
    """Whether a value could be a secret: no placeholder, no reference to where it is kept, no sentence of prose."""
    text = value.strip()
    if len(text) < shortest or _PLACEHOLDERS.match(text) or _REFERENCES.match(text) or _DOTTED_NAME.match(text):
        return False
    if text.isdigit() and len(text) < 6:
        return False
    if not any(character.isalnum() for character in text):
        return False
    return not _is_prose(text)


def _is_prose(text: str) -> bool:
    """`Your password has expired.`, `API key`: words of letters, as people write them."""
    words = text.rstrip(".:!?…").split()
    if len(words) < 2 or not all(word.strip(",'").isalpha() for word in words):
        return False
    return len(words) > 3 or words[0][0].isupper()

"""detect-secrets' detectors of providers' tokens (`plugins/`, Apache-2.0): the same expressions, tried where they can
match.

A detector's `gate` finds, in a whole text at once, every place whose line the detector could match: it may find too
many, never too few. Case-blind gates look at the text folded to lower case.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TOKENS", "WORD", "TokenRule"]


@dataclass(frozen=True, kw_only=True)
class TokenRule:
    """`literals`: the text must hold one of them for the gate to be tried. `folded`: both look at the folded text.

    `worded`: there is no gate but a word that all assignments of secrets have (WORD), in a line that `gate` matches.
    """

    plugin: str
    type: str
    regexes: tuple[re.Pattern[str], ...]
    gate: re.Pattern[str]
    literals: tuple[str, ...]
    folded: bool = False
    worded: bool = False
    accepts: Callable[[str], bool] = lambda _value: True

    def values(self, line: str) -> list[str]:
        """The values in a line, as `re.findall` gives them: the groups where there are groups, as in the original."""
        found: dict[str, None] = {}
        for regex in self.regexes:
            for match in regex.findall(line):
                for value in filter(None, match) if isinstance(match, tuple) else (match,):
                    if self.accepts(value):
                        found[value] = None
        return list(found)


WORD = re.compile(r"pass|pwd|secret|key|token")
"""A word that every assignment has which the `worded` rules look for, in text folded to lower case."""


def _assignment(prefix: str, keyword: str, secret: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?:(?<=\W)|(?<=^))(?:\[|)(?:\"|\'|){prefix}(?:_|-|){keyword}(?:\"|\'|)(?:\]|)(?: *)"
        rf"(?:=|:|:=|=>| +|::)(?: *)(?:\"|\'|){secret}(?:\"|\'|)",
        re.IGNORECASE,
    )


def _is_jwt(token: str) -> bool:
    for index, text in enumerate(token.split(".")):
        try:
            part = text.encode("ascii")
            missing = len(part) % 4
            if missing == 1:
                return False
            decoded = base64.urlsafe_b64decode(part + {0: b"", 2: b"==", 3: b"==="}[missing])
            if index < 2:
                json.loads(decoded.decode("utf-8"))
        except ValueError:
            return False
    return True


_LONG_RUN = r"[=:> '\"][a-z0-9_\-]{44}"
_RESERVED = re.escape(":/?#[]@" + "!$&'()*+,;=")
_BASIC_AUTH = re.compile(rf"://[^{_RESERVED}\s]+:([^{_RESERVED}\s]+)@")
_CLOUDANT_KEY = r"(?:api|)(?:key|pwd|pw|password|pass|token)"
_CLOUDANT = r"(?:cloudant|cl|clou)"
_IP = re.compile(
    r"(?<![\w.])((?!192\.168\.|127\.|10\.|172\.(?:1[6-9]|2[0-9]|3[01]))"
    r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9][0-9]|[0-9])\.){3}"
    r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9][0-9]|[0-9])(?::\d{1,5})?)(?![\w.])",
    re.IGNORECASE,
)
_GITLAB = (
    r"(glpat|gldt|glft|glsoat|glrt)-[A-Za-z0-9_\-]{20,50}(?!\w)",
    r"GR1348941[A-Za-z0-9_\-]{20,50}(?!\w)",
    r"glcbt-([0-9a-fA-F]{2}_)?[A-Za-z0-9_\-]{20,50}(?!\w)",
    r"glimt-[A-Za-z0-9_\-]{25}(?!\w)",
    r"glptt-[A-Za-z0-9_\-]{40}(?!\w)",
    r"glagent-[A-Za-z0-9_\-]{50,1024}(?!\w)",
    r"gloas-[A-Za-z0-9_\-]{64}(?!\w)",
)
_PRIVATE_KEYS = (
    "BEGIN DSA PRIVATE KEY", "BEGIN EC PRIVATE KEY", "BEGIN OPENSSH PRIVATE KEY", "BEGIN PGP PRIVATE KEY BLOCK",
    "BEGIN PRIVATE KEY", "BEGIN RSA PRIVATE KEY", "BEGIN SSH2 ENCRYPTED PRIVATE KEY", "PuTTY-User-Key-File-2",
)  # fmt: skip


def _rule(  # noqa: PLR0913 - a table's columns
    plugin: str,
    kind: str,
    *regexes: str | re.Pattern[str],
    gate: str,
    literals: str,
    folded: bool = False,
    worded: bool = False,
    accepts: Callable[[str], bool] = lambda _value: True,
) -> TokenRule:
    return TokenRule(
        plugin=plugin,
        type=kind,
        regexes=tuple(re.compile(regex) for regex in regexes),
        gate=re.compile(gate),
        literals=tuple(literals.split()),
        folded=folded,
        worded=worded,
        accepts=accepts,
    )


TOKENS = (
    _rule(
        "ArtifactoryDetector",
        "Artifactory Credentials",
        r'(?:\s|=|:|"|^)AKC[a-zA-Z0-9]{10,}(?:\s|"|$)',
        r'(?:\s|=|:|"|^)AP[\dABCDEF][a-zA-Z0-9]{8,}(?:\s|"|$)',
        gate=r"A(?:KC|P[\dABCDEF])[a-zA-Z0-9]{8}",
        literals="AKC AP",
    ),
    _rule(
        "AWSKeyDetector",
        "AWS Access Key",
        r"(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}",
        re.compile(
            r"aws.{0,20}?(?:key|pwd|pw|password|pass|token).{0,20}?[\'\"]([0-9a-zA-Z/+]{40})[\'\"]", re.IGNORECASE
        ),
        gate=r"a(?:3t|bia|cca|kia|sia|ws)",
        literals="a3t abia acca akia asia aws",
        folded=True,
    ),
    _rule(
        "AzureStorageKeyDetector",
        "Azure Storage Account access key",
        r"AccountKey=[a-zA-Z0-9+\/=]{88}",
        gate=r"AccountKey=",
        literals="AccountKey=",
    ),
    _rule(
        "BasicAuthDetector",
        "Basic Auth Credentials",
        _BASIC_AUTH,
        gate=_BASIC_AUTH.pattern,
        literals="://",
    ),
    _rule(
        "CloudantDetector",
        "Cloudant Credentials",
        _assignment(_CLOUDANT, _CLOUDANT_KEY, r"([0-9a-f]{64})"),
        _assignment(_CLOUDANT, _CLOUDANT_KEY, r"([a-z]{24})"),
        re.compile(r"(?:https?\:\/\/)[\w\-]+\:([0-9a-f]{64})\@[\w\-]+\.cloudant\.com", re.IGNORECASE),
        re.compile(r"(?:https?\:\/\/)[\w\-]+\:([a-z]{24})\@[\w\-]+\.cloudant\.com", re.IGNORECASE),
        gate=r"cl(?:oudant\.com|(?:oudant|ou|)[_-]?(?:api|)(?:key|pw|pass|token))",
        literals="cl",
        folded=True,
    ),
    _rule(
        "DiscordBotTokenDetector",
        "Discord Bot Token",
        r"[MNO][a-zA-Z\d_-]{23,25}\.[a-zA-Z\d_-]{6}\.[a-zA-Z\d_-]{27}",
        gate=r"\.[a-zA-Z\d_-]{6}\.[a-zA-Z\d_-]{27}",
        literals=".",
    ),
    _rule(
        "GitHubTokenDetector",
        "GitHub Token",
        r"(ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9_]{36}",
        gate=r"gh[pousr]_[A-Za-z0-9_]{36}",
        literals="gh",
    ),
    _rule(
        "GitLabTokenDetector",
        "GitLab Token",
        *_GITLAB,
        gate=r"gl[a-z]+-[A-Za-z0-9_\-]{20}|GR1348941",
        literals="GR1348941 gl",
    ),
    _rule(
        "IbmCloudIamDetector",
        "IBM Cloud IAM Key",
        _assignment(
            r"(?:ibm(?:_|-|)cloud(?:_|-|)iam|cloud(?:_|-|)iam|ibm(?:_|-|)cloud|ibm(?:_|-|)iam|ibm|iam|cloud|)"
            r"(?:_|-|)(?:api|)",
            r"(?:key|pwd|password|pass|token)",
            r"([a-zA-Z0-9_\-]{44}(?![a-zA-Z0-9_\-]))",
        ),
        gate=_LONG_RUN,
        literals="",
        folded=True,
        worded=True,
    ),
    _rule(
        "IbmCosHmacDetector",
        "IBM COS HMAC Credentials",
        _assignment(
            r"(?:(?:ibm)?[-_]?cos[-_]?(?:hmac)?|)",
            r"(?:secret[-_]?(?:access)?[-_]?key)",
            r"([a-f0-9]{48}(?![a-f0-9]))",
        ),
        gate=_LONG_RUN,
        literals="",
        folded=True,
        worded=True,
    ),
    _rule("IPPublicDetector", "Public IP (ipv4)", _IP, gate=r"\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]", literals="."),
    _rule(
        "JwtTokenDetector",
        "JSON Web Token",
        r"eyJ[A-Za-z0-9-_=]+\.[A-Za-z0-9-_=]+\.?[A-Za-z0-9-_.+/=]*?",
        gate=r"eyJ[A-Za-z0-9-_=]+\.",
        literals="eyJ",
        accepts=_is_jwt,
    ),
    _rule(
        "MailchimpDetector",
        "Mailchimp Access Key",
        r"[0-9a-z]{32}-us[0-9]{1,2}",
        gate=r"-us[0-9]",
        literals="-us",
    ),
    _rule(
        "NpmDetector",
        "NPM tokens",
        r"\/\/.+\/:_authToken=\s*((npm_.+)|([A-Fa-f0-9-]{36})).*",
        gate=r"/:_authToken=",
        literals="/:_authToken=",
    ),
    _rule(
        "OpenAIDetector",
        "OpenAI Token",
        r"sk-[A-Za-z0-9-_]*[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}",
        gate=r"T3BlbkFJ",
        literals="T3BlbkFJ",
    ),
    _rule(
        "PrivateKeyDetector",
        "Private Key",
        *_PRIVATE_KEYS,
        gate=r"PRIVATE KEY|PuTTY-User-Key-File-2",
        literals="KEY PuTTY",
    ),
    _rule(
        "PypiTokenDetector",
        "PyPI Token",
        r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9-_]{70,}",
        r"pypi-AgENdGVzdC5weXBpLm9yZw[A-Za-z0-9-_]{70,}",
        gate=r"pypi-AgE",
        literals="pypi-AgE",
    ),
    _rule(
        "SendGridDetector",
        "SendGrid API Key",
        r"SG\.[a-zA-Z0-9_-]{22}\.[a-zA-Z0-9_-]{43}",
        gate=r"SG\.",
        literals="SG.",
    ),
    _rule(
        "SlackDetector",
        "Slack Token",
        re.compile(r"xox(?:a|b|p|o|s|r)-(?:\d+-)+[a-z0-9]+", re.IGNORECASE),
        re.compile(r"https://hooks\.slack\.com/services/T[a-zA-Z0-9_]+/B[a-zA-Z0-9_]+/[a-zA-Z0-9_]+", re.IGNORECASE),
        gate=r"xox[abposr]-|hooks\.slack\.com/",
        literals="xox hooks.slack",
        folded=True,
    ),
    _rule(
        "SoftlayerDetector",
        "SoftLayer Credentials",
        _assignment(
            r"(?:softlayer|sl)(?:_|-|)(?:api|)", r"(?:key|pwd|password|pass|token)", r"([a-z0-9]{64})"
        ),
        re.compile(
            r"(?:http|https)://api.softlayer.com/soap/(?:v3|v3.1)/([a-z0-9]{64})", re.IGNORECASE
        ),
        gate=r"(?:softlayer|sl)[_-]?(?:api|)[_-]?(?:key|pwd|pass|token)|/soap/v3",
        literals="sl softlayer",
        folded=True,
    ),
    _rule(
        "SquareOAuthDetector",
        "Square OAuth Secret",
        r"sq0csp-[0-9A-Za-z\\\-_]{43}",
        gate=r"sq0csp-",
        literals="sq0csp-",
    ),
    _rule(
        "StripeDetector",
        "Stripe Access Key",
        r"(?:r|s)k_live_[0-9a-zA-Z]{24}",
        gate=r"k_live_",
        literals="k_live_",
    ),
    _rule(
        "TelegramBotTokenDetector",
        "Telegram Bot Token",
        r"\d{8,10}:[0-9A-Za-z_-]{35}",
        gate=r":[0-9A-Za-z_-]{35}",
        literals=":",
    ),
    _rule(
        "TwilioKeyDetector",
        "Twilio API Key",
        r"AC[a-z0-9]{32}",
        r"SK[a-z0-9]{32}",
        gate=r"AC[a-z0-9]{32}|SK[a-z0-9]{32}",
        literals="AC SK",
    ),
)  # fmt: skip

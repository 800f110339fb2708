from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from deploykit.model import UsageError
from deploykit.settings.loader import SettingsError, load


def mistakes(root) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as raised:
        load(root, environ={})
    return raised.value.details


def test_every_mistake_is_reported_at_once_with_its_line(repo):
    root = repo(
        {
            "pyproject.toml": """
            [tool.deploykit]
            app = "Shop"
            coverage = 3
            [tool.deploykit.service]
            comand = "x"
            replicas = "3"
            smoke = ["/a", { path = "b" }]
            health = 3
            [tool.deploykit.environments.local]
            target = "proces"
            preflight = [
              "target",
              "clean-tre",
            ]
            thresholds.p95_ms = inf
            [[tool.deploykit.security.audit.ignore]]
            id = "A"
            until = "2031-02-30"
            [tool.deploykit.database]
            url = "postgresql://localhost/x"
            """
        }
    )
    found = [line.split(";")[0] for line in mistakes(root)]
    assert found == [
        'pyproject.toml:2: app: "Shop" is not allowed',
        "pyproject.toml:3: coverage: 3 is not allowed",
        'pyproject.toml:5: service.comand: there is no such setting, did you mean "command"?',
        'pyproject.toml:6: service.replicas: "3" is not allowed',
        'pyproject.toml:7: service.smoke[1].path: "b" is not allowed',
        "pyproject.toml:8: service.health: 3 is not allowed",
        'pyproject.toml:10: environments.local.target: "proces" is not allowed, did you mean "process"?',
        'pyproject.toml:13: environments.local.preflight[1]: "clean-tre" is not allowed, did you mean "clean-tree"?',
        "pyproject.toml:15: environments.local.thresholds.p95_ms: Infinity is not allowed",
        "pyproject.toml:16: security.audit.ignore[0].reason: is missing",
        'pyproject.toml:18: security.audit.ignore[0].until: "2031-02-30" is not a day of the calendar',
        'pyproject.toml:20: database.url: "postgresql://localhost/x" is not allowed',
    ]


def test_a_mistake_says_what_is_allowed(repo):
    root = repo(
        {
            "pyproject.toml": """
            [tool.deploykit]
            app = 1
            service.replicas = 65
            service.start_timeout = 0
            environments.local.strategy = "blue"
            environments.local.thresholds.requests = 0
            board = 1
            packages = "shop"
            lint.import_contracts = "yes"
            security.audit.max_age_days = 0
            security.secrets.baselin = ""
            """
        }
    )
    allowed = [line.partition("; allowed: ")[2] for line in mistakes(root)]
    assert allowed == [
        "lower-case letters, digits and hyphens, a letter first, 40 at most",
        "a whole number from 1 to 64",
        'a number of seconds greater than 0 and at most 86400, or a text such as "10s", "5m" or "2h"',
        '"blue-green", "rolling", "canary", "recreate"',
        "a whole number from 1 to 1000000",
        "a table of url, insecure, token_variable",
        "a list, each entry: text in quotes",
        "true or false",
        "a whole number of at least 1",
        "baseline, exclude",
    ]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("service.command = 'gunicorn app:app && true'", "&& has no meaning"),
        ("service.command = 'gunicorn -b :$PORT app:app'", "$PORT is not replaced, write {port}"),
        ('service.command = "gunicorn \'app"', "can't be split into words"),
        ("service.command = '  '", "is empty"),
        ("service.variables.PORT = '80'", "the kit chooses the port"),
        ("service.variables.'A-B' = 'x'", "is not a variable's name"),
        ('environments.local.variables.A = "a\\u0000b"', "NUL"),
        ("database.variable = 'A B'", "is not a variable's name"),
        ("database.migrations = 'nowhere'", 'there is no "nowhere"'),
        ("database.migrations = 'empty'", '"empty" has no env.py'),
        ("database = { url = 'none', migrations = 'alembic.ini' }", 'is "none", but there are migrations'),
        ("service.smoke = [{ status = 204 }]", "is a request or a command"),
        ("service.smoke = [{ path = '/', command = 'pytest' }]", "is a request or a command"),
        ("service.smoke = [{ command = 'pytest', method = 'POST' }]", "belongs to a request, and this is a command"),
        ('service.smoke = [{ command = "pytest \'" }]', "can't be split into words"),
        ("service.smoke = [{ path = '/', headers = { 'A B' = 'x' } }]", "is not a header that HTTP allows"),
        ('service.smoke = [{ path = "/", headers = { A = "x\\r\\nB: y" } }]', "is not a header that HTTP allows"),
        ("service.smoke = [{ path = '/', method = 'post' }]", 'did you mean "POST"?'),
        ("service.smoke = ['orders']", "is not allowed"),
        ("environments.staging.watch = ['10s', '5m']", "is not allowed"),
        ("environments.staging.watch = ['soon']", "is not allowed"),
        ("environments.staging.watch = 10", "is not allowed"),
        ("environments.staging.thresholds.window = 10", "there is no such setting"),
        ("service.requirements = 'no.lock'", 'there is no file "no.lock"'),
        ("tests.requirements = ['no.lock']", 'there is no file "no.lock"'),
        ("environments.local.thresholds.error_rate = 1", "every request fails would pass"),
        ("environments.local.evidence = ['tests']", 'there is no gate "tests", did you mean "test"?'),
        ("environments = { a = { port = 80 }, b = { port = 80 } }", "80 is the port of environment a too"),
        ("environments.'A B' = {}", "this name is not allowed"),
        ("environments.local.url = 'localhost'", '"localhost" is not a URL'),
        ("board.url = 'me'", '"me" is not a URL'),
        ("command = 'x'", 'did you mean "service.command"?'),
        ("environments = 3", "3 is not allowed"),
        ("environments.local = 3", "3 is not allowed"),
        ("zzzzzz = 3", "there is no such setting;"),
        ("processes.worker.command = 'work --port {port}'", "takes no requests, so there is no {port}"),
        ('processes.worker.command = "work \'"', "can't be split into words"),
        ("processes.web.command = 'work'", "is what the service's own instances are called"),
        ("processes.worker = { replicas = 2 }", "command"),
        ("accessories.db = { image = 'i', health = \"'\" }", "can't be split into words"),
        ("accessories.db = { image = 'i', secrets = ['A B'] }", "is not a variable's name"),
        ("accessories.db = { image = 'i', secrets = ['A'], variables = { A = 'x' } }", "A is among the variables, too"),
        ("accessories.db = { image = 'i', environments = ['stagin'] }", "there is no environment 'stagin'"),
        ("accessories.web.image = 'i'", "is what the app's own instances are called"),
        ("accessories.db.folder = '/data'", "image"),
        ("docker.volumes = { uploads = 'srv' }", "docker.volumes"),
        ("security.audit.severity = 'medium'", "moderate"),
        ("service.persistent = ['../var']", '"../var" is not below the repository'),
        ("service.persistent = ['/srv/var']", '"/srv/var" is not below the repository'),
        ("service.persistent = ['./']", '"./" is not below the repository'),
        ("service.persistent = ['var', 'var/uploads/']", '"var/uploads/" and "var" are one in the other'),
    ],
)
def test_what_types_cannot_say_is_a_mistake_too(repo, line, wanted):
    root = repo({"pyproject.toml": f"[tool.deploykit]\n\n{line}\n", "alembic.ini": "", "empty/x": ""})
    found = mistakes(root)
    assert [item for item in found if wanted in item and item.startswith("pyproject.toml:3: ")], found
    assert len(found) == 1


def test_a_wrong_variable_never_shows_its_value(repo):
    root = repo({"pyproject.toml": "[tool.deploykit.service.variables]\nTOKEN = 123456789\n"})
    assert mistakes(root) == (
        "pyproject.toml:2: service.variables.TOKEN: a value of type int is not allowed; allowed: text in quotes",
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[tool.deploykit]\napp = \n", "pyproject.toml:2: column 7: Invalid value: app ="),
        ("[tool.deploykit]\napp = 'a", "pyproject.toml:2: column 9: "),
        ("[a]\n[a]\n", "pyproject.toml:2: column 3: Cannot declare"),
        ("a = " + "[" * 5000, "pyproject.toml"),
    ],
)
def test_a_syntax_error_has_line_and_column(repo, text, wanted):
    with pytest.raises(SettingsError, match="not valid TOML") as raised:
        load(repo({"pyproject.toml": text}))
    assert raised.value.details[0].startswith(wanted)
    assert raised.value.exit_code == 3


def test_a_file_that_is_not_utf8_is_named_with_its_line(repo):
    root = repo({})
    (root / "pyproject.toml").write_bytes(b"[project]\nname = '\xff'\n")
    with pytest.raises(SettingsError) as raised:
        load(root)
    assert raised.value.details == ("pyproject.toml:2: a byte that is not UTF-8 (0xff)",)


def test_the_table_itself_must_be_a_table(repo):
    assert mistakes(repo({"pyproject.toml": "[tool]\ndeploykit = 3\n"})) == (
        "pyproject.toml:2: tool.deploykit: is not a table; allowed: [tool.deploykit]",
    )
    assert load(repo({"pyproject.toml": "tool = 3\n"}), environ={}).settings.app == "shop"


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        load(tmp_path / "nowhere")


def test_an_unreadable_pyproject_is_a_usage_error(tmp_path):
    (tmp_path / "pyproject.toml").mkdir()
    with pytest.raises(SettingsError, match="can't be read"):
        load(tmp_path)


def test_a_users_environment_goes_over_the_default_field_by_field(repo):
    root = repo(
        {
            "pyproject.toml": """
            [tool.deploykit.environments.local]
            port = 8080
            [tool.deploykit.environments.demo]
            branch = "demo"
            """
        }
    )
    loaded = load(root, environ={})
    local = loaded.environment("local")
    assert (local.target, local.port, local.evidence) == ("process", 8080, ())
    assert local.preflight == ("migration-heads", "settings", "variables", "target")
    assert loaded.environment("staging").branch == "main"
    assert loaded.environment("development").branch == "develop"
    assert loaded.environment("production").target == "docker"
    assert loaded.environment("demo").branch == "demo"


def test_an_unknown_environment_is_answered_with_the_names_and_the_nearest(repo):
    with pytest.raises(UsageError, match="no environment 'stagin', did you mean 'staging'") as raised:
        load(repo({}), environ={}).environment("stagin")
    assert raised.value.details == ("environments: local, development, staging, production",)


def test_a_setting_is_located_by_its_line_or_that_of_its_table(repo):
    root = repo({"pyproject.toml": "[project]\nname = 'x'\n\n[tool.deploykit.service]\n\ncommand = 'x {port}'\n"})
    loaded = load(root, environ={})
    assert loaded.locate("service.command") == "pyproject.toml:6"
    assert loaded.locate(("service", "health")) == "pyproject.toml:4"
    assert loaded.locate("board.url") == "pyproject.toml:4"
    assert loaded.file == root / "pyproject.toml"


def test_without_any_settings_nothing_but_the_command_is_missing(repo):
    loaded = load(repo({}), environ={})
    assert loaded.file is None
    assert loaded.locate("app") == "pyproject.toml"
    assert 'app = "shop" (from the folder\'s name)' in loaded.assumed
    with pytest.raises(UsageError, match="no command is set that starts shop") as raised:
        loaded.require_command()
    assert "looked for" in raised.value.details[0]
    assert "[tool.deploykit.service]\ncommand = " in raised.value.next_step


def test_the_command_is_split_into_words(repo):
    root = repo({"pyproject.toml": "[tool.deploykit]\nservice.command = \"gunicorn 'a:make()' -b :{port}\"\n"})
    assert load(root, environ={}).require_command() == ("gunicorn", "a:make()", "-b", ":{port}")


def test_a_command_without_port_is_assumed_to_read_the_variable(repo):
    root = repo({"pyproject.toml": "[tool.deploykit]\nservice.command = 'serve'\n"})
    assert any("read its port from the variable PORT" in line for line in load(root, environ={}).assumed)


def test_smoke_checks_may_be_paths_or_tables(repo):
    root = repo(
        {"pyproject.toml": "[tool.deploykit.service]\nsmoke = ['/', { path = '/a', status = 204, contains = 'x' }]\n"}
    )
    smoke = load(root, environ={}).settings.service.smoke
    assert [(check.path, check.status, check.contains) for check in smoke] == [("/", 200, ""), ("/a", 204, "x")]


def test_a_date_of_toml_is_a_date_of_the_settings(repo):
    root = repo(
        {
            "pyproject.toml": """
            [[tool.deploykit.security.audit.ignore]]
            id = "PYSEC-1"
            reason = "not reachable"
            until = 2031-02-28
            """
        }
    )
    assert load(root, environ={}).settings.security.audit.ignore[0].until == "2031-02-28"


def test_settings_errors_survive_pickling(repo):
    with pytest.raises(SettingsError) as raised:
        load(repo({"pyproject.toml": "[tool.deploykit]\nx = 1\n"}))
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (type(copy), copy.details) == (SettingsError, raised.value.details)


def test_importing_the_loader_costs_neither_pydantic_nor_discovery():
    code = (
        "import sys, deploykit.settings, deploykit.settings.loader\n"
        "heavy = {'pydantic', 'deploykit.settings.discover', 'deploykit.settings.models'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_who_may_speak_for_clients_and_where_a_token_may_go_is_looked_at(repo):
    root = repo(
        {
            "pyproject.toml": """
            [tool.deploykit]
            app = "shop"
            [tool.deploykit.service]
            health_host = "shop example"
            [tool.deploykit.edge]
            trusted_proxies = ["10.0.0.1/8", "0.0.0.0/0", "::/0", "proxy", "10.0.0.7", "2001:db8::/32", "2001:db8::7"]
            [tool.deploykit.board]
            url = "http://board.example.org"
            [tool.deploykit.image]
            token_host = "https://auth.example.org"
            """
        }
    )
    networks = 'addresses and networks, such as "10.0.0.7", "10.0.0.0/24" and "2001:db8::/32"'
    plain = "is plain http, so anybody on the way could read the board's token"
    assert [line.partition(": ")[2] for line in mistakes(root)] == [
        'service.health_host: "shop example" is not allowed; allowed: a Host header, such as "shop.example.org"',
        'edge.trusted_proxies[0]: "10.0.0.1/8" is an address within a network; allowed: "10.0.0.0/8"',
        f'edge.trusted_proxies[1]: "0.0.0.0/0" is everybody, who could then say to be anybody; allowed: {networks}',
        f'edge.trusted_proxies[2]: "::/0" is everybody, who could then say to be anybody; allowed: {networks}',
        f'edge.trusted_proxies[3]: "proxy" is no address and no network; allowed: {networks}',
        f"board.url: {plain}; allowed: https://…, or insecure = true beside it",
        'image.token_host: "https://auth.example.org" is not allowed; allowed: a host, such as "auth.example.org"',
    ]


@pytest.mark.parametrize("board", ["http://localhost", "http://127.0.0.1:8000", "https://board.example.org", "self"])
def test_a_board_on_this_machine_or_by_https_is_right(repo, board):
    text = f"""
        [tool.deploykit]
        app = "shop"
        [tool.deploykit.edge]
        trusted_proxies = ["10.0.0.7", "2001:db8::/32"]
        [tool.deploykit.board]
        url = "{board}"
        """
    assert load(repo({"pyproject.toml": text}), environ={}).settings.board.url == board

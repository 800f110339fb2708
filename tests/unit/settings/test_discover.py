from __future__ import annotations

import pytest

from deploykit.model import UsageError
from deploykit.settings.loader import load

FLASK = "from flask import Flask\napp = Flask(__name__)\n"
FASTAPI = "import fastapi\napi: fastapi.FastAPI = fastapi.FastAPI()\n"
STARLETTE = "from starlette.applications import Starlette\napp = Starlette(routes=[])\n"
FACTORY = "from flask import Flask\ndef create_app(config=None):\n    app = Flask(__name__)\n    return app\n"
WSGI = "def application(environ, start_response):\n    return []\n"
ASGI = "async def app(scope, receive, send):\n    pass\n"


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"app.py": FLASK, "requirements.txt": "gunicorn==23"}, "gunicorn --bind 127.0.0.1:{port} app:app"),
        ({"app.py": FLASK, "requirements.txt": "Waitress>=3"}, "waitress-serve --listen=127.0.0.1:{port} app:app"),
        ({"app.py": FLASK, "requirements.txt": "flask"}, "flask --app app:app run --host 127.0.0.1 --port {port}"),
        ({"src/shop/web.py": FACTORY, "Pipfile": "[packages]\ngunicorn='*'"}, "gunicorn --bind 127.0.0.1:{port} 'shop.web:create_app()'"),
        ({"src/shop/__init__.py": FACTORY, "setup.py": "from setuptools import setup\nsetup(install_requires=['waitress'])"}, "waitress-serve --listen=127.0.0.1:{port} --call shop:create_app"),
        ({"shop/__init__.py": "", "shop/main.py": FASTAPI, "pyproject.toml": "[project]\nname='x'\ndependencies=['uvicorn[standard]']"}, "uvicorn shop.main:api --host 127.0.0.1 --port {port}"),
        ({"main.py": FASTAPI, "requirements.txt": "fastapi[standard]~=0.1"}, "uvicorn main:api --host 127.0.0.1 --port {port}"),
        ({"main.py": STARLETTE, "setup.cfg": "[options]\ninstall_requires =\n  hypercorn\n"}, "hypercorn --bind 127.0.0.1:{port} main:app"),
        ({"wsgi.py": WSGI, "requirements.txt": "gunicorn"}, "gunicorn --bind 127.0.0.1:{port} wsgi:application"),
        ({"asgi.py": ASGI, "requirements.txt": "uvicorn"}, "uvicorn asgi:app --host 127.0.0.1 --port {port}"),
        ({"asgi.py": ASGI, "requirements.txt": "daphne"}, "daphne --bind 127.0.0.1 --port {port} asgi:app"),
        ({"app.py": FACTORY + "app = create_app()\n", "requirements.txt": "gunicorn"}, "gunicorn --bind 127.0.0.1:{port} app:app"),
        ({"serve.py": "import os\nif __name__ == '__main__':\n    print(os.environ['PORT'])\n"}, "python serve.py"),
        ({"manage.py": "import django"}, "python manage.py runserver --noreload 127.0.0.1:{port}"),
    ],
)  # fmt: skip
def test_the_command_is_found_by_the_app_and_the_server_there_is(repo, files, command):
    loaded = load(repo(files), environ={})
    assert loaded.settings.service.command == command
    assert any(sentence.startswith("service.command = ") for sentence in loaded.assumed)


def test_django_runs_by_the_interface_that_the_server_has(repo):
    files = {
        "site_/__init__.py": "",
        "proj/__init__.py": "",
        "proj/asgi.py": "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n",
        "proj/wsgi.py": "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
        "proj/urls.py": "from django.urls import path\nurlpatterns = [path('healthz/', None)]\n",
        "requirements.txt": "django\ngunicorn\n",
    }
    loaded = load(repo(files), environ={})
    assert loaded.settings.service.command == "gunicorn --bind 127.0.0.1:{port} proj.wsgi:application"
    assert loaded.settings.service.health == "/healthz/"
    loaded = load(repo({"requirements.txt": "django\nuvicorn\n"}), environ={})
    assert loaded.settings.service.command.startswith("uvicorn proj.asgi:application")


def test_an_app_without_a_server_says_which_servers_were_looked_for(repo):
    loaded = load(repo({"main.py": FASTAPI, "requirements.txt": "fastapi"}), environ={})
    with pytest.raises(UsageError) as raised:
        loaded.require_command()
    assert raised.value.details == (
        "found main.py: a FastAPI app (main:api), but no server for it among the dependencies",
        "looked for uvicorn, hypercorn in pyproject.toml, setup.cfg, setup.py, Pipfile and requirements files",
    )


def test_an_app_below_main_or_with_broken_syntax_is_not_taken(repo):
    files = {
        "app.py": "from flask import Flask\nif __name__ == '__main__':\n    app = Flask('x')\n",
        "broken.py": "app = Flask(\n",
        "needs.py": "def create_app(config):\n    return Flask('x')\n",
        "tests/app.py": FLASK,
        "requirements.txt": "gunicorn",
    }
    with pytest.raises(UsageError):
        load(repo(files), environ={}).require_command()


def test_the_users_code_is_never_run(repo):
    root = repo({"app.py": FLASK + "open('ran', 'w')\nraise SystemExit\n", "setup.py": "open('ran', 'w')\n"})
    load(root, environ={})
    assert not (root / "ran").exists()


@pytest.mark.parametrize(
    ("text", "health"),
    [
        ("@app.route('/healthz')\ndef h(): ...", "/healthz"),
        ("@app.get(\n    '/up'\n)\ndef h(): ...", "/up"),
        ("routes = [Route('/health', h)]", "/health"),
        ("app.add_url_rule(rule='/ping', view_func=h)", "/ping"),
        ("if environ['PATH_INFO'] == '/health': ...", "/health"),
        ("match path:\n  case '/live': ...", "/live"),
        ("@app.route('/')\n@app.route('/healthz/')\ndef h(): ...", "/healthz/"),
        ("@app.route('/')\ndef h(): ...", "/"),
        ("DOC = 'see /healthz'\nX = '/healthz'", "/health"),
    ],
)
def test_the_health_path_is_found_in_the_routes(repo, text, health):
    loaded = load(repo({"app.py": text}), environ={})
    assert loaded.settings.service.health == health


def test_a_default_health_path_says_that_no_route_was_found(repo):
    assert (
        'service.health = "/health" (the default; no such route was found in the sources)'
        in load(repo({}), environ={}).assumed
    )


@pytest.mark.parametrize(
    ("files", "environ", "wanted"),
    [
        ({}, {}, ("none", "", "")),
        ({"requirements.txt": "sqlalchemy\npsycopg[binary]"}, {}, ("embedded", "postgresql+psycopg", "")),
        ({"requirements.txt": "sqlalchemy\npsycopg2-binary"}, {}, ("embedded", "postgresql+psycopg2", "")),
        ({"requirements.txt": "sqlalchemy\nasyncpg"}, {"DATABASE_URL": "x"}, ("env:DATABASE_URL", "", "")),
        ({"requirements.txt": "psycopg", "alembic.ini": ""}, {}, ("embedded", "", "alembic.ini")),
        ({"requirements.txt": "psycopg", "migrations/env.py": "import alembic"}, {}, ("embedded", "", "migrations")),
        ({"requirements.txt": "psycopg", "migrations/env.py": "x = 1"}, {}, ("none", "", "")),
        ({"alembic/env.py": "from alembic import context"}, {}, ("env:DATABASE_URL", "", "alembic")),
        ({"shop/__init__.py": "", "shop/migrations/env.py": "alembic"}, {}, ("env:DATABASE_URL", "", "shop/migrations")),
        ({"requirements.txt": "sqlalchemy"}, {}, ("none", "", "")),
        ({"alembic.ini": "", "pyproject.toml": "[tool.deploykit]\ndatabase.url='none'"}, {}, ("none", "", "")),
        ({"requirements.txt": "sqlmodel\npsycopg", "pyproject.toml": "[tool.deploykit]\ndatabase={url='embedded',driver=''}"}, {}, ("embedded", "", "")),
    ],
)  # fmt: skip
def test_the_database_is_found_by_migrations_and_drivers(repo, files, environ, wanted):
    database = load(repo(files), environ=environ).settings.database
    assert (database.url, database.driver, database.migrations) == wanted


def test_packages_lock_and_tests_are_found(repo):
    files = {
        "src/shop/__init__.py": "",
        "tests/test_x.py": "",
        "noxfile.py": "",
        "tasks.py": "",
        "requirements.lock": "flask==3",
        "requirements-test.txt": "pytest",
    }
    settings = load(repo(files), environ={}).settings
    assert settings.packages == settings.coverage.source == ("shop",)
    assert settings.lint.typing_paths == ("src/shop",)
    assert settings.tests.paths == ("tests",)
    assert settings.tests.requirements == ("requirements-test.txt",)
    assert settings.service.requirements == settings.security.audit.requirements == "requirements.lock"


@pytest.mark.parametrize(
    ("pyproject", "field", "wanted"),
    [
        ("[dependency-groups]\ntests = []", "groups", ("tests",)),
        ("[project]\nname='x'\n[project.optional-dependencies]\ndev = []", "extras", ("dev",)),
        ("[tool.pytest.ini_options]\ntestpaths = ['a', 'b']", "paths", ("a", "b")),
        ("[tool.pytest.ini_options]\ntestpaths = 'a b'", "paths", ("a", "b")),
        ("[tool.deploykit.tests]\ngroups = []\n[dependency-groups]\ntest = []", "groups", ()),
    ],
)
def test_what_the_tests_need_is_found(repo, pyproject, field, wanted):
    assert getattr(load(repo({"pyproject.toml": pyproject}), environ={}).settings.tests, field) == wanted


def test_what_is_set_is_never_assumed(repo):
    files = {
        "app.py": FLASK,
        "alembic.ini": "",
        "requirements.txt": "gunicorn\nsqlalchemy\npsycopg",
        "pyproject.toml": (
            """
        [tool.deploykit]
        app = "mine"
        packages = []
        coverage.source = []
        lint.typing_paths = []
        tests = { paths = [], groups = [] }
        security.audit.requirements = ""
        database = { url = "env:DB", migrations = "" }
        service = { command = "run {port}", health = "/x", requirements = "" }
        """
        ),
    }
    loaded = load(repo(files), environ={})
    assert loaded.assumed == ()
    assert loaded.settings.app == "mine"


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"pyproject.toml": "[project]\nname = 'The_Shop.web'"}, "the-shop-web"),
        ({"pyproject.toml": "[tool.poetry]\nname = '3shops'"}, "shops"),
        ({"setup.cfg": "[metadata]\nname = Shop"}, "shop"),
        ({"setup.cfg": "no section\n"}, "shop"),
        ({"pyproject.toml": "[project]\nname = '" + "long-" * 20 + "'"}, "long-long-long-long-long-long-long-long"),
        ({"pyproject.toml": "[project]\nname = '___'"}, "app"),
    ],
)
def test_the_apps_name_is_brought_into_form(repo, files, name):
    assert load(repo(files), environ={}).settings.app == name

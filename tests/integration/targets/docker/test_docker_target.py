"""Docker in particular: what stands in a container's configuration, how it is reached, and over which wire."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from target_contract import SERVE, SLEEP, ask, one, until

from deploykit.model import DeploykitError, Labels, Secret, UsageError
from deploykit.model.errors import Cancelled
from deploykit.process.cancellation import Cancellation
from deploykit.process.docker import Engine
from deploykit.targets.docker import Accessory, DockerTarget, Limits
from deploykit.targets.interface import InstanceSpec, InstanceState, OneOff


@pytest.fixture
def labels(app):
    return Labels(app=app, environment="test", release="r1", version="1.2.3", digest="sha256:00", anchor="abc")


@pytest.fixture
def spec(labels, base):
    def make(source=SLEEP, *arguments, **values):
        argv = ("python3", "-u", "-c", source, *arguments)
        return InstanceSpec(
            **{
                "labels": labels,
                "replica": 0,
                "argv": argv,
                "cwd": Path("/"),
                "variables": {},
                "image": base,
                **values,
            }
        )

    return make


def container(engine, app, name="r1-web-0"):
    return engine.find_container(f"{app}.test.{name}")


# ---- what it is made of


def test_a_container_carries_all_labels_and_runs_the_image_by_its_id(target, engine, app, spec, base):
    target.start(spec())
    found = container(engine, app)
    kept = {name.removeprefix("deploykit."): value for name, value in found["Config"]["Labels"].items()}
    assert {"app", "environment", "release", "version", "digest", "anchor", "process", "replica"} <= set(kept)
    assert (kept["release"], kept["digest"], kept["anchor"], kept["process"]) == ("r1", "sha256:00", "abc", "web")
    assert found["Image"] == engine.find_image(base)["Id"]


def test_secrets_are_in_files_for_the_program_alone_and_in_nothing_that_docker_shows(target, engine, app, spec):
    value = 'hunter2\'s "word"\nand $HOME `too`'
    source = (
        "import hashlib, os, stat; from pathlib import Path\n"
        "file = Path('/run/deploykit/TOKEN'); value = os.environ['TOKEN']; assert value == file.read_text()\n"
        "print(hashlib.sha256(value.encode()).hexdigest(), oct(stat.S_IMODE(file.stat().st_mode)))\n"
    )
    target.start(spec(source + SLEEP, variables={"TOKEN": Secret(value), "WORD": "plain"}))
    until(lambda: len(target.logs("r1-web-0")) >= 1)
    assert target.logs("r1-web-0")[0] == f"{hashlib.sha256(value.encode()).hexdigest()} 0o400"
    shown = json.dumps(container(engine, app))
    assert "hunter2" not in shown
    assert "WORD=plain" in shown


def test_secrets_belong_to_the_user_that_the_image_names(target, engine, sdk, app, spec, base):
    made = engine.create_container(base, ["true"], name=f"{app}-user", labels={"deploykit.app": app})
    image = sdk.commit(made, repository=f"dk-user-{app}", changes=["USER www-data"])["Id"]
    engine.remove_container(made)
    try:
        source = "import os, stat; print(os.getuid(), len(os.environ['TOKEN']), os.stat('/run/deploykit/TOKEN').st_uid)"
        target.start(spec(source, image=image, variables={"TOKEN": Secret("hunter2")}))
        assert list(until(lambda: target.logs("r1-web-0"))) == ["33 7 33"]
        target.stop("r1-web-0", timeout=1)
    finally:
        engine.remove_image(image, force=True)


def test_a_cancellation_ends_a_one_off_command(engine, app, spec):
    cancellation = Cancellation()
    target = DockerTarget(app, "test", engine, wait=cancellation.wait)
    one_off = OneOff(labels=spec().labels, argv=("python3", "-c", SLEEP), cwd=Path("/"), image=spec().image)
    with pytest.raises(Cancelled):
        target.run(one_off, on_line=lambda _line: cancellation.cancel("cancelled by a test"))
    assert engine.containers({"deploykit.app": app}) == []


def test_limits_and_the_restart_policy_reach_the_engine(engine, app, spec):
    target = DockerTarget(app, "test", engine, limits={"web": Limits(memory=64_000_000, cpus=0.5, pids=50)})
    target.start(spec())
    host = container(engine, app)["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (64_000_000, 500_000_000, 50)
    assert host["RestartPolicy"]["Name"] == "no"
    target.keep_alive("r1-web-0", enabled=True)
    assert container(engine, app)["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    target.keep_alive("r1-web-0", enabled=False)
    assert container(engine, app)["HostConfig"]["RestartPolicy"]["Name"] == "no"


POWERS = "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith(('CapBnd', 'NoNewPrivs'))))"
NONE, SETUID_AND_KILL = f"{0:016x} 1", f"{1 << 7 | 1 << 5:016x} 1"
"""The capabilities that a process and its children may ever have, and that they gain no privileges: capabilities(7)."""


def test_what_runs_has_no_capabilities_but_those_that_are_named_and_gains_none(target, engine, app, spec):
    """Of a root in a container, which is what an image without a USER has."""
    target.start(spec(POWERS + "\n" + SLEEP))
    target.start(spec(POWERS + "\n" + SLEEP, process="worker"))
    one_off = OneOff(labels=spec().labels, argv=("python3", "-c", POWERS), cwd=Path("/"), image=spec().image)
    assert target.run(one_off).output == (NONE,)
    for name in ("r1-web-0", "r1-worker-0"):
        assert until(lambda name=name: target.logs(name))[0] == NONE
    named = DockerTarget(app, "test", engine, capabilities=("SETUID", "KILL"))
    assert named.run(one_off).output == (SETUID_AND_KILL,)
    argv = ("python3", "-c", f"{POWERS}; {SLEEP}")
    for accessory, wanted in (
        (Accessory(name="none", image=spec().image, argv=argv), NONE),
        (Accessory(name="some", image=spec().image, argv=argv, capabilities=("SETUID", "KILL")), SETUID_AND_KILL),
    ):
        target.ensure_accessory(accessory)
        until(lambda accessory=accessory: engine.logs(f"{app}.test.{accessory.name}"))
        assert engine.logs(f"{app}.test.{accessory.name}").decode().split("\n")[0] == wanted


def test_only_the_service_runs_the_healthcheck_of_the_image_which_asks_the_service(
    target, engine, sdk, app, spec, base
):
    made = engine.create_container(base, ["true"], name=f"{app}-health", labels={"deploykit.app": app})
    image = sdk.commit(made, repository=f"dk-health-{app}", changes=["HEALTHCHECK --interval=1h CMD true"])["Id"]
    engine.remove_container(made)
    try:
        for process in ("web", "worker"):
            target.start(spec(image=image, process=process))
        assert container(engine, app)["State"]["Health"]["Status"] == "starting"
        worker = container(engine, app, "r1-worker-0")
        assert worker["Config"]["Healthcheck"]["Test"] == ["NONE"]
        assert "Health" not in worker["State"]
        for name in ("r1-web-0", "r1-worker-0"):
            target.stop(name, timeout=1)
    finally:
        engine.remove_image(image, force=True)


def test_processes_of_one_app_stand_beside_each_other_and_see_each_other(target, spec, app):
    web = target.start(spec(SERVE, "0.0.0.0", "{port}", variables={"WORD": "hello"}))
    until(lambda: ask(web))
    asks = f"import socket; print(socket.create_connection(({f'{app}.test.r1-web-0'!r}, 8000)).makefile().read())"
    target.start(spec(asks, process="worker"))
    until(lambda: one(target, "r1-worker-0").state is InstanceState.EXITED)
    assert list(target.logs("r1-worker-0")) == ["8000 hello"]
    assert {found.process for found in target.instances()} == {"web", "worker"}


def test_an_address_outlives_a_restart_by_the_engine(target, engine, app, spec):
    first = target.start(spec())
    target.keep_alive(first.name, enabled=True)
    engine.kill(f"{app}.test.r1-web-0", "SIGKILL")
    engine.start(f"{app}.test.r1-web-0")
    assert one(target, first.name).host == first.host
    others = [target.start(spec(replica=number)).host for number in (1, 2)]
    assert len({first.host, *others}) == 3


def test_a_container_that_a_killed_kit_made_and_did_not_start_is_made_anew(target, engine, app, spec):
    target._create(spec())
    (half,) = target.instances()
    assert half.state is InstanceState.STARTING
    assert target.start(spec()).state is InstanceState.RUNNING
    assert len(target.instances()) == 1


def test_two_who_start_the_same_instance_get_the_same_one(engine, app, spec):
    DockerTarget(app, "test", engine).start(spec(replica=1))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(DockerTarget(app, "test", engine).start(spec()))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 3
    assert len({instance.pid for instance in found}) == 1


def test_what_is_missing_is_named(target, spec, labels):
    with pytest.raises(DeploykitError, match="does not have the image dk-none:1") as caught:
        target.start(spec(image="dk-none:1"))
    assert caught.value.next_step == "docker pull dk-none:1"
    with pytest.raises(UsageError, match="no image was named"):
        target.start(spec(image=""))
    with pytest.raises(UsageError, match="says no command"):
        target.start(spec(argv=()))
    assert list(target.instances()) == []


def test_a_program_that_is_not_in_the_image_is_a_crash_with_its_words(target, spec):
    target.start(spec(argv=("/no-such-program",)))
    until(lambda: one(target, "r1-web-0").state is InstanceState.EXITED)
    assert one(target, "r1-web-0").exit_code == 127
    assert "/no-such-program" in until(lambda: target.logs("r1-web-0"))[0]


# ---- accessories


def test_an_accessory_is_started_once_and_left_alone_and_its_data_stay(target, engine, app, base, spec):
    source = "import time; open('/data/said', 'a').write('x'); time.sleep(600)"
    redis = Accessory(name="redis", image=base, folder="/data", argv=("python3", "-c", source))
    assert target.ensure_accessory(redis) == "redis"
    before = container(engine, app, "redis")["Id"]
    target.ensure_accessory(redis)
    assert container(engine, app, "redis")["Id"] == before
    target.start(spec("import socket; print(socket.gethostbyname('redis'))"))
    until(lambda: len(target.logs("r1-web-0")) == 1)
    assert next(iter(target.instances())).name == "r1-web-0"
    assert len(target.instances()) == 1
    target.down()
    target.ensure_accessory(redis)
    until(lambda: engine.find_container(f"{app}.test.redis")["State"]["Running"])
    read = OneOff(labels=spec().labels, argv=("true",), cwd=Path("/"), image=base)
    assert target.run(read).exit_code == 0
    code, said = engine.execute(f"{app}.test.redis", ["cat", "/data/said"])
    assert (code, said[:1]) == (0, b"x")


# ---- other wires


def test_a_port_is_published_on_loopback_alone_where_the_network_is_out_of_reach(engine, app, spec):
    target = DockerTarget(app, "test", engine, publish=True)
    instance = target.start(spec(SERVE, "0.0.0.0", "{port}", variables={"WORD": "hello"}))
    assert instance.host == "127.0.0.1"
    assert until(lambda: ask(instance)) == "8000 hello"
    assert instance.edge_address == (instance.inner_host, 8000)
    bound = container(engine, app)["NetworkSettings"]["Ports"]["8000/tcp"]
    assert {each["HostIp"] for each in bound} == {"127.0.0.1"}


@pytest.fixture
def ssh(tmp_path_factory):
    """The argv of an ssh that reaches a real sshd of this test's own, as `vm`."""
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if sshd is None:
        pytest.exit("the Docker tests need sshd: apt-get install openssh-server", 3)
    folder = tmp_path_factory.mktemp("ssh")
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True, timeout=30)
    shutil.copy(folder / "user.pub", folder / "authorized")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    Path("/run/sshd").mkdir(exist_ok=True)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nPasswordAuthentication no\n"
    )
    import getpass

    public = (folder / "host.pub").read_text().split()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    (folder / "config").write_text(
        f"Host vm\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n IdentityFile {folder}/user\n"
        f" UserKnownHostsFile {folder}/known\n IdentitiesOnly yes\n"
    )
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    until(lambda: "listening" in (folder / "log").read_text())
    yield ("ssh", "-F", str(folder / "config"))
    server.terminate()
    server.wait(10)


def test_an_engine_behind_ssh_does_all_of_it(ssh, app, spec):
    engine = Engine("ssh://vm", ssh=ssh)
    target = DockerTarget(app, "test", engine)
    assert list(target.preflight()) == []
    instance = target.start(spec(SERVE, "0.0.0.0", "{port}", variables={"WORD": Secret("hello")}))
    assert until(lambda: ask(instance)) == "8000 hello"
    assert target.start(spec()) == instance
    assert instance.edge_address[1] == 8000
    lines = target.follow(["r1-web-0"])
    engine.execute(f"{app}.test.r1-web-0", ["sh", "-c", "echo followed > /proc/1/fd/1"])
    assert next(lines) == ("r1-web-0", "followed")
    lines.close()
    one_off = OneOff(labels=spec().labels, argv=("echo", "done"), cwd=Path("/"), image=spec().image)
    assert target.run(one_off).output == ("done",)
    assert target.lock("anna", "release", token=1, lease=60) is None
    tunnel = engine._tunnel._process
    engine.close()
    assert tunnel.returncode is not None


def test_a_host_that_ssh_does_not_reach_is_named_with_sshs_own_words(ssh):
    engine = Engine("ssh://nowhere.invalid", ssh=ssh)
    (problem,) = DockerTarget("shop", "test", engine).preflight()
    assert "no ssh connection to nowhere.invalid" in problem.message
    assert "resolve" in problem.message
    assert problem.next_step == "ssh nowhere.invalid docker version"


@pytest.fixture
def tls(tmp_path):
    """(port, folder of certificates) of a TLS front of the engine's socket that asks for a client's certificate."""
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=dk"]
    for name in ("server", "client"):
        subprocess.run(
            [
                *openssl,
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-keyout",
                tmp_path / f"{name}.key",
                "-out",
                tmp_path / f"{name}.crt",
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )
    shutil.copy(tmp_path / "server.crt", tmp_path / "ca.pem")
    shutil.copy(tmp_path / "client.crt", tmp_path / "cert.pem")
    shutil.copy(tmp_path / "client.key", tmp_path / "key.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "client.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    server = socket.create_server(("127.0.0.1", 0))

    def carry(source, to):
        try:
            while data := source.recv(65_536):
                to.sendall(data)
        except OSError:
            pass
        for end in (source, to):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve(plain):
        try:
            with context.wrap_socket(plain, server_side=True) as client, socket.socket(socket.AF_UNIX) as docker:
                docker.connect("/var/run/docker.sock")
                there = threading.Thread(target=carry, args=(client, docker))
                there.start()
                carry(docker, client)
                there.join()
        except OSError:
            plain.close()

    threads = []

    def accept():
        while True:
            try:
                plain, _ = server.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(plain,), daemon=True))
            threads[-1].start()

    thread = threading.Thread(target=accept)
    thread.start()
    yield server.getsockname()[1], tmp_path
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(10)
    for each in threads:
        each.join(10)


def test_an_engine_over_tcp_is_reached_with_certificates_and_not_without(tls, app, spec, monkeypatch):
    port, folder = tls
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # an authority that is not the engine's
        monkeypatch.setenv(name, str(folder / "client.crt"))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    environ = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(folder)}
    engine = Engine(f"tcp://127.0.0.1:{port}", environ=environ)
    target = DockerTarget(app, "test", engine)
    assert engine.problem() is None, engine.problem().details
    instance = target.start(spec(SERVE, "0.0.0.0", "{port}"))
    assert instance.host == "127.0.0.1"
    assert until(lambda: ask(instance)).startswith("8000")
    engine.close()
    bare = Engine(f"tcp://127.0.0.1:{port}", environ={})
    assert bare.problem() is not None
    bare.close()


def test_an_engine_that_does_not_run_is_said_to_be_so(tmp_path):
    (problem,) = DockerTarget("shop", "test", Engine(f"unix://{tmp_path}/none.sock")).preflight()
    assert f"no Docker Engine answers at unix://{tmp_path}/none.sock" in problem.message
    assert "systemctl start docker" in problem.next_step


# ---- the lock


def test_who_slept_between_reading_and_writing_has_lost(target, engine):
    lock = target._lock
    lock.acquire("anna", "first", token=1, lease=60)
    known, last = lock._read()
    lock.acquire("anna", "second", token=1, lease=60)
    lock.acquire("anna", "third", token=1, lease=60)  # `second` was removed, its name is free again
    assert not lock._write(known, last)
    assert lock.holder().reason == "third"
    assert len(lock._states()) == 1


def test_a_lock_that_is_given_back_keeps_its_token(target):
    lock = target._lock
    assert lock.acquire("anna", "release r1", token=2, lease=60) is None
    lock.release("anna", token=2)
    assert lock.holder() is None
    assert lock.acquire("robin", "with a token from before", token=1, lease=60).token == 2
    lock.release("anna", token=2)  # again: nothing happens
    assert lock.acquire("robin", "release r2", token=3, lease=60) is None
    assert lock.holder().owner == "robin"
    assert len(lock._states()) == 1


def test_what_was_taken_over_is_not_given_back(target):
    """Its lease was over before it was given back, and somebody else has it."""
    lock = target._lock
    for when in ("before it is read", "after it was read"):
        assert lock.acquire("anna", when, token=1, lease=-1) is None
        states = lock._states
        if when == "after it was read":
            seen = states()
            assert lock.acquire("robin", when, token=1, lease=60) is None
            answers = iter([seen])
            lock._states = lambda states=states, answers=answers: next(answers, None) or states()
        else:
            assert lock.acquire("robin", when, token=1, lease=60) is None
        lock.release("anna", token=1)
        lock._states = states
        assert (lock.holder().owner, lock.holder().reason) == ("robin", when)
        lock.release("robin", token=1)


def test_of_one_who_gives_back_and_one_who_takes_one_is_first(target):
    """Both have read the same state, whose lease is over: the same name is wanted by both."""
    lock = target._lock
    lock.acquire("anna", "release r1", token=1, lease=-1)
    known, last = lock._read()
    lock.release("anna", token=1)
    assert not lock._write(known, last)
    assert lock.acquire("robin", "release r2", token=2, lease=60) is None
    assert not lock._write({}, last)  # one who slept longer yet
    assert lock.holder().owner == "robin"


def test_the_lock_is_seen_by_another_engine_client_and_is_never_started(target, engine, app):
    target.lock("anna", "release r1", token=3, lease=60)
    other = Engine()
    assert DockerTarget(app, "test", other).lock_holder().owner == "anna"
    other.close()
    (held,) = engine.containers({"deploykit.app": app, "deploykit.kind": "lock"})
    assert held["State"] == "created"
    target.unlock("anna", token=3)
    target.remove_lock()
    assert engine.containers({"deploykit.app": app}) == []


def test_volumes_networks_and_limits_are_those_that_were_asked_for(engine, sdk, app, base, spec):
    volume, network = f"{app}-uploads", f"{app}-others"
    target = DockerTarget(
        app, "test", engine, limits={"web": Limits(pids=64)}, volumes={volume: "/srv/uploads"}, networks=(network,)
    )
    (problem,) = target.preflight()
    assert problem.next_step == f"docker network create {network}"
    engine.create_network(network, labels={"deploykit.app": app})
    try:
        assert list(target.preflight()) == []
        target.start(spec("open('/srv/uploads/it', 'w').write('kept'); import time; time.sleep(600)"))
        shown = container(engine, app, "r1-web-0")
        assert set(shown["NetworkSettings"]["Networks"]) == {f"{app}.test", network}
        assert shown["HostConfig"]["PidsLimit"] == 64
        read = OneOff(labels=spec().labels, argv=("cat", "/srv/uploads/it"), cwd=Path("/"), image=base)
        until(lambda: list(target.run(read).output) == ["kept"])
    finally:
        target.down()
        engine.remove_network(network)
        sdk.remove_volume(volume)


def test_a_log_that_was_read_to_its_end_leaves_no_dead_connection_to_others(engine, app, base):
    """The stream ends its socket: where that was found in the pool again, every second request of other threads
    failed.
    """
    made = engine.create_container(base, ["echo", "hello"], name=f"{app}-said", labels={"deploykit.app": app})
    failed = []

    def read():
        for _ in range(20):
            try:
                assert b"".join(engine.follow(made)) == b"hello\n"
                engine.wait(made)
            except Exception as error:
                failed.append(repr(error))

    try:
        engine.start(made)
        engine.wait(made)
        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(60)
    finally:
        engine.remove_container(made)
    assert failed == []

"""What every target can do. A test module of a target subclasses `TargetContract` and gives it two fixtures.

`target`: the target of app `shop` in environment `test`, empty, ended afterwards; `python`: the argv that runs Python
there, to which `-c SOURCE` is added. `bind` is the address on which an instance listens, `image` what it runs in.
"""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from deploykit.model import DeploykitError, Labels, RepositoryIdentity, Secret
from deploykit.targets.interface import InstanceSpec, InstanceState, OneOff

SECONDS = 15.0

SERVE = """
import os, socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print('listening on', sys.argv[2], flush=True)
while True:
    client, _ = server.accept()
    client.sendall(f"{os.environ['PORT']} {os.environ.get('WORD', '')}".encode()); client.close()
"""
SLEEP = "import time; print('up', flush=True); time.sleep(60)"


def labels(release="r1", **values):
    return Labels(
        **{
            "app": "shop",
            "environment": "test",
            "release": release,
            "version": "1.2.3",
            "digest": "sha256:00",
            **values,
        }
    )


def until(question, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.005)
    return answer


def ask(instance):
    """What the instance answers on its address, None while it doesn't listen."""
    try:
        with socket.create_connection((instance.host, instance.port), timeout=3) as connection:
            return connection.makefile().read()
    except OSError:  # refused, or no such host any more
        return None


def one(target, name):
    return next((found for found in target.instances() if found.name == name), None)


class TargetContract:
    bind = "127.0.0.1"
    image = ""
    one_stream = True  # False: the order between standard output and error is not known to the target

    @pytest.fixture
    def spec(self, python):
        def make(source=SLEEP, *arguments, release="r1", replica=0, **values):
            return InstanceSpec(
                **{
                    "labels": labels(release),
                    "replica": replica,
                    "argv": (*python, "-c", source, *arguments),
                    "cwd": Path("/"),
                    "variables": {},
                    "image": self.image,
                    **values,
                }
            )

        return make

    @pytest.fixture
    def one_off(self, python):
        def make(source, **values):
            argv = (*python, "-c", source)
            return OneOff(**{"labels": labels(), "argv": argv, "cwd": Path("/"), "image": self.image, **values})

        return make

    def test_nothing_is_missing(self, target):
        assert list(target.preflight()) == []

    def test_an_empty_target_has_nothing(self, target):
        assert list(target.instances()) == []
        assert list(target.logs("r1-web-0")) == []
        assert target.lock_holder() is None

    # ---- instances

    def test_an_instance_answers_on_the_port_that_was_chosen_for_it(self, target, spec):
        instance = target.start(spec(SERVE, self.bind, "{port}", variables={"WORD": "hello"}))
        assert until(lambda: ask(instance)) == f"{instance.port} hello"

    def test_an_instance_that_is_alive_is_not_started_twice(self, target, spec):
        first = target.start(spec())
        assert target.start(spec()) == first
        assert len(target.instances()) == 1

    def test_the_truth_is_read_back_from_the_target(self, target, spec):
        given = labels("r7", version="2.0.0", digest="sha256:77", anchor="abc")
        target.start(spec(labels=given, replica=3, process="worker"))
        (found,) = target.instances()
        assert found.labels == given
        assert (found.name, found.process, found.replica) == ("r7-worker-3", "worker", 3)
        assert found.state is InstanceState.RUNNING
        assert (found.exit_code, found.restarts) == (None, 0)
        assert abs(found.started_at - time.time()) < SECONDS

    def test_replicas_have_ports_of_their_own(self, target, spec):
        instances = [target.start(spec(SERVE, self.bind, "{port}", replica=number)) for number in range(3)]
        assert len({(instance.host, instance.port) for instance in instances}) == 3
        for instance in instances:
            until(lambda instance=instance: ask(instance))

    def test_a_crash_is_seen_with_its_code_and_its_last_words(self, target, spec):
        target.start(spec("raise SystemExit('no database')"))
        found = until(lambda: (now := one(target, "r1-web-0")).state is InstanceState.EXITED and now)
        assert found.exit_code == 1
        assert list(target.logs("r1-web-0")) == ["no database"]

    def test_a_crash_is_final_until_the_instance_is_trusted(self, target, spec):
        target.start(spec("raise SystemExit(3)"))
        until(lambda: one(target, "r1-web-0").state is InstanceState.EXITED)
        time.sleep(0.3)
        found = one(target, "r1-web-0")
        assert (found.state, found.exit_code, found.restarts) == (InstanceState.EXITED, 3, 0)

    def test_a_trusted_instance_comes_back_on_the_same_port(self, target, spec):
        source = SERVE.replace("accept()", "accept()\n    if os.environ['PORT'] == 'x': pass") + "    os._exit(9)\n"
        instance = target.start(spec(source, self.bind, "{port}"))
        target.keep_alive(instance.name, enabled=True)
        until(lambda: ask(instance))
        back = until(
            lambda: (now := one(target, instance.name)).restarts >= 1 and now.state is InstanceState.RUNNING and now
        )
        assert back.port == instance.port
        assert until(lambda: ask(back))

    def test_another_version_under_the_same_name_is_refused_and_left_alone(self, target, spec):
        """Two ledgers, or an older copy of one, number their releases alike."""
        first = target.start(spec())
        other = replace(spec(), labels=replace(spec().labels, digest="sha256:other"))
        with pytest.raises(DeploykitError, match="runs already, and is another version"):
            target.start(other)
        assert target.instance(first.name) == first

    def test_an_instance_that_ended_can_be_started_again(self, target, spec):
        target.start(spec("raise SystemExit(3)"))
        until(lambda: one(target, "r1-web-0").state is InstanceState.EXITED)
        assert target.start(spec()).state is InstanceState.RUNNING
        assert len(target.instances()) == 1

    def test_a_stop_lets_the_instance_end_its_work(self, target, spec):
        source = (
            "import signal, time\n"
            "def end(*_): print('finished', flush=True); raise SystemExit\n"
            "signal.signal(15, end); print('up', flush=True); time.sleep(60)"
        )
        target.start(spec(source))
        until(lambda: "up" in target.logs("r1-web-0"))
        target.stop("r1-web-0", timeout=10)
        assert one(target, "r1-web-0") is None

    def test_a_stop_kills_what_does_not_end_in_time(self, target, spec):
        target.start(
            spec("import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)")
        )
        until(lambda: "deaf" in target.logs("r1-web-0"))
        began = time.monotonic()
        target.stop("r1-web-0", timeout=0.3)
        assert 0.3 <= time.monotonic() - began < 60, "before it ends by itself"
        assert one(target, "r1-web-0") is None

    def test_stopping_what_is_not_there_does_nothing(self, target, spec):
        target.stop("r1-web-0", timeout=1)
        target.start(spec())
        target.stop("r1-web-0", timeout=1)
        target.stop("r1-web-0", timeout=1)
        assert list(target.instances()) == []

    def test_a_secret_reaches_the_process_and_nothing_else(self, target, spec):
        source = "import os, sys; print(len(os.environ['TOKEN']), os.environ['TOKEN'] in ' '.join(sys.argv)); "
        instance = target.start(spec(source + SLEEP, variables={"TOKEN": Secret("hunter2")}))
        until(lambda: "7 False" in target.logs("r1-web-0"))
        assert "hunter2" not in repr(instance)
        assert "hunter2" not in repr(target.instances())

    # ---- logs

    def test_the_last_lines_are_given_oldest_first(self, target, spec):
        target.start(spec("import sys\nfor n in range(50): print(n)\nprint('error', file=sys.stderr)"))
        until(lambda: one(target, "r1-web-0").state is InstanceState.EXITED)
        whole = until(lambda: len(some := list(target.logs("r1-web-0", lines=60))) == 51 and some)
        assert [line for line in whole if line != "error"] == [str(number) for number in range(50)]
        assert whole[-1] == "error" or not self.one_stream
        assert list(target.logs("r1-web-0", lines=3)) == whole[-3:]
        assert len(target.logs("r1-web-0")) == 20

    def test_lines_of_several_instances_are_followed_as_they_come(self, target, spec):
        source = "import sys, time\nfor n in range(1000): print(sys.argv[1], n, flush=True); time.sleep(0.05)"
        names = [target.start(spec(source, word, replica=number)).name for number, word in enumerate(("a", "b"))]
        lines = target.follow(names)
        found = {names[0]: [], names[1]: []}
        timer = threading.Timer(SECONDS, target.stop, (names[0],), {"timeout": 1})  # bounds the test if it fails
        timer.start()
        while not all(len(some) >= 3 for some in found.values()):
            name, line = next(lines)
            found[name].append(line)
        timer.cancel()
        for name, word in zip(names, ("a", "b"), strict=True):
            numbers = [int(line.split()[1]) for line in found[name]]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert all(line.startswith(word) for line in found[name])

    # ---- one-off commands

    def test_a_one_off_command_gives_its_output_and_code(self, target, one_off):
        lines = []
        result = target.run(
            one_off("import os; print('a'); print(os.environ['WORD'])", variables={"WORD": Secret("x")}),
            on_line=lines.append,
        )
        assert (result.exit_code, list(result.output)) == (0, ["a", "x"])
        assert lines == ["a", "x"]
        assert 0 < result.seconds < SECONDS

    def test_a_failing_one_off_command_is_a_result(self, target, one_off):
        result = target.run(one_off("import sys; print('bad'); sys.exit(4)"))
        assert (result.exit_code, list(result.output)) == (4, ["bad"])

    def test_a_one_off_command_that_takes_too_long_is_ended(self, target, one_off):
        with pytest.raises(DeploykitError, match="did not end within 2 s") as caught:
            target.run(one_off(SLEEP, timeout=2))
        assert caught.value.details == ("up",)

    def test_a_one_off_command_is_no_instance(self, target, one_off, spec):
        target.start(spec())
        target.run(one_off("print('x')"))
        assert [found.name for found in target.instances()] == ["r1-web-0"]

    # ---- the lock

    def test_one_holds_the_lock_and_the_other_is_told_who(self, target):
        assert target.lock("anna", "release r1", token=1, lease=60) is None
        held = target.lock("bert", "release r2", token=2, lease=60)
        assert (held.owner, held.reason, held.token) == ("anna", "release r1", 1)
        assert held.expires_at > time.time()
        assert target.lock_holder() == held

    def test_a_lock_is_renewed_by_its_holder(self, target):
        target.lock("anna", "release r1", token=1, lease=1)
        first = target.lock_holder()
        assert target.lock("anna", "release r1", token=1, lease=600) is None
        assert target.lock_holder().expires_at > first.expires_at + 300

    def test_a_lock_given_back_can_be_taken(self, target):
        target.lock("anna", "release r1", token=1, lease=60)
        target.unlock("anna", token=1)
        assert target.lock_holder() is None
        assert target.lock("bert", "release r2", token=2, lease=60) is None

    def test_nobody_gives_back_a_lock_that_is_somebody_elses(self, target):
        target.unlock("anna", token=1)
        target.lock("anna", "release r1", token=2, lease=60)
        target.unlock("bert", token=2)
        target.unlock("anna", token=1)
        assert target.lock_holder().owner == "anna"

    def test_an_expired_lock_is_nobodys(self, target):
        target.lock("anna", "release r1", token=1, lease=0.05)
        until(lambda: target.lock_holder() is None)
        assert target.lock("bert", "release r2", token=2, lease=60) is None
        assert target.lock("anna", "release r1", token=1, lease=60).owner == "bert"

    def test_a_smaller_token_never_gets_the_lock(self, target):
        target.lock("bert", "release r2", token=7, lease=60)
        target.unlock("bert", token=7)
        held = target.lock("anna", "release r1", token=6, lease=60)
        assert (held.owner, held.token) == ("bert", 7)
        assert target.lock_holder() is None
        assert target.lock("anna", "release r3", token=8, lease=60) is None

    def test_a_lock_that_is_held_is_not_removed_and_one_that_is_not_can_be_taken_afterwards(self, target):
        target.remove_lock()
        target.lock("anna", "release r1", token=1, lease=60)
        target.remove_lock()
        assert target.lock("bert", "release r2", token=2, lease=60).owner == "anna"
        target.unlock("anna", token=1)
        target.remove_lock()
        target.remove_lock()
        assert target.lock_holder() is None
        assert target.lock("bert", "release r2", token=2, lease=60) is None
        assert target.lock_holder().owner == "bert"

    def test_of_many_who_come_at_once_one_gets_the_lock(self, target):
        answers, ready = [], threading.Barrier(6)

        def take(number):
            ready.wait()
            answers.append(target.lock(f"owner {number}", "release", token=5, lease=60))

        threads = [threading.Thread(target=take, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        assert answers.count(None) == 1
        assert {held.owner for held in answers if held} == {target.lock_holder().owner}

    # ---- the end

    def test_whose_it_is_is_kept_and_outlives_what_runs(self, target):
        assert list(target.repositories()) == []
        shop = RepositoryIdentity(
            folder="api", remotes=("example.org/shop",), first_commits=("a" * 40,), place="ann:/a"
        )
        target.claim([shop])
        moved = RepositoryIdentity(remotes=("git.example.org/shop",))
        target.claim([shop, moved])
        target.down()
        assert list(target.repositories()) == [shop, moved]

    def test_down_ends_everything_and_can_be_repeated(self, target, spec):
        instances = [target.start(spec(SERVE, self.bind, "{port}", replica=number)) for number in range(2)]
        for instance in instances:
            until(lambda instance=instance: ask(instance))
        target.down()
        target.down()
        assert list(target.instances()) == []
        assert [ask(instance) for instance in instances] == [None, None]
        assert target.start(spec()).state is InstanceState.RUNNING

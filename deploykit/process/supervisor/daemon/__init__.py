"""The supervisor daemon: it keeps an environment's programs running, and does nothing else.

It imports only the standard library and this folder. `client` copies the folder into the environment's folder and runs
it there with the base interpreter (`-I -S`). So the daemon needs neither the checkout nor its virtual environment. It
has one thread and one event loop.

Guarantees:

- **`kill -9` of the daemon loses nothing.** The programs have their own sessions and keep running. `state.json` holds
  everything known about them. It is written (temporary file, fsync, rename) *before* a new process may run its program:
  the forked child waits for one byte, and exits if that byte never comes. The next daemon recovers the processes that
  are alive (process id and identity together identify a process) and restarts those that should run and do not.
- **The daemon sees exits at once**, by SIGCHLD for children and by a pidfd for recovered processes (polled where there
  is none).
- **A lease ends without the kit**: what was shared between two versions by a release that is gone is given back to the
  stable one.
- **A listening socket outlives the processes that serve it**: the daemon holds it and passes it to each as descriptor
  3.

`main` starts the daemon, `recovery` restores its state, `requests` answers clients, `programs` manages the programs,
`lease` keeps the lease, and `loop` waits for events.
"""

"""The supervisor's own program: keeps an environment's programs running, and nothing else.

Standard library only, and imports within this folder only. `client` copies the folder into the environment's and runs it
there with the base interpreter (`-I -S`), so what runs needs neither the checkout nor its virtual environment. One
thread, one event loop.

What it promises:

- **Nothing is lost by `kill -9` of it.** The programs have sessions of their own and go on. Everything known about them
  stands in `state.json`, written (temporary file, fsync, rename) *before* a new process may run its program: the
  forked child waits for a byte, and ends by itself when that byte never comes. The next daemon adopts what is alive
  (process id and identity together name a process) and starts again what should be and is not.
- **Ends are seen at once**, by SIGCHLD for children and by a pidfd for adopted processes (polled where there is none).
- **A listening socket outlives the processes that serve it**: it is held here and handed to each as descriptor 3.

`main` starts it, `requests` answers clients and cleans up, `programs` keeps the programs, `loop` waits for events.
"""

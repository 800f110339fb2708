"""The one small process that keeps an environment's programs running on this machine.

`interface` has the values, `client` talks to it, `daemon` is the program itself: a folder that needs the
standard library only, copied into the environment's folder and run from there by the base interpreter,
so that neither the checkout nor its virtual environment is needed by what runs.
"""

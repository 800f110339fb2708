"""The one small process that keeps an environment's programs running on this machine.

`interface` has the values, `client` talks to the process, and `daemon` is its program. That folder needs only the
standard library. It is copied into the environment's folder, and the base interpreter runs it from there. So running
programs need neither the checkout nor its virtual environment.
"""

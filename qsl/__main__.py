"""`python -m qsl`: the same as `python -m qsl.prepare`, its only command."""

from base.command import start_module

if __name__ == "__main__":
    start_module("qsl.prepare")

"""`python -m qsl`: the same as `python -m qsl.prepare`, its only command."""

import runpy

if __name__ == "__main__":
    runpy.run_module("qsl.prepare", run_name="__main__", alter_sys=True)

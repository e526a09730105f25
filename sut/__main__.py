"""`python -m sut`: the same as `python -m sut.main`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("sut.main", run_name="__main__", alter_sys=True)

"""`python -m sut`: the same as `python -m sut.main`."""

from sut.interrupts import start_command

if __name__ == "__main__":
    start_command("sut.main")

"""`python -m sut.launcher`: see `sut.launcher.launching`."""

from sut.interrupts import start_command

if __name__ == "__main__":
    start_command("sut.launcher.launching")

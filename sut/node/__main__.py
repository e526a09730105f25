"""`python -m sut.node`: see `sut.node.joining`."""

from sut.interrupts import start_command

if __name__ == "__main__":
    # It imports the rest, which takes a second, once interrupts are looked after.
    start_command("sut.node.joining")

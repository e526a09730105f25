"""`python -m cli`: the same as `mlperf-sut`."""

from cli.main import main

if __name__ == "__main__":
    main()

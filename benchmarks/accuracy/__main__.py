"""Run the accuracy benchmark."""

from benchmarks.accuracy.run import main

if __name__ == "__main__":
    main(prog_name="python -m benchmarks.accuracy")

"""Run the speed benchmark."""

from benchmarks.speed.run import main

if __name__ == "__main__":
    main(prog_name="python -m benchmarks.speed")

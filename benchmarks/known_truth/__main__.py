"""Run the benchmark on databases with a known truth."""

from benchmarks.known_truth.run import main

if __name__ == "__main__":
    main()

"""Commands, a file each: `HELP`, `add_options(parser)`, and `run(options)`, which returns the exit status."""

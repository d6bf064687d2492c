"""The commands of `attnc`, one file each.

A command module has `SUMMARY`, `declare(parser)`, which adds its options, and `run(options)`, which
returns the exit status. Importing one is light: what a command works with loads when it runs.
"""

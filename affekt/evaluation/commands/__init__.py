"""The commands of test.py, a module each, and their exit codes.

A module has HELP (one line), DESCRIPTION (with an example first), add_arguments(parser) and
main(args), which returns the exit code.
"""

BAD_INPUT, LOW_COVERAGE, WRONG_WEIGHTS = 2, 3, 4  # exit codes other than 0

"""The commands of test.py, a module each, and their exit codes.

A module has DESCRIPTION (with an example first), add_arguments(parser) and main(args), which
returns the exit code. It is imported where its command is named.
"""

COMMANDS = {  # name: the line of --help; the module has _ for -
    "check": "check the input; write the manifest of a protocol",
    "run": "measure videos against the truth",
    "table": "a paper's table of finished evaluations, with intervals and printed figures",
    "controls": "measure the control rows alone",
    "ablate": "train and measure the rows of EVP's Table 2",
    "user-study": "write the forms of a user study; count its answers",
    "weights": "list, check and put in place the networks' files that some metrics need",
}
BAD_INPUT, LOW_COVERAGE, WRONG_WEIGHTS = 2, 3, 4  # exit codes other than 0

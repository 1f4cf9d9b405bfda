"""The one error that is the user's to mend."""


class UserError(ValueError):
    """The input is wrong: one line that says what was given, what was expected and what to do.

    The command line prints it without a traceback and ends with status 2.
    """


class NewerFormatError(UserError):
    """A file was written by a newer version of tfssl than this one."""

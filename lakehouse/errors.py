"""What a user sees as a line, without a traceback."""

import errno


class LakehouseError(Exception):
    """A failure told as cause and cure in one line.

    Attributes:
        exit_code: 1 when the work failed, 2 when it was asked for in a wrong way.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def of_system(error: OSError) -> str:
    """What the system refused, as cause and cure in one line."""
    message = f"{error.filename or 'the system'}: {error.strerror or error}"
    if error.filename and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        message += ". Give yourself the rights to it; of a home, another one will do, too."
    elif error.filename and error.errno == errno.ENOENT:
        message += ". Correct the path; of a home, another one will do, too."
    return message

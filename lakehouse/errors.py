"""The one error that a user sees as a line, without a traceback."""


class LakehouseError(Exception):
    """A failure told as cause and cure in one line.

    Attributes:
        exit_code: 1 when the work failed, 2 when it was asked for in a wrong way.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code

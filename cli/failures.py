"""What goes wrong, for people: one line on standard error with the cause and what to do, and an exit code."""

from __future__ import annotations

import os
import sys

import click

from bus.errors import LogError

OK, FAILED, USAGE = 0, 1, 2
WARNING, CANCELLED = 3, 4  # how an execution ended that a command has waited for; FAILED: as an error
NOT_FOUND, UNREACHABLE = 5, 6
EXIT_CODES = """Exit codes: 0 all is well, 1 it failed or found a problem, 2 it was called wrongly, 3 an execution ended
with a warning, 4 it was cancelled, 5 there is no such thing, 6 the engine does not respond."""
INTERRUPTED, BROKEN_PIPE = 130, 141  # as shells report a process that ended by SIGINT, SIGPIPE


class Failure(RuntimeError):
    """What a command could not do, in one line, and the exit code that says so."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def run(command: click.Command) -> int:
    """Run a command with this process's arguments, and return its exit code."""
    try:
        code = command.main(prog_name="flows", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "flows"
        return _print_error(f"{path}: {error.format_message().rstrip('.')}. See `{path} --help`", USAGE)
    except click.ClickException as error:
        return _print_error(f"flows: {error.format_message()}", error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else it fails once more, when it is flushed
        return BROKEN_PIPE
    except Exception as error:
        cause = cause_of(error)
        if cause is None and os.environ.get("FLOWS_TRACEBACK"):
            raise
        code = error.code if isinstance(error, Failure) else FAILED
        return _print_error(f"flows: {cause or defect(error)}", code)
    return code if isinstance(code, int) else OK


def cause_of(error: Exception) -> str | None:
    """Return an error in one line for people; None when it is a defect of ours."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if _is(error, "sqlalchemy.exc", "SQLAlchemyError"):
        return f"the database: {_one_line(getattr(error, 'orig', None) or error)}"
    if _is(error, "httpx", "HTTPError"):
        return f"the API does not respond: {_one_line(error)}"
    if isinstance(error, LogError | OSError | ValueError | RuntimeError):
        return _one_line(error)
    return None


def defect(error: Exception) -> str:
    """Return a line about an unforeseen error."""
    name = type(error).__name__
    return f"a defect in this program: {name}: {_one_line(error)}. Set FLOWS_TRACEBACK=1 to see where, and report it"


def _is(error: Exception, module: str, name: str) -> bool:
    """Tell whether an error is of a library's class. Where the library is not loaded it is not, and it stays so."""
    library = sys.modules.get(module)
    return library is not None and isinstance(error, getattr(library, name))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _print_error(line: str, code: int) -> int:
    from cli.printable import printable

    click.echo(printable(line), err=True)
    return code

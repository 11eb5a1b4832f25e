"""The entry point `el-larq`. Commands are imported when they are called, so that `--help` starts fast."""

import importlib
import json
import os
import sys
from typing import Any

import click

from el_larq._version import VERSION
from el_larq.cli.common import guard_terminal, say, say_traceback
from el_larq.errors import ElLarqError, summarize
from el_larq.native_output import QuietStart

# The commands and their lines in `--help`; a command's module has its name, with "_" for "-".
COMMANDS = {
    "train": "Train a network with a method on a data set.",
    "compare": "Compare networks and methods in one table and one plot.",
    "convert": "Convert a Keras model to a .tflite for Larq Compute Engine.",
    "quantize": "Quantize a real-valued Keras model to int8 by the guideline.",
    "inspect": "Show size, operations and memory of a model by layer.",
    "evaluate": "Measure the accuracy of a Keras model or a .tflite.",
    "export-weights": "Export a model's binary kernels as packed bits and scales.",
    "benchmark": "Measure the latency of .tflite files here or on a device.",
    "zoo": "List and download pretrained binary networks of Larq Zoo.",
    "engine": "Download and test the benchmark binary for a device.",
    "report": "Write one HTML page about training runs and measurements.",
    "data": "Show a data set as training sees it.",
    "predict": "Classify image files with a Keras model or a .tflite.",
    "list": "List networks, methods, links, recipes, data sets, targets.",
    "doctor": "Check this installation and say how to fix problems.",
    "demo": "Train, convert, verify and benchmark three small networks.",
}


class LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"el_larq.cli.{cmd_name.replace('-', '_')}").command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from el_larq.errors import unknown_name

        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise unknown_name("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # click would import every command to get the first line of its help.
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="el-larq")
def cli() -> None:
    """Binary neural networks with Elastic-Links: train, convert, verify, benchmark.

    Each command takes --json to print JSON, errors on stderr too, and -v to show the traceback of an error and messages of
    TensorFlow. Exit status: 0 success, 1 failure, 2 invalid usage.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit. Every error is one line on stderr, a JSON object with --json; -v adds the traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    verbose = "-v" in arguments or "--verbose" in arguments
    trace: BaseException | None = None
    guard_terminal()
    QuietStart.one_command = True
    try:
        # click returns the status of a command that exits, otherwise the return value of the command, None.
        status, message = cli.main(arguments, prog_name="el-larq", standalone_mode=False) or 0, ""
    except click.exceptions.Exit as error:
        status, message = error.exit_code, ""
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        status, message = 2, ""
    except click.ClickException as error:
        status, message = 2, _one_line(error)
    except ElLarqError as error:
        status, message, trace = error.exit_status, str(error), error
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        hint = "this needs {}, which is not installed; el-larq doctor says how to install it, or that it is not available here"
        own = package in ("", "el_larq")
        message = f"unexpected {summarize(error)} (-v shows the traceback)" if own else hint.format(package)
        status, trace = 1, error
    except (KeyboardInterrupt, click.Abort):
        status, message = 130, "interrupted"
    except BrokenPipeError:
        # The reader has closed the pipe (| head): there is nothing to report, and nowhere to print it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status, message = 1, ""
    except OSError as error:
        # For example a name that is too long, or a folder without permission.
        named = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else None
        status, message, trace = 1, named or f"unexpected {summarize(error)} (-v shows the traceback)", error
    except Exception as error:
        status, message, trace = 1, f"unexpected {summarize(error)} (-v shows the traceback)", error
    if message:
        if verbose and trace is not None:
            say_traceback(trace)
        if "--json" in arguments:
            say(json.dumps({"error": message, "exit_status": status}))
        else:
            say(f"el-larq: {message}")
    sys.exit(status)


def _one_line(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    return f"{message} (see {context.command_path} --help)" if context else message

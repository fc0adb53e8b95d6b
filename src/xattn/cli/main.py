"""The `xattn` command: every subcommand is a file of its own, loaded when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from xattn import __version__
from xattn.errors import XattnError

# Name: (module that has a typer.Typer called `app`, one line for the list of commands).
COMMANDS = {
    "bench": ("xattn.cli.bench", "Measure the ladder of attention kernels on real activations."),
    "compare": ("xattn.cli.compare", "Compare two results; exit code 1 when one is worse."),
    "history": ("xattn.cli.history", "Show a kernel's cycles over time."),
    "sweep": ("xattn.cli.sweep", "Measure many points in many processes."),
    "verify": ("xattn.cli.verify", "Compare kernels, or a whole layer, with the integer model, bit for bit."),
    "asm": ("xattn.cli.asm", "Assemble text to machine code, an ELF executable or an object."),
    "dis": ("xattn.cli.dis", "Disassemble machine code or an ELF file."),
    "link": ("xattn.cli.link", "Join objects of any AIE2 compiler to an ELF executable."),
    "profile": ("xattn.cli.profile", "Count a kernel's cycles by stage of the computation, and trace them over time."),
    "report": ("xattn.cli.report", "Write a benchmark as one HTML page, with every kernel's pipeline."),
    "explain": ("xattn.cli.explain", "Say why a kernel or an ELF function takes its cycles, and what to do next."),
    "prove": ("xattn.cli.prove", "Prove that a kernel's loops cannot be faster, or improve them."),
    "build": ("xattn.cli.build", "Build a kernel into files for the NPU: PDI, xclbin, instruction stream, ELF."),
    "inspect": ("xattn.cli.inspect", "Explain an xclbin, PDI, instruction stream or ELF file, of any tool."),
    "diff": ("xattn.cli.diff", "Say what two such files say differently."),
    "lint": ("xattn.cli.lint", "Look for mistakes in an NPU build's files, of any tool."),
    "lut": ("xattn.cli.lut", "Make the exp table of the integer softmax (text or C header)."),
    "transcribe": ("xattn.cli.transcribe", "Transcribe speech with the encoder attending in int8."),
    "quality": ("xattn.cli.quality", "Judge schemes of attention on real speech: errors, weights, words."),
    "realtime": ("xattn.cli.realtime", "How fast a Whisper model would be, and what bounds it, line by line."),
    "run": ("xattn.cli.run", "Run a kernel on the NPU or a simulator, or a function of an ELF program."),
    "doctor": ("xattn.cli.doctor", "Say what this machine has for the NPU, and what to do about what is missing."),
    "simulate": ("xattn.cli.simulate", "Run an xclbin with its instruction stream on the simulated array."),
}


class LazyCommands(TyperGroup):
    """A group whose commands are names and summaries until one is called: only then is its module imported."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments call, from its own module."""
        name, _, rest = super().resolve_command(ctx, args)
        command = typer.main.get_command(import_module(COMMANDS[str(name)][0]).app)
        command.name = name
        return name, command, rest


app = typer.Typer(
    cls=LazyCommands, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
)
for _name, (_, _summary) in COMMANDS.items():
    app.command(_name, help=_summary)(lambda: None)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"xattn {__version__}")
        raise typer.Exit


@app.callback()
def xattn(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """INT8 attention for AMD XDNA NPUs (AIE2 cores): assemble, simulate and measure, without an NPU."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (default: that of the process). Returns the exit code: 0 good, 1 findings, 2 bad input."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="xattn")
    except XattnError as error:
        typer.secho(f"xattn: {error}", fg=typer.colors.RED, err=True)
        return 2
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    sys.exit(main())

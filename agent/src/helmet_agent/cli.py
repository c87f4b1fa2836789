# SPDX-License-Identifier: Apache-2.0
"""The command line of the agent. Each command imports what it needs when it runs, so that `version` answers at once."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from helmet_agent import __version__
from helmet_agent.errors import EXIT_FAILED, EXIT_OK, AgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXIT_CODES = """\
exit codes: 0 ok; 1 failed; 2 bad usage or configuration (a service manager must not restart it); 75 restart wanted
(memory limit reached, everything was saved)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code. Errors meant for people are one line on standard error."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except AgentError as error:
        print(f"helmet-agent: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("helmet-agent: stopped by the keyboard", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): not an error of ours, but nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED


def build_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    parser = argparse.ArgumentParser(
        prog="helmet-agent",
        description="Sees whether people wear helmets, keeps what it found hard, and tells what it saw.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_detect(commands)
    _add_checks(commands)
    _add_models(commands)
    _add_hub(commands)
    _add_bench(commands)
    version = commands.add_parser("version", help="show the version of the agent and of its model")
    version.add_argument("--json", action="store_true", help="print one JSON object")
    version.set_defaults(command=_version)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser(
        "run",
        help="run the agent: the service",
        description="Watches the configured sources until it is told to stop (SIGTERM, SIGINT).",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    origin = run.add_mutually_exclusive_group(required=True)
    origin.add_argument("--config", type=Path, metavar="FILE", help="the TOML file; see docs/configuration.md")
    origin.add_argument(
        "--from-sedna-env",
        action="store_true",
        help="take the environment of Sedna's inference worker (MODEL_URL, HEM_NAME, video_url, HE_SAVED_URL, ...)",
    )
    run.add_argument("--until-eof", action="store_true", help="play every file once, stop when all are over")
    run.add_argument("--json", action="store_true", help="print one JSON object a frame on standard output")
    run.set_defaults(command=_run)


def _add_detect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    detect = commands.add_parser(
        "detect",
        help="look at pictures, folders, clips or cameras and print what is there",
        description="Looks at every frame of every SOURCE, one source after the other, and prints what it sees.",
        epilog='With --json, one object a frame: {"source","frame","width","height","model","hard","detections":'
        '[{"label","score","box":[x1,y1,x2,y2]}]}; boxes are in source pixels, everything else goes to standard error.',
    )
    detect.add_argument("source", nargs="+", metavar="SOURCE", help="picture, folder, video file, URL or /dev/videoN")
    detect.add_argument("--model", type=Path, metavar="PATH", help="model folder or .tflite file (default: bundled)")
    detect.add_argument("--min-score", type=_share, metavar="S", help="smallest score shown (default: the manifest's)")
    detect.add_argument("--threads", type=_threads, default=1, metavar="N", help="threads of the network (default: 1)")
    detect.add_argument("--json", action="store_true", help="print one JSON object a frame")
    detect.set_defaults(command=_detect)


def _add_checks(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    check = commands.add_parser("check-config", help="check a configuration file; names every problem at once")
    check.add_argument("file", type=Path, metavar="FILE")
    check.set_defaults(command=_check_config)

    test = commands.add_parser(
        "self-test",
        help="load the model and look at its golden frames",
        description="Loads the model, looks at the golden frames beside it, and says whether it may serve here.",
    )
    test.add_argument("--config", type=Path, metavar="FILE", help="test the model and the folders of this file")
    test.add_argument("--json", action="store_true", help="print one JSON object")
    test.set_defaults(command=_self_test)

    health = commands.add_parser(
        "health",
        help="ask the running agent whether it is well",
        description="Asks the running agent's /healthz. Exit code 0: well, or degraded with the reasons; 1: not well.",
    )
    health.add_argument("--config", type=Path, metavar="FILE", help="where the agent listens (default: 127.0.0.1:8765)")
    health.add_argument("--json", action="store_true", help="print the answer as it came")
    health.set_defaults(command=_health)


def _add_models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    models = commands.add_parser(
        "models",
        help="show the models of this node, go back, let one be tried again, import one",
        description="Beside a running agent these commands ask the agent; where none runs, they act themselves.",
    )
    actions = models.add_subparsers(title="actions", metavar="ACTION", required=True)

    def action(name: str, about: str) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the agent's configuration")
        parser.set_defaults(command=_models, action=name)
        return parser

    listing = action("list", "show what serves, what it can go back to, and what is refused")
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    action("rollback", "go back to the model before the current one, which goes into quarantine")
    lift = action("unquarantine", "let a refused model be tried again")
    lift.add_argument("digest", metavar="DIGEST", help="sha256 of the model, as `models list` shows it")
    bring = action("import", "take the model of a bundle that was carried here")
    bring.add_argument(
        "bundle", type=Path, metavar="BUNDLE", help="folder or tar with a channel's metadata and targets"
    )


def _add_hub(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    enrol = commands.add_parser(
        "enrol",
        help="make this node's token for the hub and print its SHA-256",
        description="Makes the node's token unless there is one, and prints its SHA-256, which is all that the hub is "
        "told: `helmet-cloud nodes add`. The token itself never leaves this machine but to the hub.",
    )
    enrol.add_argument("--token-file", type=Path, metavar="FILE", help="where the token lies (default: hub.token_file)")
    enrol.add_argument("--config", type=Path, metavar="FILE", help="the agent's configuration")
    enrol.add_argument("--node", metavar="NAME", help="name of the node (default: the configuration's, the host's)")
    enrol.add_argument("--json", action="store_true", help='print {"node","token_sha256","created"}')
    enrol.set_defaults(command=_enrol)

    doctor = commands.add_parser(
        "doctor",
        help="look at everything the agent needs here, one line each with what to do",
        description="Looks at configuration, permissions, disk, memory, model, cameras, the way to the hub and the "
        "clock; changes nothing. Exit code 1 if anything failed.",
    )
    doctor.add_argument("--config", type=Path, required=True, metavar="FILE", help="the agent's configuration")
    doctor.add_argument("--no-sources", action="store_true", help="leave cameras alone: some allow one reader only")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    doctor.set_defaults(command=_doctor)

    diagnostics = commands.add_parser(
        "diagnostics",
        help="write one archive for whoever looks for a fault, without secrets and pictures",
        description="Writes configuration, doctor's findings, models, status, last events, the journal's end and facts "
        "of the machine into one archive. Tokens, passwords and keys are masked; pictures stay here.",
    )
    diagnostics.add_argument("--config", type=Path, required=True, metavar="FILE", help="the agent's configuration")
    diagnostics.add_argument("--output", type=Path, required=True, metavar="FILE.tar.gz", help="the archive")
    diagnostics.set_defaults(command=_diagnostics)


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    bench = commands.add_parser(
        "bench",
        help="measure the agent on this machine",
        description="Runs the agent's pipeline and a serial loop on the float variant of the same network alternately "
        "over SOURCE and prints medians of their ratios, so that a noisy machine spoils little.",
    )
    bench.add_argument("source", metavar="SOURCE", help="a video file")
    bench.add_argument("--threads", type=_threads, default=1, metavar="N", help="threads of the network (default: 1)")
    bench.add_argument("--pairs", type=int, default=5, metavar="N", help="interleaved pairs (default: 5)")
    bench.add_argument("--frames", type=int, default=1000, metavar="N", help="frames a measurement (default: 1000)")
    bench.add_argument(
        "--growth-frames", type=int, default=0, metavar="N", help="also watch memory over so many frames"
    )
    bench.add_argument("--json", action="store_true", help="print one JSON object")
    bench.set_defaults(command=_bench)


def _run(options: argparse.Namespace) -> int:
    from helmet_agent.app.run import run_agent  # noqa: PLC0415 - commands load only what they use
    from helmet_agent.app.settings import settings_from_environment, settings_from_file  # noqa: PLC0415 - as above

    frames_to = sys.stdout if options.json else None
    if options.from_sedna_env:
        given = settings_from_environment(os.environ, until_eof=options.until_eof)
        code = run_agent(given.config, until_eof=options.until_eof, frames_to=frames_to, hot=given.hot)
    else:
        code = run_agent(settings_from_file(options.config), until_eof=options.until_eof, frames_to=frames_to)
    # Everything is written and closed. Python's own shutdown takes a second or two more, and a camera's decoder that
    # comes back from foreign code meanwhile would abort the process.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _detect(options: argparse.Namespace) -> int:
    from helmet_agent.app.detect import detect  # noqa: PLC0415 - commands load only what they use

    return detect(
        options.source,
        model=options.model,
        min_score=options.min_score,
        threads=options.threads,
        json_lines=options.json,
        out=sys.stdout,
    )


def _check_config(options: argparse.Namespace) -> int:
    from helmet_agent.app.checks import check_config  # noqa: PLC0415 - commands load only what they use

    print(check_config(options.file))
    return EXIT_OK


def _self_test(options: argparse.Namespace) -> int:
    from helmet_agent.app.checks import self_test  # noqa: PLC0415 - commands load only what they use

    result = self_test(options.config)
    print(json.dumps(result.to_json()) if options.json else result.text())
    return EXIT_OK if not result.problems else EXIT_FAILED


def _health(options: argparse.Namespace) -> int:
    from helmet_agent.app.checks import ask_health  # noqa: PLC0415 - commands load only what they use

    well, answer = ask_health(options.config)
    print(json.dumps(answer) if options.json else _health_text(answer))
    return EXIT_OK if well else EXIT_FAILED


def _health_text(answer: dict[str, object]) -> str:
    reasons = answer.get("reasons")
    listed = reasons if isinstance(reasons, list) else []
    return "\n".join([str(answer.get("status", "unknown")), *(f"  {reason}" for reason in listed)])


def _models(options: argparse.Namespace) -> int:
    from helmet_agent.app import model_commands as commands  # noqa: PLC0415 - commands load only what they use

    if options.action == "list":
        listing = commands.list_models(options.config)
        print(json.dumps(listing) if options.json else commands.text_of(listing))
    elif options.action == "rollback":
        print(commands.roll_back(options.config))
    elif options.action == "unquarantine":
        print(commands.unquarantine(options.config, options.digest))
    else:
        print(commands.import_bundle(options.config, options.bundle))
    return EXIT_OK


def _enrol(options: argparse.Namespace) -> int:
    from helmet_agent.app.enrolment import enrol  # noqa: PLC0415 - commands load only what they use

    done = enrol(options.token_file, options.config, options.node)
    print(json.dumps(done.to_json()) if options.json else done.token_sha256)
    return EXIT_OK


def _doctor(options: argparse.Namespace) -> int:
    from helmet_agent.app.doctor import diagnose  # noqa: PLC0415 - commands load only what they use

    found = diagnose(options.config, cameras=not options.no_sources)
    print(json.dumps(found.to_json()) if options.json else found.text())
    return EXIT_OK if found.ok else EXIT_FAILED


def _diagnostics(options: argparse.Namespace) -> int:
    from helmet_agent.app.diagnostics import write_diagnostics  # noqa: PLC0415 - commands load only what they use

    print("\n".join(write_diagnostics(options.config, options.output)))
    return EXIT_OK


def _bench(options: argparse.Namespace) -> int:
    from helmet_agent.app.measure import bench_command  # noqa: PLC0415 - commands load only what they use

    return bench_command(options, sys.stdout)


def _version(options: argparse.Namespace) -> int:
    from helmet_agent.app.checks import bundled_manifest  # noqa: PLC0415 - commands load only what they use

    manifest = bundled_manifest()
    if options.json:
        about = {
            "version": __version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "model": {"name": manifest.name, "release": manifest.release, "sha256": manifest.model.sha256},
        }
        print(json.dumps(about))
    else:
        print(f"helmet-agent {__version__}, model {manifest.name} ({manifest.model.sha256[:12]})")
    return EXIT_OK


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, found {text!r}")
    return value


def _threads(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:  # noqa: PLR2004 - more than any edge machine has
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to 64, found {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

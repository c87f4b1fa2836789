# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud channel`` on a root of several keys: each holder makes one and signs, the hub publishes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from helmet_cloud.cli.channel import open_files, provide_root, tell_waiting
from helmet_cloud.cli.serve import DataDir  # noqa: TC001 - typer reads the annotations when it runs

if TYPE_CHECKING:
    from tuf.api.metadata import Root

KeyFile = Annotated[Path, typer.Argument(metavar="FILE", help="Where the private key lies, such as a stick.")]
RootFile = Annotated[Path, typer.Argument(metavar="FILE", help="The next root, DIR/next-root.json or a copy of it.")]


def root_key(file: KeyFile) -> None:
    """Make a holder's root key, and its public half beside it as .pub; what is there stays. Needs no hub.

    `helmet-cloud channel root-key stick/anna.pem`
    """
    from helmet_cloud.channel.keys import make_root_key  # noqa: PLC0415 - commands load only what they use

    key_id = make_root_key(file).public_key.keyid
    print(f"{key_id[:12]}: {file} stays with its holder, {file.with_suffix('.pub')} goes to the hub")


def new_root(
    data_dir: DataDir,
    *,
    threshold: Annotated[int, typer.Option(metavar="M", min=1, help="How many of the keys have to sign.")],
    key: Annotated[list[Path], typer.Option(metavar="FILE", help="A public key of the next root; once for each.")],
) -> None:
    """Write down a next root of these keys for its holders to sign; nothing is published yet. Works on DIR.

    `helmet-cloud channel new-root --threshold 2 --key a.pub --key b.pub --key c.pub --data-dir hub`
    """
    from helmet_cloud.channel import channel_lock  # noqa: PLC0415 - as above
    from helmet_cloud.channel.next_root import propose  # noqa: PLC0415 - as above

    home, repository = open_files(data_dir)
    propose(repository, channel_lock(home), key, threshold)
    tell_waiting(repository)


def sign_root(
    file: RootFile,
    *,
    key: Annotated[Path, typer.Option(metavar="FILE", help="The holder's private key.")],
) -> None:
    """Show a next root and sign it with one holder's key. Needs no hub: carry the file to the key.

    `helmet-cloud channel sign-root next-root.json --key stick/anna.pem`
    """
    from helmet_agent.errors import UsageError  # noqa: PLC0415 - as above
    from helmet_cloud.channel.keys import read_signer  # noqa: PLC0415 - as above
    from helmet_cloud.channel.next_root import sign  # noqa: PLC0415 - as above

    signer = read_signer(key)
    if signer is None:
        raise UsageError(f"{key}: not there; `helmet-cloud channel root-key` makes one")
    root = sign(file, signer)
    _show(root.signed)
    key_id = signer.public_key.keyid
    leaves = key_id not in root.signed.roles["root"].keyids
    print(f"signed with {key_id[:12]}{', which this root takes out' if leaves else ''}")


def publish_root(data_dir: DataDir) -> None:
    """Publish the next root once enough have signed; nodes follow by themselves. Works on DIR.

    `helmet-cloud channel publish-root --data-dir hub`
    """
    from helmet_cloud.channel import channel_lock  # noqa: PLC0415 - as above
    from helmet_cloud.channel.next_root import publish  # noqa: PLC0415 - as above

    home, repository = open_files(data_dir)
    version = publish(repository, channel_lock(home))
    provide_root(home, repository)
    role = repository.root().signed.roles["root"]
    print(f"root: version {version} is published; {role.threshold} of {len(role.keyids)} keys sign the next one")


def _show(root: Root) -> None:
    """What a holder agrees to."""
    print(f"root version {root.version}, until {root.expires.astimezone(dt.UTC):%Y-%m-%d}")
    for name in ("root", "targets", "snapshot", "timestamp"):
        role = root.roles[name]
        print(f"{name:<10} {role.threshold} of {', '.join(sorted(key_id[:12] for key_id in role.keyids))}")
